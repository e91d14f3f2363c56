package merge

import (
	"slices"
)

// Tolerances, in nanoseconds, between two receptions of the same bytes on aligned clocks. Two
// receptions count as one packet within singleTolerance if neither recorder has another packet with
// these bytes, and within tightTolerance otherwise. The tolerances cover the differences between
// two network paths from one server and between two busy machines. The merge keeps both packets if
// they are further apart, and marks them as possible duplicates within nearTolerance.
const (
	tightTolerance  = int64(250e6)
	singleTolerance = 10 * tightTolerance
	nearTolerance   = int64(15e9)
	// minUncertainty is the least uncertainty of a reception time when candidates are compared.
	minUncertainty = int64(2e6)
	// clearlyFactor is how many times nearer than any other candidate a match must be.
	clearlyFactor = 4
)

// recentPairs is the number of pairs whose median gives the clock difference.
const recentPairs = 31

// aligner reads two recordings in parallel and decides which frame comes next.
//
// It emits the frames of each recording in their original order. Where the two orders conflict (two
// senders at the same moment), the first recording prevails. A frame that only one recording
// contains is placed by the surrounding frames that both contain, then by the senders' sequence
// numbers, and only then by the clocks.
type aligner struct {
	inputs [2]*input
	offset int64 // clock of input 1 minus clock of input 0, in ns
	pairs  []int64
	recent [2]*history
}

func newAligner(a, b *input, offset int64) *aligner {
	return &aligner{
		inputs: [2]*input{a, b}, offset: offset,
		recent: [2]*history{newHistory(), newHistory()},
	}
}

// sortTime returns the time of a frame of input i by the clock of input 0.
func (al *aligner) sortTime(i int, it *item) int64 {
	if i == 1 {
		return it.sortTime - al.offset
	}
	return it.sortTime
}

// fill reads ahead in both inputs.
func (al *aligner) fill() error {
	for i, s := range al.inputs {
		other := al.inputs[1-i]
		if err := s.fill(func(it *item) {
			if it.class == classRecorder || it.class == classContent {
				return
			}
			list := other.byKey[it.key]
			if it.repeats() {
				list = al.within(1-i, list, al.sortTime(i, it), singleTolerance)
			}
			if len(list) > 0 {
				pair(other, it, list[0])
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

// pair matches two frames; b belongs to input s.
func pair(s *input, a, b *item) {
	a.match, b.match = b, a
	s.unindex(b)
}

// next returns the next frame to write and its input, or nil at the end. It removes the frame from
// its window and never returns the match of that frame.
func (al *aligner) next() (*item, int, error) {
	for {
		if err := al.fill(); err != nil {
			return nil, 0, err
		}
		again := false
		for _, s := range al.inputs {
			if it := s.first(); it != nil && it.taken {
				s.pop()
				again = true
			}
		}
		if again {
			continue
		}
		a, b := al.inputs[0].first(), al.inputs[1].first()
		if a == nil && b == nil {
			return nil, 0, nil
		}
		al.resolve(0, a)
		al.resolve(1, b)
		i := al.choose(a, b)
		it := al.inputs[i].first()
		al.inputs[i].pop()
		al.emitted(i, it)
		return it, i, nil
	}
}

// choose returns the input whose first frame comes next.
func (al *aligner) choose(a, b *item) int {
	switch {
	case b == nil:
		return 0
	case a == nil:
		return 1
	case a.match != nil && b.match == nil:
		return 1 // b precedes the match of a
	case a.match != nil && b.class == classParticipant && a.class != classParticipant:
		return 1 // events do not delay packets: the server may send them at any time
	case a.match != nil:
		return 0 // they match, or the two recorders received them in different orders
	case b.match != nil:
		return 0
	}
	// Neither has a match. A sender's sequence numbers show which recording is behind.
	behind0 := b.class == classNumbered && lower(al.inputs[0].nextNumber(b.sid), b.seq)
	behind1 := a.class == classNumbered && lower(al.inputs[1].nextNumber(a.sid), a.seq)
	switch {
	case behind0 && !behind1:
		return 0
	case behind1 && !behind0:
		return 1
	case al.sortTime(0, a) <= al.sortTime(1, b):
		return 0
	}
	return 1
}

// lower reports whether n is a sequence number and lower than the other.
func lower(n, than uint32) bool { return n != 0 && n < than }

// emitted updates the clock difference and the history after a frame was written.
func (al *aligner) emitted(i int, it *item) {
	if it.match == nil {
		if it.class == classContent {
			al.recent[i].add(it.key, al.sortTime(i, it))
		}
		return
	}
	it.match.taken = true
	if it.class == classParticipant {
		return // on joining, one recorder may receive state that the other received long before
	}
	mine, theirs := it.sortTime, it.match.sortTime
	if i == 1 {
		mine, theirs = theirs, mine
	}
	al.clock(theirs - mine)
}

// clock adds the clock difference of one pair.
func (al *aligner) clock(offset int64) {
	if len(al.pairs) == recentPairs {
		al.pairs = slices.Delete(al.pairs, 0, 1)
	}
	al.pairs = append(al.pairs, offset)
	if len(al.pairs) >= 3 {
		al.offset = median(al.pairs)
	}
}

func median(list []int64) int64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[(len(sorted)-1)/2]
}

// resolve decides whether the next frame of input i, which has no sequence number, has a match.
//
// Two frames with identical bytes from one sender on one channel are one packet if they are clearly
// nearer to each other than to any other such frame. On the reliable channel, which loses nothing
// between two frames, they are also one packet if both recorders received the same number of such
// frames. The merge keeps everything else and marks possible duplicates.
func (al *aligner) resolve(i int, it *item) {
	if it == nil || it.class != classContent || it.resolved || it.match != nil {
		return
	}
	it.resolved = true
	own, other := al.inputs[i], al.inputs[1-i]
	at := al.sortTime(i, it)
	theirs := al.within(1-i, other.byKey[it.key], at, nearTolerance)
	if len(theirs) == 0 {
		it.mark = it.mark || al.recent[1-i].nearer(it.key, at, nearTolerance)
		return
	}
	nearest := slices.MinFunc(theirs, func(x, y *item) int {
		return compareInt64(al.distance(i, it, x), al.distance(i, it, y))
	})
	if al.certain(i, it, nearest) {
		own.unindex(it)
		pair(other, it, nearest)
		return
	}
	if it.reliable && al.balanced(it.key) && !al.recent[i].nearer(it.key, at, nearTolerance) &&
		!al.recent[1-i].nearer(it.key, at, nearTolerance) {
		own.unindex(it)
		pair(other, it, other.byKey[it.key][0])
		return
	}
	// In an ambiguous group, the frames of the second recording are marked.
	if i == 1 {
		it.mark = true
		return
	}
	for _, x := range theirs {
		x.mark = true
	}
}

// certain reports whether two frames with the same content are one packet: it from input i and x
// from the other input. They must lie within the tolerance, and clearly nearer to each other than
// to any other such packet, including packets already written.
func (al *aligner) certain(i int, it, x *item) bool {
	mine, theirs := al.inputs[i].byKey[it.key], al.inputs[1-i].byKey[it.key]
	d := max(al.distance(i, it, x), minUncertainty)
	limit := singleTolerance
	for _, y := range theirs {
		if y != x {
			limit = min(limit, al.distance(i, it, y)/clearlyFactor, tightTolerance)
		}
	}
	for _, y := range mine {
		if y != it {
			limit = min(limit, al.distance(1-i, x, y)/clearlyFactor, tightTolerance)
		}
	}
	return d <= limit && !al.recent[i].nearer(it.key, al.sortTime(1-i, x), clearlyFactor*d) &&
		!al.recent[1-i].nearer(it.key, al.sortTime(i, it), clearlyFactor*d)
}

// balanced reports whether both windows hold the same number of packets with this content, and
// certainly all such packets. That is certain if neither window contains an event of its recorder,
// so both recorders were in the room throughout, and enough time follows the last packet.
func (al *aligner) balanced(k key) bool {
	for _, s := range al.inputs {
		list := s.byKey[k]
		for _, x := range s.window[s.head:] {
			if x.class == classRecorder {
				return false
			}
		}
		if s.len() == 0 || !s.end &&
			s.window[len(s.window)-1].sortTime-list[len(list)-1].sortTime < singleTolerance {
			return false // more may follow
		}
	}
	return len(al.inputs[0].byKey[k]) == len(al.inputs[1].byKey[k])
}

// within returns the frames of input i within d of a time.
func (al *aligner) within(i int, list []*item, at, d int64) []*item {
	var out []*item
	for _, x := range list {
		if abs(al.sortTime(i, x)-at) <= d {
			out = append(out, x)
		}
	}
	return out
}

// distance returns the time in ns between a frame of input i and one of the other input.
func (al *aligner) distance(i int, x,
	y *item,
) int64 {
	return abs(al.sortTime(i, x) - al.sortTime(1-i, y))
}

func abs(n int64) int64 { return max(n, -n) }

func compareInt64(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// history holds the content most recently written without a match.
type history struct {
	at   map[key]int64
	ring []key
	pos  int
}

const historySize = 4096

func newHistory() *history { return &history{at: map[key]int64{}} }

func (h *history) add(k key, at int64) {
	if _, ok := h.at[k]; !ok {
		if len(h.ring) < historySize {
			h.ring = append(h.ring, k)
		} else {
			delete(h.at, h.ring[h.pos])
			h.ring[h.pos] = k
			h.pos = (h.pos + 1) % historySize
		}
	}
	h.at[k] = at
}

// nearer reports whether the same content was written within d.
func (h *history) nearer(k key, at, d int64) bool {
	t, ok := h.at[k]
	return ok && abs(t-at) < d
}

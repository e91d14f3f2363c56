package merge

import (
	"slices"
)

// How far apart two receptions of one packet may be, with the clocks compared, for content to
// decide that it is one: alone where neither recorder has another packet with these bytes, tight
// where there are more. They cover by how much two paths from one server, and two busy machines,
// differ. What is further apart is kept twice, and marked if it is near.
const (
	tight = int64(250e6)
	alone = 10 * tight
	near  = int64(15e9)
	// apart is what the time of a reception is uncertain by at least, when two candidates are
	// compared.
	apart = int64(2e6)
	// clearly: a candidate has to be this many times nearer than any other.
	clearly = 4
)

// recentPairs is over how many pairs the difference of the clocks is taken, as the median.
const recentPairs = 31

// aligner goes through two recordings side by side and decides which frame comes next.
//
// It emits the frames of each recording in that recording's own order, so the merge respects both.
// Where the two disagree (two senders at the same moment), the first recording prevails. Frames
// that one of them lacks are put where they are by the frames around them that both have, then by
// the senders' numbers, and only then by the clocks.
type aligner struct {
	sides  [2]*side
	offset int64 // clock of side 1 minus that of side 0
	pairs  []int64
	recent [2]*history
}

func newAligner(a, b *side, offset int64) *aligner {
	return &aligner{
		sides: [2]*side{a, b}, offset: offset,
		recent: [2]*history{newHistory(), newHistory()},
	}
}

// place returns where a frame of side i lies by the clock of side 0.
func (al *aligner) place(i int, it *item) int64 {
	if i == 1 {
		return it.place - al.offset
	}
	return it.place
}

// fill reads ahead on both sides.
func (al *aligner) fill() error {
	for i, s := range al.sides {
		other := al.sides[1-i]
		if err := s.fill(func(it *item) {
			if it.class == classOwn || it.class == classContent {
				return
			}
			list := other.byKey[it.key]
			if it.repeats() {
				list = al.within(1-i, list, al.place(i, it), alone)
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

// pair makes twins of two frames; b is one of side s.
func pair(s *side, a, b *item) {
	a.twin, b.twin = b, a
	s.forget(b)
}

// next returns the next frame to write and its side, nil at the end. It is removed from its window,
// and its twin will not come any more.
func (al *aligner) next() (*item, int, error) {
	for {
		if err := al.fill(); err != nil {
			return nil, 0, err
		}
		again := false
		for _, s := range al.sides {
			if it := s.first(); it != nil && it.taken {
				s.pop()
				again = true
			}
		}
		if again {
			continue
		}
		a, b := al.sides[0].first(), al.sides[1].first()
		if a == nil && b == nil {
			return nil, 0, nil
		}
		al.resolve(0, a)
		al.resolve(1, b)
		i := al.choose(a, b)
		it := al.sides[i].first()
		al.sides[i].pop()
		al.emitted(i, it)
		return it, i, nil
	}
}

// choose returns the side whose first frame comes next.
func (al *aligner) choose(a, b *item) int {
	switch {
	case b == nil:
		return 0
	case a == nil:
		return 1
	case a.twin != nil && b.twin == nil:
		return 1 // b lies before the twin of a
	case a.twin != nil && b.class == classParticipant && a.class != classParticipant:
		return 1 // an event keeps no packet from its place: the server tells of them when it likes
	case a.twin != nil:
		return 0 // they are twins, or the two recorders heard them in another order
	case b.twin != nil:
		return 0
	}
	// Neither is known to both. A sender's numbers tell which recording is behind.
	behind0 := b.class == classNumbered && lower(al.sides[0].nextNumber(b.sid), b.seq)
	behind1 := a.class == classNumbered && lower(al.sides[1].nextNumber(a.sid), a.seq)
	switch {
	case behind0 && !behind1:
		return 0
	case behind1 && !behind0:
		return 1
	case al.place(0, a) <= al.place(1, b):
		return 0
	}
	return 1
}

// lower reports whether n is a number and lower than than.
func lower(n, than uint32) bool { return n != 0 && n < than }

// emitted notes what was written.
func (al *aligner) emitted(i int, it *item) {
	if it.twin == nil {
		if it.class == classContent {
			al.recent[i].add(it.key, al.place(i, it))
		}
		return
	}
	it.twin.taken = true
	if it.class == classParticipant {
		return // what one recorder found when it joined, the other may have been told long before
	}
	mine, theirs := it.place, it.twin.place
	if i == 1 {
		mine, theirs = theirs, mine
	}
	al.clock(theirs - mine)
}

// clock takes the difference of the clocks at one pair into account.
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

// resolve decides whether the frame of side i that comes next, which only its content names, has a
// twin.
//
// Identical bytes of one sender on one channel are one packet where they lie clearly nearer to each
// other than to any other such packet; or, on the reliable channel, on which nothing is lost
// between two frames, where both recorders heard equally many of them. Everything else is kept:
// what may be a duplicate is marked.
func (al *aligner) resolve(i int, it *item) {
	if it == nil || it.class != classContent || it.resolved || it.twin != nil {
		return
	}
	it.resolved = true
	own, other := al.sides[i], al.sides[1-i]
	at := al.place(i, it)
	theirs := al.within(1-i, other.byKey[it.key], at, near)
	if len(theirs) == 0 {
		it.mark = it.mark || al.recent[1-i].nearer(it.key, at, near)
		return
	}
	nearest := slices.MinFunc(theirs, func(x, y *item) int {
		return compare(al.distance(i, it, x), al.distance(i, it, y))
	})
	if al.certain(i, it, nearest) {
		own.forget(it)
		pair(other, it, nearest)
		return
	}
	if it.reliable && al.steady(it.key) && !al.recent[i].nearer(it.key, at, near) &&
		!al.recent[1-i].nearer(it.key, at, near) {
		own.forget(it)
		pair(other, it, other.byKey[it.key][0])
		return
	}
	// Of a group that cannot be told apart, those of the second recording are marked.
	if i == 1 {
		it.mark = true
		return
	}
	for _, x := range theirs {
		x.mark = true
	}
}

// certain reports whether two frames with the same content, it of side i and x of the other one,
// are one packet: they lie within the tolerance, and clearly nearer to each other than to any other
// packet like them, those that were written included.
func (al *aligner) certain(i int, it, x *item) bool {
	mine, theirs := al.sides[i].byKey[it.key], al.sides[1-i].byKey[it.key]
	d := max(al.distance(i, it, x), apart)
	limit := alone
	for _, y := range theirs {
		if y != x {
			limit = min(limit, al.distance(i, it, y)/clearly, tight)
		}
	}
	for _, y := range mine {
		if y != it {
			limit = min(limit, al.distance(1-i, x, y)/clearly, tight)
		}
	}
	return d <= limit && !al.recent[i].nearer(it.key, al.place(1-i, x), clearly*d) &&
		!al.recent[1-i].nearer(it.key, al.place(i, it), clearly*d)
}

// steady reports whether both windows hold equally many packets with this content and it is certain
// that these are all: neither recorder tells of itself in its window, so that it was in the room
// throughout, and behind the last one there is time enough.
func (al *aligner) steady(k key) bool {
	for _, s := range al.sides {
		list := s.byKey[k]
		for _, x := range s.window[s.head:] {
			if x.class == classOwn {
				return false
			}
		}
		if s.len() == 0 || !s.end &&
			s.window[len(s.window)-1].place-list[len(list)-1].place < alone {
			return false // more of them may follow
		}
	}
	return len(al.sides[0].byKey[k]) == len(al.sides[1].byKey[k])
}

// within returns the frames of side i that lie within d of a place.
func (al *aligner) within(i int, list []*item, at, d int64) []*item {
	var out []*item
	for _, x := range list {
		if abs(al.place(i, x)-at) <= d {
			out = append(out, x)
		}
	}
	return out
}

// distance is how far a frame of side i and one of the other side lie apart.
func (al *aligner) distance(i int, x,
	y *item,
) int64 {
	return abs(al.place(i, x) - al.place(1-i, y))
}

func abs(n int64) int64 { return max(n, -n) }

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// history remembers the content that was written last without a twin.
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

// nearer reports whether the same content was written nearer than d.
func (h *history) nearer(k key, at, d int64) bool {
	t, ok := h.at[k]
	return ok && abs(t-at) < d
}

package merge

import (
	"iter"
	"slices"

	"github.com/syncflow/textegress/segment"
)

// Bounds of the window over each recording. Memory holds nothing outside the window.
const (
	maxItems = 4096
	maxBytes = 32 << 20
)

// input is one of the two recordings with a window over its next frames.
type input struct {
	next   func() (segment.Frame, error, bool)
	items  items
	stop   func()
	window []*item // window[head:] holds the next frames
	head   int
	bytes  int
	end    bool
	limit  int

	byKey map[key][]*item     // unmatched frames in the window, in order
	bySID map[string][]uint32 // sequence numbers in the window, in order

	packets, only, duplicates, marked, outages int64
}

func newInput(frames iter.Seq2[segment.Frame, error], limit int) *input {
	s := &input{byKey: map[key][]*item{}, bySID: map[string][]uint32{}, limit: limit}
	s.next, s.stop = iter.Pull2(frames)
	return s
}

func (s *input) len() int { return len(s.window) - s.head }

// first returns the next frame, or nil at the end.
func (s *input) first() *item {
	if s.head == len(s.window) {
		return nil
	}
	return s.window[s.head]
}

// fill reads ahead. It calls met with each new frame before indexing it by its key.
func (s *input) fill(met func(*item)) error {
	for !s.end && s.len() < s.limit && (s.bytes < maxBytes || s.len() == 0) {
		f, err, ok := s.next()
		if !ok {
			s.end = true
			return nil
		}
		if err != nil {
			return err
		}
		switch f.Type {
		case segment.FramePacket:
			s.packets++
		case segment.FrameEvent:
		default: // a merged recording does not need a recorder's state
			continue
		}
		it := s.items.next(f)
		if s.head > len(s.window)/2 && s.head > 64 {
			s.window = slices.Delete(s.window, 0, s.head)
			s.head = 0
		}
		s.window = append(s.window, it)
		s.bytes += len(it.frame.Payload)
		met(it)
		if it.class != classRecorder && it.match == nil {
			s.byKey[it.key] = append(s.byKey[it.key], it)
		}
		if it.class == classNumbered {
			s.bySID[it.sid] = append(s.bySID[it.sid], it.seq)
		}
	}
	return nil
}

// pop removes the first frame.
func (s *input) pop() {
	it := s.window[s.head]
	s.window[s.head] = nil
	s.head++
	s.bytes -= len(it.frame.Payload)
	if it.class == classNumbered {
		// This frame is the first of its sid in the window.
		if rest := s.bySID[it.sid][1:]; len(rest) > 0 {
			s.bySID[it.sid] = rest
		} else {
			delete(s.bySID, it.sid)
		}
	}
	s.unindex(it)
}

// unindex removes a frame from byKey.
func (s *input) unindex(it *item) {
	list := s.byKey[it.key]
	i := slices.Index(list, it)
	if i < 0 {
		return
	}
	if list = slices.Delete(list, i, i+1); len(list) > 0 {
		s.byKey[it.key] = list
	} else {
		delete(s.byKey, it.key)
	}
}

// nextNumber returns the next sequence number of a sid in the window, or 0 if there is none.
func (s *input) nextNumber(sid string) uint32 {
	if list := s.bySID[sid]; len(list) > 0 {
		return list[0]
	}
	return 0
}

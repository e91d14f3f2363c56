package segment

import (
	"fmt"
	"math"
)

// This file accounts for damaged and missing ranges that a Reader finds.

type pendingRange struct {
	event      Event
	minMissing uint64 // number of missing frames if no later index determines it
}

// compare compares a segment with its measurements from when the recording was sealed.
func (r *Reader) compare(src Source, size int64, sum string) {
	was := src.Expected
	if was.Name != "" && was.SHA256 == "" {
		return // nothing was measured
	}
	if size == was.Size && sum == was.SHA256 && r.frames == was.Frames {
		return
	}
	lost := was.Frames - r.frames - r.missing
	for _, p := range r.pending {
		if p.event.Segment == src.Name {
			lost -= int64(p.minMissing)
		}
	}
	switch {
	case r.tail.Size > 0:
		r.addPending(r.tail, uint64(max(lost, 0)))
	case lost > 0:
		r.addLost(Finding{Offset: size}, lost)
	case r.damaged == 0:
		// the position of the changed bytes is unknown
		r.addPending(Finding{Size: size}, 0)
	}
}

// addLost adds frames to the number missing at the end of the segment.
func (r *Reader) addLost(at Finding, frames int64) {
	if n := len(r.pending); n > 0 {
		r.pending[n-1].minMissing += uint64(frames)
		return
	}
	r.addPending(at, uint64(frames))
}

// take accounts for a finding.
func (r *Reader) take(found Finding) error {
	switch found.Kind {
	case FoundFrame:
		if err := r.resolve(found.Frame.Index); err != nil {
			return err
		}
		f := found.Frame
		if f.Type == FrameEvent {
			if ev, err := DecodeEvent(f.Payload); err == nil {
				f.Event = &ev
			}
		}
		r.queue = append(r.queue, f)
		r.next = found.Frame.Index + 1
		r.frames++
		r.unixNS, r.epoch = found.Frame.UnixNS, found.Frame.Epoch
	case FoundTorn:
		if r.current == len(r.sources)-1 {
			r.tail = found
		} else {
			r.addPending(found, 0)
		}
	case FoundCorrupt:
		least := found.intactHeaders
		if found.Offset >= HeaderSize || !r.scanner.ok {
			least = max(least, 1)
		}
		r.addPending(found, least)
		if found.nextIndex != 0 {
			return r.resolve(found.nextIndex)
		}
	}
	return nil
}

func (r *Reader) addPending(found Finding, minMissing uint64) {
	r.damaged++
	r.pending = append(r.pending, pendingRange{
		event: Event{
			Kind: KindCorrupt, Segment: r.Segment(), Offset: found.Offset, Bytes: found.Size,
		},
		minMissing: minMissing,
	})
}

// resolve queues the pending ranges once index is known to come next. It attributes the missing
// frames to the first pending range. If there is none, it queues a gap without bytes.
func (r *Reader) resolve(index uint64) error {
	missing := int64(0)
	if index > r.next {
		missing = int64(min(index-r.next, math.MaxInt64))
	}
	r.missing += missing
	if missing > 0 && len(r.pending) == 0 {
		r.addPending(Finding{}, 0)
	}
	for _, p := range r.pending {
		p.event.FramesMissing = missing
		if err := r.queueDamage(p.event); err != nil {
			return err
		}
		missing = 0
	}
	r.pending = r.pending[:0]
	r.next = max(r.next, index)
	return nil
}

// finish queues the pending ranges at the end of the recording, which no later index follows.
func (r *Reader) finish() error {
	for _, p := range r.pending {
		p.event.FramesMissing = int64(min(p.minMissing, math.MaxInt64))
		if err := r.queueDamage(p.event); err != nil {
			return err
		}
		r.next += p.minMissing
	}
	r.pending = nil
	return nil
}

func (r *Reader) queueDamage(ev Event) error {
	payload, err := EncodeEvent(ev)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	r.queue = append(r.queue, Frame{
		Type: FrameEvent, Epoch: r.epoch, Index: r.next, UnixNS: r.unixNS, Payload: payload,
		Event: &ev, Damage: true,
	})
	return nil
}

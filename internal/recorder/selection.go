package recorder

import (
	"reflect"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/segment"
)

// stateSelection writes the rules of selection that are in force from now on,
// unless the recording states these already.
func (r *Recorder) stateSelection(unixNS int64) error {
	rules := r.o.Selection.Rules()
	if reflect.DeepEqual(rules, r.rules) {
		return nil
	}
	ev := segment.Event{Kind: textegress.KindSelection}
	if !rules.IsZero() {
		ev.Selection = &rules
	}
	if err := r.event(unixNS, ev); err != nil {
		return err
	}
	r.rules = rules
	return nil
}

// dropPause is how seldom the counts of dropped packets are written. They would
// otherwise tell when those who are not to be recorded were active. What was
// counted since then is lost when the process is killed, and the manifest says
// that there may be more.
const dropPause = 10 * time.Minute

// stateDropped writes how much was dropped since the last time, if anything was.
// write is AppendVital at an end, else Append.
func (r *Recorder) stateDropped(write func(segment.Frame) error) error {
	dropped := r.o.Selection.Take()
	if dropped == nil {
		return nil
	}
	err := r.eventBy(write, time.Now().UnixNano(), segment.Event{
		Kind:    textegress.KindDropped,
		Dropped: dropped,
	})
	if err != nil {
		r.o.Selection.Return(dropped)
	}
	return err
}

// dropped accounts for a packet that is not recorded.
func (r *Recorder) dropped(reason string, at time.Time) {
	r.o.Metrics.dropped(reason)
	last, now := r.droppedAt.Load(), at.UnixNano()
	if d := now - last; d >= 0 && d < int64(dropPause) || !r.droppedAt.CompareAndSwap(last, now) ||
		last == 0 {
		return
	}
	// what is dropped may not cost the reserve of a full disk
	if err := r.stateDropped(r.w.Append); err != nil {
		r.log.Error("cannot write how much was dropped; it is written later", "error", err)
	}
}

// drops returns why a packet may not be recorded, "" where it may.
func (h *handler) drops(ch room.Channel, b []byte) string {
	f := h.r.o.Selection
	if f == nil {
		return ""
	}
	if ch != room.DataTrack {
		return f.Packet(b)
	}
	if len(b) < 4 {
		return f.Frame(0, len(b)) // no handle has this number
	}
	return f.Frame(uint16(b[2])<<8|uint16(b[3]), len(b))
}

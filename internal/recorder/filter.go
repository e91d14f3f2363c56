package recorder

import (
	"reflect"
	"sync/atomic"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/segment"
)

// writeRules writes the selection rules in force, unless the recording already states them.
func (r *record) writeRules(unixNS int64) error {
	rules := r.filter.Rules()
	if reflect.DeepEqual(rules, r.snapshot().rules) {
		return nil
	}
	ev := segment.Event{Kind: textegress.KindSelection}
	if !rules.IsZero() {
		ev.Selection = &rules
	}
	return r.event(unixNS, ev)
}

// dropInterval is the minimum time between two writes of the counts of dropped packets. Shorter
// intervals would reveal when excluded participants were active. A killed process loses the counts
// since the last write, and the manifest states that there may be more.
const dropInterval = 10 * time.Minute

// writeDropped writes the counts of dropped packets since the last write, if they are not zero.
// Before an outage and at the end of the recording, write is [record.appendReserved], otherwise
// [record.append].
func (r *record) writeDropped(write writeFunc) error {
	dropped := r.filter.Take()
	if dropped == nil {
		return nil
	}
	err := r.writeEvent(write, time.Now().UnixNano(), segment.Event{
		Kind:    textegress.KindDropped,
		Dropped: dropped,
	})
	if err != nil {
		r.filter.Return(dropped)
	}
	return err
}

// dropClock holds the time at which the counts of dropped packets were last written.
type dropClock struct{ lastNS atomic.Int64 }

// due reports whether the counts are due to be written at the given time. The first call starts the
// interval.
func (c *dropClock) due(at time.Time) bool {
	last, now := c.lastNS.Load(), at.UnixNano()
	if d := now - last; d >= 0 && d < int64(dropInterval) {
		return false
	}
	return c.lastNS.CompareAndSwap(last, now) && last != 0
}

// countDropped counts a packet that is not recorded, and writes the counts when they are due.
func (r *record) countDropped(reason string, at time.Time) {
	r.metrics.dropped(reason)
	if !r.drops.due(at) {
		return
	}
	if err := r.writeDropped(r.append); err != nil { // not worth the reserve of a full disk
		r.log.Error("cannot write how much was dropped; it is written later", "error", err)
	}
}

// dropReason returns the reason why a packet must not be recorded, or "" if it may be recorded.
func (r *record) dropReason(ch room.Channel, b []byte) string {
	if r.filter == nil {
		return ""
	}
	if ch != room.DataTrack {
		return r.filter.Packet(b)
	}
	if len(b) < 4 {
		return r.filter.Frame(0, len(b)) // 0 is not a valid handle
	}
	return r.filter.Frame(uint16(b[2])<<8|uint16(b[3]), len(b))
}

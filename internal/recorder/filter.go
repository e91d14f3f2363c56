package recorder

import (
	"reflect"
	"sync/atomic"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/segment"
)

// writeRules writes the rules of what is recorded from now on, unless the recording states these
// already.
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

// dropInterval is how often, at most, the counts of dropped packets are written: more often they
// would tell when those who are not to be recorded were active. A process that is killed loses what
// it has counted since, and the manifest says that there may be more.
const dropInterval = 10 * time.Minute

// writeDropped writes how much was dropped since the last time, if anything was. At an end, write
// is [record.appendReserved], otherwise [record.append].
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

// dropClock says when the counts of dropped packets were last written.
type dropClock struct{ lastNS atomic.Int64 }

// due reports whether they are to be written at the time at. The first call begins the interval.
func (c *dropClock) due(at time.Time) bool {
	last, now := c.lastNS.Load(), at.UnixNano()
	if d := now - last; d >= 0 && d < int64(dropInterval) {
		return false
	}
	return c.lastNS.CompareAndSwap(last, now) && last != 0
}

// countDropped accounts for a packet that is not recorded.
func (r *record) countDropped(reason string, at time.Time) {
	r.metrics.dropped(reason)
	if !r.drops.due(at) {
		return
	}
	if err := r.writeDropped(r.append); err != nil { // not worth the reserve of a full disk
		r.log.Error("cannot write how much was dropped; it is written later", "error", err)
	}
}

// dropReason returns why a packet may not be recorded, "" where it may.
func (r *record) dropReason(ch room.Channel, b []byte) string {
	if r.filter == nil {
		return ""
	}
	if ch != room.DataTrack {
		return r.filter.Packet(b)
	}
	if len(b) < 4 {
		return r.filter.Frame(0, len(b)) // no handle has this number
	}
	return r.filter.Frame(uint16(b[2])<<8|uint16(b[3]), len(b))
}

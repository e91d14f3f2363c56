package poll

import "time"

// reliance states whether the source relies on webhooks to announce new rooms, and so can list the
// rooms less often. It does from the first verified webhook until a new room is listed that no
// webhook announces within an interval. It does again once a webhook announces a new room.
type reliance struct {
	relied bool
	failed bool // a webhook was missing, and none has announced a new room since
}

// change is a change of reliance.
type change int

const (
	unchanged change = iota
	lost             // webhooks do not arrive
	back             // they arrive again
)

// newRooms checks whether webhooks announced the new rooms of one list.
type newRooms struct {
	r         *reliance
	webhooks  Webhooks
	maxDelay  time.Duration // of a webhook after the list that has its room
	announced bool          // a webhook has announced a new room
	missing   bool          // no webhook has announced one within maxDelay
}

func (r *reliance) newRooms(w Webhooks, maxDelay time.Duration) *newRooms {
	return &newRooms{r: r, webhooks: w, maxDelay: maxDelay}
}

// check checks a room in the list.
func (n *newRooms) check(sid string, r *room) {
	switch {
	case !r.unannounced:
	case n.webhooks.Knows(sid):
		r.unannounced, n.announced = false, true
	case time.Since(r.found) >= n.maxDelay:
		r.unannounced, n.missing = false, true
	}
}

// update updates the reliance after a list, and returns the change.
func (n *newRooms) update() change {
	switch {
	case n.webhooks == nil:
	case n.r.relied && n.missing:
		n.r.relied, n.r.failed = false, true
		return lost
	case n.r.relied:
	case n.r.failed && n.announced && !n.missing:
		n.r.relied, n.r.failed = true, false
		return back
	case !n.r.failed && !n.webhooks.Seen().IsZero():
		n.r.relied = true
	}
	return unchanged
}

// logReliance logs a change.
func (s *Source) logReliance(c change) {
	switch c {
	case lost:
		s.log.Warn("webhooks of LiveKit do not arrive: a new room was found by polling alone; " +
			"polling at POLL_INTERVAL again")
	case back:
		s.log.Info("webhooks of LiveKit arrive again")
	}
}

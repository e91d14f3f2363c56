package poll

import "time"

// reliance is whether webhooks are relied on to tell of new rooms, so that the list can be asked
// for less often. They are from the first verified webhook on, until a new room is in the list of
// which none tells within an interval. After that they are relied on again when one has told of a
// new room.
type reliance struct {
	relied bool
	failed bool // a webhook was missing once, and none has told of a new room since
}

// change is a change of reliance.
type change int

const (
	unchanged change = iota
	lost             // webhooks do not arrive
	back             // they arrive again
)

// newcomers looks at the new rooms of one list.
type newcomers struct {
	r        *reliance
	webhooks Webhooks
	patience time.Duration
	heard    bool // a webhook has told of a new room
	missing  bool // none has told of one, for longer than patience
}

func (r *reliance) newcomers(w Webhooks, patience time.Duration) *newcomers {
	return &newcomers{r: r, webhooks: w, patience: patience}
}

// look looks at a room in the list.
func (n *newcomers) look(sid string, r *room) {
	switch {
	case !r.unheard:
	case n.webhooks.Knows(sid):
		r.unheard, n.heard = false, true
	case time.Since(r.found) >= n.patience:
		r.unheard, n.missing = false, true
	}
}

// judge returns how reliance changes after a list.
func (n *newcomers) judge() change {
	switch {
	case n.webhooks == nil:
	case n.r.relied && n.missing:
		n.r.relied, n.r.failed = false, true
		return lost
	case n.r.relied:
	case n.r.failed && n.heard && !n.missing:
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

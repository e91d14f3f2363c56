package controller

import (
	"context"
	"slices"
	"time"

	"github.com/syncflow/textegress/internal/session"
)

const (
	// sourceMissed is the source of a recording of a session that started while announcements were
	// lost. It counts as announced, because nobody can tell whether it was.
	sourceMissed = "missed"
	// gapMargin is how far apart the platform's clock and ours may be where their difference has
	// been taken into account, or cannot be. It also covers times in whole seconds.
	gapMargin = 5 * time.Second
	// gapPoll is how soon the list is asked for again after it failed.
	gapPoll = 30 * time.Second
)

// missed are the times in which announcements may have been lost. Controller.mu guards it.
type missed struct {
	gaps    []session.Gap
	settled chan struct{}   // closed when gaps has become empty
	counted map[string]bool // session ids that count as announced, though nobody is in the room yet
}

// Resync implements [session.Handler]. It returns when the sessions that began in gaps, and that
// still run, are recorded.
func (h handler) Resync(ctx context.Context, gaps []session.Gap) error {
	c := h.Controller
	if len(gaps) == 0 {
		c.triggerReconcile()
		return nil
	}
	c.mu.Lock()
	if c.missed.settled == nil {
		c.missed.settled = make(chan struct{})
	}
	for _, g := range gaps {
		if !slices.Contains(c.missed.gaps, g) {
			c.missed.gaps = append(c.missed.gaps, g)
		}
	}
	settled := c.missed.settled
	c.mu.Unlock()
	c.triggerReconcile()
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// gaps returns the gaps whose sessions are to be looked for.
func (c *Controller) gaps() []session.Gap {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.missed.gaps)
}

// settle forgets gaps whose sessions have been looked for.
func (c *Controller) settle(gaps []session.Gap) {
	if len(gaps) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missed.gaps = slices.DeleteFunc(c.missed.gaps,
		func(g session.Gap) bool { return slices.Contains(gaps, g) })
	if len(c.missed.gaps) == 0 && c.missed.settled != nil {
		close(c.missed.settled)
		c.missed.settled = nil
	}
}

// countsAsAnnounced reports whether the announcement of a running session may be among those that
// were lost. c.mu is held.
func (c *Controller) countsAsAnnounced(s session.Session, gaps []session.Gap) bool {
	if c.missed.counted[s.ID] {
		return true
	}
	if s.StartedAt.IsZero() {
		return false
	}
	offset, _ := c.o.Registry.ClockOffset()
	began := s.StartedAt.Add(-offset)
	in := slices.ContainsFunc(gaps, func(g session.Gap) bool {
		return !began.Before(g.From.Add(-gapMargin)) && !began.After(g.To.Add(gapMargin))
	})
	if in {
		if c.missed.counted == nil {
			c.missed.counted = map[string]bool{}
		}
		c.missed.counted[s.ID] = true
		c.log.Warn("a session started while announcements were lost; it counts as announced",
			"session_id", s.ID, "room", s.Room)
	}
	return in
}

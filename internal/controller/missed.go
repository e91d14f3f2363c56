package controller

import (
	"context"
	"slices"
	"time"

	"github.com/syncflow/textegress/internal/session"
)

const (
	// sourceMissed is the source of a recording whose session started while announcements were
	// lost. The session counts as announced, because it is impossible to tell whether it was.
	sourceMissed = "missed"
	// gapMargin is the tolerated difference between the platform's clock and ours after the
	// measured offset, if known, has been subtracted. It also covers times in whole seconds.
	gapMargin = 5 * time.Second
	// gapPoll is the pause before a failed session list is requested again while gaps are
	// unsettled.
	gapPoll = 30 * time.Second
)

// missed tracks the intervals in which announcements may have been lost. Controller.mu guards it.
type missed struct {
	gaps    []session.Gap
	settled chan struct{} // closed when gaps becomes empty
	// ids of sessions that count as announced although their room is still empty
	counted map[string]bool
}

// Resync implements [session.Handler]. It returns when the sessions that started in gaps and are
// still running are recorded.
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

// gaps returns the gaps whose sessions have not been searched for yet.
func (c *Controller) gaps() []session.Gap {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.missed.gaps)
}

// settle removes gaps whose sessions have been searched for.
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

// countsAsAnnounced reports whether the announcement of a running session may have been lost in one
// of gaps. c.mu is held.
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

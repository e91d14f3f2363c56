package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/spool"
)

// Errors of [Controller.Exclude].
var (
	// ErrNoSession means that no recording of the session is stored.
	ErrNoSession = errors.New("no such session")
	// ErrNotExcluded means that there is no such exclusion to end.
	ErrNotExcluded = errors.New("nobody with this identity is excluded there")
)

// Exclusion is a request to record a participant no more, or again.
type Exclusion struct {
	Identity  string
	SessionID string // "": all sessions of the project, also later ones
	Undo      bool
}

// Exclude excludes a participant from the recordings of the project: the next packet and all later
// ones are not recorded, nor further parts of streams that have begun. With Undo, it ends an
// exclusion. present is the number of sessions under way in which the participant was seen and not
// excluded. When Exclude returns nil, the decision is durable and stated in the record of each
// session.
//
// After an error, an exclusion is in force all the same until the process ends, unless the session
// is unknown; a repeated call stores and states it.
func (c *Controller) Exclude(_ context.Context, x Exclusion) (present int, err error) {
	if x.SessionID != "" {
		x.SessionID = c.canonical(x.SessionID)
		if _, ok := c.o.Spool.Latest(c.o.ProjectID, x.SessionID); !ok {
			return 0, fmt.Errorf("session %s: %w", x.SessionID, ErrNoSession)
		}
	}
	present = c.seen(x)
	stored := c.storeExclusion(x)
	if errors.Is(stored, ErrNotExcluded) {
		return 0, stored
	}
	c.log.Info("exclusions changed", "session_id", x.SessionID, "undo", x.Undo)
	return present, errors.Join(stored, c.applyExclusions())
}

// storeExclusion makes a decision durable.
func (c *Controller) storeExclusion(x Exclusion) error {
	if !x.Undo {
		return c.o.Spool.Exclude(spool.Exclusion{
			ProjectID: c.o.ProjectID, SessionID: x.SessionID, Identity: x.Identity,
			UnixNS: time.Now().UnixNano(),
		})
	}
	ended, err := c.o.Spool.Include(c.o.ProjectID, x.SessionID, x.Identity)
	if err == nil && ended == 0 {
		return ErrNotExcluded
	}
	return err
}

// applyExclusions makes every recorder of the project exclude whom the spool names. A recorder that
// starts meanwhile reads the spool itself.
func (c *Controller) applyExclusions() error {
	var errs []error
	for _, r := range c.running() {
		excluded, err := c.o.Spool.Excluded(c.o.ProjectID, r.Session())
		if err == nil {
			err = r.Exclude(excluded)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("recording %s: the record does not state it yet; "+
				"repeat the command: %w", r.ID(), err))
		}
	}
	return errors.Join(errs...)
}

// seen counts the recordings under way that x concerns and in which the participant was seen.
func (c *Controller) seen(x Exclusion) int {
	n := 0
	for _, r := range c.running() {
		if x.SessionID != "" && r.Session() != x.SessionID {
			continue
		}
		for _, p := range r.People() {
			if p.Identity == x.Identity {
				n++
			}
		}
	}
	return n
}

// running returns the recorders of the open recordings.
func (c *Controller) running() []*recorder.Recorder {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*recorder.Recorder
	for _, st := range c.open {
		list = append(list, st.recorder)
	}
	return list
}

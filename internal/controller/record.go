package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// Record starts a recording of a running session at the request of an operator, even if the session
// was not announced, was recorded before, was stopped, or the recorder was removed from it. It
// returns the egress id of the new recording or, if the session is already being recorded, of the
// current one.
func (c *Controller) Record(ctx context.Context, sessionID string) (string, error) {
	sessionID = c.canonical(c.o.Registry.CanonicalID(sessionID))
	for {
		c.mu.Lock()
		st, stopping := c.open[sessionID], false
		if st != nil {
			stopping = st.stopping != ""
		}
		prev, recorded := c.o.Spool.Latest(c.o.ProjectID, sessionID)
		c.mu.Unlock()
		if st == nil {
			if recorded {
				return c.recordAgain(ctx, prev)
			}
			return c.recordUnknown(ctx, sessionID)
		}
		switch s := st.recorder.Snapshot(); {
		case stopping:
		case s.Status == textegress.StatusStarting:
			// the session may have been announced with a wrong room
			id, err := c.recordUnknown(ctx, sessionID)
			if err != nil && !errors.Is(err, session.ErrEnded) &&
				!errors.Is(err, session.ErrUnknown) && ctx.Err() == nil {
				return s.Info.EgressID, nil
			}
			return id, err
		case s.Status == textegress.StatusActive:
			return s.Info.EgressID, nil
		}
		select { // the recording is being sealed
		case <-st.done:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// recordAgain starts the next part of a session after prev.
func (c *Controller) recordAgain(ctx context.Context, prev *spool.Recording) (string, error) {
	info := prev.Info()
	state, err := c.o.Registry.State(ctx, sessionOf(prev))
	switch {
	case errors.Is(err, session.ErrUnknown):
		return "", fmt.Errorf("session %s: %w", info.SessionID, session.ErrUnknown)
	case err != nil:
		return "", fmt.Errorf("ask for session %s: %w", info.SessionID, err)
	case state == session.Ended, state == session.Replaced:
		return "", fmt.Errorf("session %s: %w", info.SessionID, session.ErrEnded)
	}
	// In an empty room, the recorder waits for the first participant.
	return c.begin(request{ordered: true, Announcement: session.Announcement{
		SessionID: info.SessionID, Room: info.RoomName, Source: sourceCommand,
		ReceivedAt: time.Now(),
	}})
}

// recordUnknown starts a recording of a session when only its id is known.
func (c *Controller) recordUnknown(ctx context.Context, sessionID string) (string, error) {
	s, err := c.o.Registry.Session(ctx, sessionID)
	switch {
	case errors.Is(err, session.ErrUnknown):
		return "", fmt.Errorf("session %s: %w", sessionID, session.ErrUnknown)
	case errors.Is(err, session.ErrRoomMissing):
		return "", fmt.Errorf("session %s counts as started, but its room is gone: %w", sessionID,
			err)
	case errors.Is(err, session.ErrEnded):
		return "", err
	case err != nil:
		return "", fmt.Errorf("ask for session %s: %w", sessionID, err)
	}
	return c.begin(request{ordered: true, platform: true, Announcement: session.Announcement{
		SessionID: s.ID, Room: s.Room, Source: sourceCommand, ReceivedAt: time.Now(),
		Limits: s.Limits,
	}})
}

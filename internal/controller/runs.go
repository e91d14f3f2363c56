package controller

import (
	"context"
	"fmt"

	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// On platforms where a session is one run of a room, another run can continue the session after a
// crash of the server (see run.go in internal/recorder). The session keeps its id, the key of all
// maps of the controller; requests to the platform use the id of the run.

// probeSID is the sid of a room that does not exist.
const probeSID = "textegress"

// sessionsAreRuns reports whether rooms name themselves as sessions.
func sessionsAreRuns(r session.Registry) bool {
	return r != nil && r.SessionOf(session.Room{SID: probeSID}) == probeSID
}

// canonical returns the id of the session that a run continues, or id itself.
func (c *Controller) canonical(id string) string {
	if c.runs {
		if rec, ok := c.o.Spool.Latest(c.o.ProjectID, id); ok {
			return rec.Info().SessionID
		}
	}
	return id
}

// undecided reports whether the room that a request names may continue another session: a recording
// of that session is open and was in a room of this name. Its recorder decides, see
// [session.ErrLater]. c.mu is held.
func (c *Controller) undecided(q request) bool {
	if !c.runs {
		return false
	}
	for id, st := range c.open {
		s := st.recorder.Snapshot()
		if id != q.SessionID && s.Info.RoomName == q.Room && s.EverJoined {
			return true
		}
	}
	return false
}

// continueRun returns a function that stores that another run of the room continues the session of
// a recording.
func (c *Controller) continueRun(rec *spool.Recording) func(sid string) error {
	return func(sid string) error {
		defer c.creating.Lock(sid)()
		if other, ok := c.o.Spool.Latest(c.o.ProjectID, sid); ok && other.ID() != rec.ID() {
			return fmt.Errorf("%w: recording %s has it", recorder.ErrOtherSession, other.ID())
		}
		return rec.AddRun(sid)
	}
}

// singleNode returns a function that reports whether the LiveKit server keeps its rooms in memory.
func (c *Controller) singleNode(rec *spool.Recording) func(context.Context) (bool, error) {
	info := rec.Info()
	return func(ctx context.Context) (bool, error) {
		key, url, err := c.liveKit(info)
		if err != nil {
			return false, err
		}
		return key.SingleNode(ctx, url)
	}
}

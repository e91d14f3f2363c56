package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// ErrNoRecording means that the project has no recording with the given egress id.
var ErrNoRecording = errors.New("no such recording")

// errBeingSealed rejects an announcement of a session that was withdrawn a moment ago.
var errBeingSealed = fmt.Errorf("its recording is being sealed: %w", session.ErrLater)

// Stop ends the recording with the given egress id, and with it the recording of its session: if
// the recording has ended and a later part follows it, that part ends. The session is not recorded
// again after any announcement, unless an operator requests it or [Controller.Start] is called with
// another request id. The decision is durable when Stop returns nil; the recording is sealed soon
// after that. It may be called repeatedly. It returns [ErrNoRecording] for an unknown id.
func (c *Controller) Stop(_ context.Context, egressID string) error {
	rec, ok := c.o.Spool.Recording(egressID)
	if !ok || rec.Info().ProjectID != c.o.ProjectID {
		return fmt.Errorf("recording %s: %w", egressID, ErrNoRecording)
	}
	if isStopped(rec) { // a repeated call must not stop a later request's recording
		return nil
	}
	return c.endSession(rec.Info().SessionID, recorder.ReasonStopped)
}

// Withdraw implements [session.Handler].
func (h handler) Withdraw(_ context.Context, sessionID string) error {
	return h.endSession(sessionID, recorder.ReasonOptedOut)
}

// endSession durably decides that the recording of a session ends for the given reason, and ends
// it. If the decision cannot be stored, the recording still ends, and only its seal stores the
// reason.
func (c *Controller) endSession(sessionID, reason string) error {
	sessionID = c.canonical(sessionID)
	defer c.creating.Lock(sessionID)()
	latest, ok := c.o.Spool.Latest(c.o.ProjectID, sessionID)
	if !ok {
		return nil
	}
	c.mu.Lock()
	recordings := append([]*spool.Recording{latest}, c.second[sessionID]...)
	c.mu.Unlock()
	var errs []error
	for _, rec := range recordings {
		if reason == recorder.ReasonOptedOut && (rec.State() != spool.StateOpen || isStopped(rec)) {
			continue // nothing is being recorded
		}
		errs = append(errs, rec.RequestStop(spool.Stop{
			Reason: reason, UnixNS: time.Now().UnixNano(),
		}))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := c.open[sessionID]; st != nil {
		st.stop(reason)
	}
	delete(c.watched, sessionID)
	c.log.Info("recording stopped", "session_id", sessionID, "egress_id", latest.ID(), "reason",
		reason)
	return errors.Join(errs...)
}

// isStopped reports whether the recording was stopped, or the rest of its session after the
// recording had ended.
func isStopped(rec *spool.Recording) bool {
	if s, ok := rec.Stop(); ok && s.Reason == recorder.ReasonStopped {
		return true
	}
	sealed, ok := rec.Sealed()
	return ok && sealed.Reason == recorder.ReasonStopped
}

// stop ends the recording. Controller.mu is held.
func (st *openRecording) stop(reason string) {
	if st.stopping == "" {
		st.stopping = reason
	}
	st.recorder.Stop(reason)
	st.cancel()
}

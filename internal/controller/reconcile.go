package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/syncflow"
)

// reconcileLoop compares with the session list at the start, whenever the broker
// was away, and every few minutes, whether or not the broker is there.
func (c *Controller) reconcileLoop(ctx context.Context) {
	t := time.NewTicker(c.o.ReconcileEvery)
	defer t.Stop()
	for {
		c.reconcile(ctx)
		if !c.nextLook(ctx, t.C) {
			return
		}
	}
}

// diskPoll is how often a controller that refused a session for want of disk
// space looks whether there is some.
const diskPoll = 5 * time.Second

// nextLook waits until it is time to look again: every few minutes, when
// somebody asks for it, and when there is space for a session that was refused
// for want of it and that nobody will announce again. False: ctx is done.
func (c *Controller) nextLook(ctx context.Context, every <-chan time.Time) bool {
	disk := time.NewTicker(diskPoll)
	defer disk.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-c.look:
			return true
		case <-every:
			return true
		case <-disk.C:
			if d := c.o.Spool.Disk(); c.noRoom.Load() && !d.Low && !d.Full {
				c.noRoom.Store(false)
				return true
			}
		}
	}
}

// cannotBegin logs why a session found by looking is not recorded yet. Of a disk
// that is nearly full the spool has told, once.
func (c *Controller) cannotBegin(sessionID string, err error) {
	if errors.Is(err, spool.ErrDiskLow) {
		c.noRoom.Store(true)
		return
	}
	c.log.Error("cannot record a running session; trying again at the next look", "session_id", sessionID, "error", err)
}

// lookSoon asks the loop for a reconciliation without waiting for it.
func (c *Controller) lookSoon() {
	select {
	case c.look <- struct{}{}:
	default:
	}
}

// reconcile compares what we record with what runs. Sessions that we recorded
// until we were stopped go on as a new part; open recordings need nothing here,
// their recorders ask for themselves whenever they are not in the room; sessions
// that nobody asked us to record are pointed out, or recorded too.
func (c *Controller) reconcile(ctx context.Context) {
	sessions, err := c.o.API.Sessions(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return
		}
		c.listFailed(err)
		c.continueParts(ctx)
		return
	}
	running := map[string]syncflow.Session{}
	for _, s := range sessions {
		if s.Active() {
			running[s.ID] = s
		}
	}
	for _, s := range running {
		if err := c.consider(ctx, s); err != nil && ctx.Err() == nil {
			c.cannotBegin(s.ID, err)
		}
	}
	c.mu.Lock()
	for id := range c.refused {
		if _, ok := running[id]; !ok {
			delete(c.refused, id)
		}
	}
	c.o.Metrics.unrequested(c.o.ProjectID, len(c.refused))
	c.last, c.listErr = time.Now(), ""
	c.mu.Unlock()
}

// listFailed notes that the list could not be had: on a LiveKit without Redis
// that is so whenever a session runs.
func (c *Controller) listFailed(err error) {
	c.mu.Lock()
	first := c.listErr == ""
	c.listErr = err.Error()
	c.mu.Unlock()
	if first {
		c.log.Warn("the session list cannot be had; sessions that nobody announced are not noticed", "error", err)
	}
}

// consider handles one session that runs.
func (c *Controller) consider(ctx context.Context, s syncflow.Session) error {
	c.mu.Lock()
	_, open := c.open[s.ID]
	prev, recorded := c.o.Spool.Latest(c.o.ProjectID, s.ID)
	c.mu.Unlock()
	if open {
		return nil
	}
	src := "reconcile"
	if recorded {
		sealed, ok := prev.Sealed()
		if !ok || !recorder.Resumable(sealed.Reason) {
			return nil
		}
		src = prev.Info().Source
	} else if !c.o.RecordAll {
		c.pointOut(s)
		return nil
	}
	if ok, err := c.live(ctx, s.ID, s.RoomName); err != nil || !ok {
		return err
	}
	_, err := c.begin(s.ID, s.RoomName, src, time.Now(), false)
	if errors.Is(err, ErrAlreadyRecorded) {
		return nil
	}
	return err
}

// live asks whether a session that counts as started has a room. One whose end
// the API missed counts as started for ever.
func (c *Controller) live(ctx context.Context, sessionID, room string) (bool, error) {
	a := &authority{api: c.o.API, session: sessionID, room: room}
	st, err := a.State(ctx)
	if err != nil {
		return false, fmt.Errorf("ask for session %s: %w", sessionID, err)
	}
	return st == recorder.SessionRunning, nil
}

// continueParts continues, without the list, the sessions we recorded until we
// were stopped. The token endpoint says whether they run.
func (c *Controller) continueParts(ctx context.Context) {
	c.mu.Lock()
	type todo struct{ id, room, src string }
	var ask []todo
	seen := map[string]bool{}
	for _, rec := range c.o.Spool.Recordings() {
		i := rec.Info()
		if i.ProjectID != c.o.ProjectID || seen[i.SessionID] || c.open[i.SessionID] != nil {
			continue
		}
		seen[i.SessionID] = true
		prev, _ := c.o.Spool.Latest(c.o.ProjectID, i.SessionID)
		sealed, ok := prev.Sealed()
		// A token lives six hours; a session that was left longer ago is not
		// asked for one by one at every look.
		if ok && recorder.Resumable(sealed.Reason) && time.Since(time.Unix(0, sealed.EndedUnixNS)) < 24*time.Hour {
			ask = append(ask, todo{i.SessionID, i.RoomName, i.Source})
		}
	}
	c.mu.Unlock()
	for _, t := range ask {
		ok, err := c.live(ctx, t.id, t.room)
		if err == nil && ok {
			_, err = c.begin(t.id, t.room, t.src, time.Now(), false)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrAlreadyRecorded) {
			c.cannotBegin(t.id, err)
		}
	}
}

// pointOut warns, once per session, that a session runs which nobody asked us to
// record.
func (c *Controller) pointOut(s syncflow.Session) {
	c.mu.Lock()
	_, known := c.refused[s.ID]
	c.refused[s.ID] = SessionRef{SessionID: s.ID, RoomName: s.RoomName}
	c.mu.Unlock()
	if !known {
		c.log.Warn("a session runs that nobody asked us to record; record it with `textegress record`, or all such with RECORD_SESSIONS=all",
			"session_id", s.ID, "room", s.RoomName)
	}
}

// Record begins a recording of a running session that nobody announced, and
// returns its egress id; for a session that is being recorded, that of the
// running recording.
func (c *Controller) Record(ctx context.Context, sessionID string) (string, error) {
	s, err := c.o.API.Session(ctx, sessionID)
	switch {
	case errors.Is(err, syncflow.ErrNotFound):
		return "", fmt.Errorf("session %s: %w", sessionID, syncflow.ErrNotFound)
	case errors.Is(err, syncflow.ErrRoomNotFound):
		return "", fmt.Errorf("session %s counts as started, but its room is gone: %w", sessionID, err)
	case err != nil:
		return "", fmt.Errorf("ask for session %s: %w", sessionID, err)
	case !s.Active():
		return "", fmt.Errorf("session %s is %s, not Started: %w", sessionID, strings.ToLower(s.Status), syncflow.ErrSessionNotActive)
	}
	return c.begin(s.ID, s.RoomName, "command", time.Now(), false)
}

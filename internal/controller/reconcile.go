package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// diskPoll is how often a controller that deferred a session checks whether there is disk space.
const diskPoll = 5 * time.Second

// loginPatience is how long the sources wait for the first questions about sessions, and the first
// session list for the sources to connect.
const loginPatience = 5 * time.Second

// loop asks the platform about each watched session when that is due, and for the session list: at
// the start, after a source was disconnected, every few minutes in any case, when there is disk
// space again for a deferred session, and soon while sessions whose announcements were lost could
// not be looked for. It asks one question at a time.
//
// The list waits for the first questions about sessions that are to be resumed, because they are
// quick, and because on some servers the list fails as long as any session runs; it then waits for
// ready and, for a while, for the source to connect. asked is closed after these first questions.
func (c *Controller) loop(ctx context.Context, ready <-chan struct{}, asked chan<- struct{}) {
	every := time.NewTicker(c.o.ReconcileEvery)
	defer every.Stop()
	disk := time.NewTicker(diskPoll)
	defer disk.Stop()
	list := false              // it is time for the list
	var alone <-chan time.Time // the first list has waited long enough
	var looked time.Time
	for ctx.Err() == nil {
		w, due := c.nextQuestion(time.Now())
		switch {
		case w != nil && !w.asked:
			_ = backoff.Sleep(ctx, min(c.ask(ctx, w), restAtMost))
			continue
		case asked != nil:
			close(asked)
			asked = nil
			continue
		case list && ready == nil:
			list, alone, looked = false, nil, time.Now()
			c.reconcile(ctx)
			continue
		case w != nil:
			due = time.Now()
		}
		next := time.NewTimer(untilOr(due, time.Hour))
		select {
		case <-ctx.Done():
		case <-ready:
			ready, alone = nil, time.After(loginPatience)
		case <-alone:
			list = true
		case <-c.reconcileC:
			list = true
		case <-c.wake:
		case <-every.C:
			list = true
		case <-disk.C:
			if d := c.o.Spool.Disk(); c.diskDeferred.Load() && !d.Low && !d.Full {
				c.diskDeferred.Store(false)
				list = true
			}
			list = list || time.Since(looked) >= gapPoll && len(c.gaps()) > 0
		case <-next.C:
			if w != nil {
				_ = backoff.Sleep(ctx, min(c.ask(ctx, w), restAtMost))
			}
		}
		next.Stop()
	}
}

// untilOr is the time until t, or otherwise where t is zero.
func untilOr(t time.Time, otherwise time.Duration) time.Duration {
	if t.IsZero() {
		return otherwise
	}
	return max(0, time.Until(t))
}

// logDeferred logs why a session that runs is not recorded yet. The spool itself logs that the disk
// is nearly full.
func (c *Controller) logDeferred(sessionID string, err error) {
	if errors.Is(err, diskguard.ErrLow) {
		c.diskDeferred.Store(true)
		return
	}
	c.log.Error("cannot record a running session; trying again at the next reconciliation",
		"session_id",
		sessionID, "error", err)
}

// triggerReconcile asks the loop for a reconciliation without waiting for it.
func (c *Controller) triggerReconcile() {
	select {
	case c.reconcileC <- struct{}{}:
	default:
	}
}

// reconcile compares what is recorded with what runs. Open recordings need nothing here: their
// recorders ask for themselves whenever they are not in the room. Sessions that nobody asked us to
// record are reported, or recorded too. Watched sessions are over, or due to be asked about.
func (c *Controller) reconcile(ctx context.Context) {
	asked := time.Now()
	gaps := c.gaps()
	sessions, err := c.o.Registry.Sessions(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.listFailed(err)
		}
		return
	}
	running := map[string]session.Session{}
	for _, s := range sessions {
		running[s.ID] = s
	}
	c.applyList(asked, running)
	all := true
	for _, s := range running {
		if err := c.reconcileSession(ctx, asked, s, gaps); err != nil && ctx.Err() == nil {
			c.logDeferred(s.ID, err)
			all = false
		}
	}
	if all && ctx.Err() == nil {
		c.settle(gaps)
	}
	c.mu.Lock()
	for id := range c.refused {
		if s, ok := running[id]; !ok || s.State == session.Empty {
			delete(c.refused, id)
		}
	}
	for id := range c.empty {
		if s, ok := running[id]; !ok || s.State != session.Empty {
			delete(c.empty, id)
		}
	}
	for id := range c.missed.counted {
		if _, ok := running[id]; !ok {
			delete(c.missed.counted, id)
		}
	}
	c.o.Metrics.unrequested(c.o.ProjectID, len(c.refused))
	c.last, c.listErr = time.Now(), ""
	c.mu.Unlock()
}

// listFailed handles a list that failed: on a LiveKit without Redis it does whenever a session
// runs. Watched sessions are then asked about one by one.
func (c *Controller) listFailed(err error) {
	c.mu.Lock()
	first := c.listErr == ""
	c.listErr = err.Error()
	for id, w := range c.watched {
		switch {
		case !w.next.IsZero():
		case time.Since(w.since) > watchAtAll:
			delete(c.watched, id)
		default:
			w.next = time.Now()
		}
	}
	c.mu.Unlock()
	if first {
		c.log.Warn("cannot list sessions; sessions that nobody announced are not noticed",
			"error", err)
	}
}

// applyList applies the list to the watched sessions. A recording that ended after the list was
// asked for is not in what the list says.
func (c *Controller) applyList(asked time.Time, running map[string]session.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, w := range c.watched {
		s, ok := running[id]
		switch {
		case !w.since.Before(asked):
		case !ok:
			delete(c.watched, id)
		case s.State == session.Empty:
			w.present = false
		case w.removed && s.State == session.Running:
			w.present = true
		case w.next.IsZero():
			w.next = time.Now() // the list may have taken a while
		}
	}
}

// reconcileSession handles one session that runs, as of asked.
func (c *Controller) reconcileSession(ctx context.Context, asked time.Time, s session.Session,
	gaps []session.Gap,
) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[s.ID] != nil || c.watched[s.ID] != nil {
		return nil
	}
	if rec, ok := c.o.Spool.Latest(c.o.ProjectID, s.ID); ok {
		c.watchAgain(rec, asked, s)
		return nil
	}
	missed, src, since := c.countsAsAnnounced(s, gaps), sourceReconcile, s.StartedAt
	if missed {
		src, since = sourceMissed, time.Now()
	}
	take := missed || c.o.RecordAll
	switch {
	case c.nameInUse(s.Room): // its end was missed, and the room's name belongs to the next session
	case take && s.State != session.Empty:
		c.mu.Unlock()
		gone, err := c.recordUnannounced(ctx, s, src)
		c.mu.Lock()
		if gone {
			c.awaitFirst(s, src, since)
		}
		return err
	case take && time.Since(since) < watchFor:
		c.awaitFirst(s, src, since)
	case s.State == session.Empty:
		if !c.empty[s.ID] {
			c.empty[s.ID] = true
			c.log.Info("a session counts as started, but nobody is in its room", "session_id", s.ID)
		}
	default:
		c.reportUnrequested(s)
	}
	return nil
}

// awaitFirst watches a session whose room is empty: its recording starts with the first
// participant. c.mu is held.
func (c *Controller) awaitFirst(s session.Session, src string, since time.Time) {
	if c.open[s.ID] != nil || c.watched[s.ID] != nil || time.Since(since) >= watchFor {
		return
	}
	c.watched[s.ID] = &watch{
		sessionID: s.ID, room: s.Room, source: src, since: since, asked: true,
		next: time.Now().Add(watchEvery),
	}
}

// watchAgain watches a session that counts as started although it had ended for us: the platform
// said so, or it was left long ago. c.mu is held.
func (c *Controller) watchAgain(rec *spool.Recording, asked time.Time, s session.Session) {
	sealed, ok := rec.Sealed()
	if !ok || s.State == session.Empty || !time.Unix(0, sealed.EndedUnixNS).Before(asked) {
		return
	}
	w := watchOf(rec)
	if w == nil {
		if sealed.Reason != recorder.ReasonSessionEnded {
			return // the room is another session's now
		}
		w = &watch{
			sessionID: s.ID, room: s.Room, source: rec.Info().Source, egressID: rec.ID(),
			reason: sealed.Reason,
		}
	}
	w.since, w.present, w.next = time.Now(), true, time.Now()
	c.watched[s.ID] = w
}

// recordUnannounced records a session whose announcement has not reached us. A session whose end
// the platform missed counts as started for ever, and joining would re-create its room: gone
// reports that nobody is in it.
func (c *Controller) recordUnannounced(ctx context.Context, s session.Session,
	src string) (gone bool,
	err error,
) {
	switch state, err := stateOf(ctx, c.o.Registry, s); {
	case err != nil:
		return false, fmt.Errorf("ask for session %s: %w", s.ID, err)
	case state == session.Ended:
		return false, nil
	case state == session.Empty:
		return true, nil
	}
	_, err = c.begin(request{platform: true, fresh: true, Announcement: session.Announcement{
		SessionID: s.ID, Room: s.Room, Source: src, ReceivedAt: time.Now(),
	}})
	if errors.Is(err, ErrAlreadyRecorded) {
		return false, nil
	}
	return false, err
}

// reportUnrequested warns, once per session, that a session runs which nobody asked us to
// record. c.mu is held.
func (c *Controller) reportUnrequested(s session.Session) {
	_, known := c.refused[s.ID]
	c.refused[s.ID] = SessionRef{SessionID: s.ID, RoomName: s.Room}
	if !known {
		c.log.Warn("a session runs that nobody asked this service to record; record it with "+
			"`textegress "+
			"record`, or all such with RECORD_SESSIONS=all",
			"session_id", s.ID, "room", s.Room)
	}
}

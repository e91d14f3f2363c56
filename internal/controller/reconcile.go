package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// diskPoll is how often a controller that refused a session for want of disk
// space looks whether there is some.
const diskPoll = 5 * time.Second

// loginPatience is how long the login to the broker waits for our first questions to SyncFlow, and
// the first session list for that login.
const loginPatience = 5 * time.Second

// loop asks the platform: about each watched session when its time has come, and for the session
// list at the start, whenever the broker was away, every few minutes whether or not the broker is
// there, when there is space for a session that was refused for want of it, and soon while sessions
// whose announcements were lost could not be looked for. It asks one
// question at a time. The list waits for the first questions about sessions that are to be recorded
// further, because they are quick, and because on some servers the list fails as long as any
// session runs; it waits for ready, and then, for a while, until the source is connected. asked is
// closed when these first questions were put.
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
		case <-c.look:
			list = true
		case <-c.wake:
		case <-every.C:
			list = true
		case <-disk.C:
			if d := c.o.Spool.Disk(); c.noRoom.Load() && !d.Low && !d.Full {
				c.noRoom.Store(false)
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

// cannotBegin logs why a session found by looking is not recorded yet. Of a disk
// that is nearly full the spool has told, once.
func (c *Controller) cannotBegin(sessionID string, err error) {
	if errors.Is(err, spool.ErrDiskLow) {
		c.noRoom.Store(true)
		return
	}
	c.log.Error("cannot record a running session; trying again at the next look", "session_id",
		sessionID, "error", err)
}

// lookSoon asks the loop for a reconciliation without waiting for it.
func (c *Controller) lookSoon() {
	select {
	case c.look <- struct{}{}:
	default:
	}
}

// reconcile compares what we record with what runs. Open recordings need nothing
// here, their recorders ask for themselves whenever they are not in the room;
// sessions that nobody asked us to record are pointed out, or recorded too; of
// watched ones the list tells which are over, and which are to be asked about.
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
	c.tellWatched(asked, running)
	all := true
	for _, s := range running {
		if err := c.consider(ctx, asked, s, gaps); err != nil && ctx.Err() == nil {
			c.cannotBegin(s.ID, err)
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

// listFailed notes that the list could not be had: on a LiveKit without Redis
// that is so whenever a session runs. Watched sessions are then asked about one by one.
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
		c.log.Warn("the session list cannot be had; sessions that nobody announced are not noticed",
			"error", err)
	}
}

// tellWatched applies the list to the watched sessions. A recording that ended after the list was
// asked for is not what the list speaks of.
func (c *Controller) tellWatched(asked time.Time, running map[string]session.Session) {
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

// consider handles one session that runs, as of asked.
func (c *Controller) consider(ctx context.Context, asked time.Time, s session.Session,
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
	case c.taken(s.Room): // its end was missed, and the room's name belongs to the next session
	case take && s.State != session.Empty:
		c.mu.Unlock()
		gone, err := c.recordUnasked(ctx, s, src)
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
		c.pointOut(s)
	}
	return nil
}

// awaitFirst watches a session in whose room nobody is, or nobody any more: the first one to come
// begins its recording. c.mu is held.
func (c *Controller) awaitFirst(s session.Session, src string, since time.Time) {
	if c.open[s.ID] != nil || c.watched[s.ID] != nil || time.Since(since) >= watchFor {
		return
	}
	c.watched[s.ID] = &watch{
		sessionID: s.ID, room: s.Room, source: src, since: since, asked: true,
		next: time.Now().Add(watchEvery),
	}
}

// watchAgain watches a session that counts as started although we have taken it for over: the
// platform said so, or it was left long ago. c.mu is held.
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

// recordUnasked records a session whose announcement has not reached us. One whose end the API
// missed counts as started for ever, and joining would bring its room back: gone reports that
// nobody is there.
func (c *Controller) recordUnasked(ctx context.Context, s session.Session, src string) (gone bool,
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

// pointOut warns, once per session, that a session runs which nobody asked us to
// record. c.mu is held.
func (c *Controller) pointOut(s session.Session) {
	_, known := c.refused[s.ID]
	c.refused[s.ID] = SessionRef{SessionID: s.ID, RoomName: s.Room}
	if !known {
		c.log.Warn("a session runs that nobody asked us to record; record it with `textegress "+
			"record`, or all such with RECORD_SESSIONS=all",
			"session_id", s.ID, "room", s.Room)
	}
}

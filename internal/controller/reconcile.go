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

// diskPoll is the interval at which a controller that deferred a session checks for disk space.
const diskPoll = 5 * time.Second

// loginPatience is the longest time that the sources wait for the first questions about sessions,
// and that the first session list waits for the sources to connect.
const loginPatience = 5 * time.Second

// loop queries the platform, one request at a time. It requests the state of each watched session
// when that is due. It requests the session list at the start, after a source was disconnected,
// every few minutes in any case, when there is disk space again for a deferred session, and every
// gapPoll while sessions whose announcements were lost could not be searched for.
//
// The list waits for the first questions about sessions to be resumed, because these are quick, and
// because on some servers the list fails as long as any session runs. It then waits for ready and,
// up to loginPatience, for the source to connect. asked is closed after these first questions.
func (c *Controller) loop(ctx context.Context, ready <-chan struct{}, asked chan<- struct{}) {
	every := time.NewTicker(c.o.ReconcileEvery)
	defer every.Stop()
	disk := time.NewTicker(diskPoll)
	defer disk.Stop()
	list := false              // the list is due
	var alone <-chan time.Time // fires when the first list no longer waits for a source
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

// untilOr returns the time until t, or otherwise if t is zero.
func untilOr(t time.Time, otherwise time.Duration) time.Duration {
	if t.IsZero() {
		return otherwise
	}
	return max(0, time.Until(t))
}

// logDeferred logs why a running session is not recorded yet. It does not log a nearly full disk,
// because the spool does.
func (c *Controller) logDeferred(sessionID string, err error) {
	if errors.Is(err, session.ErrLater) {
		return // its recorder, or that of another session in the room, is at work
	}
	if errors.Is(err, diskguard.ErrLow) {
		c.diskDeferred.Store(true)
		return
	}
	c.log.Error("cannot record a running session; trying again at the next reconciliation",
		"session_id",
		sessionID, "error", err)
}

// triggerReconcile triggers a reconciliation and does not wait for it.
func (c *Controller) triggerReconcile() {
	select {
	case c.reconcileC <- struct{}{}:
	default:
	}
}

// reconcile compares the recordings with the running sessions. It skips open recordings, because
// their recorders query the platform whenever they are not in the room. It reports or records
// sessions that were not requested. A watched session has either ended or is due for a question.
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
		s.ID = c.canonical(s.ID)
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

// listFailed handles a failed session list. On a LiveKit without Redis, the list fails whenever a
// session runs. The state of watched sessions is then requested one by one.
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

// applyList applies the list to the watched sessions. It skips sessions whose recording ended after
// the list was requested, because the list does not take that into account.
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
			w.next = time.Now() // the list may be out of date by now
		}
	}
}

// reconcileSession handles one session that was running at the time asked.
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
	if c.o.ListAnnounced {
		return nil
	}
	missed, src, since := c.countsAsAnnounced(s, gaps), sourceReconcile, s.StartedAt
	if missed {
		src, since = sourceMissed, time.Now()
	}
	take := missed || c.o.RecordAll
	switch {
	case c.nameInUse(s.Room):
		// the session's end was missed, and the room name now belongs to the next session
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

// awaitFirst watches a session whose room is empty. The recording starts when the first participant
// joins. c.mu is held.
func (c *Controller) awaitFirst(s session.Session, src string, since time.Time) {
	if c.open[s.ID] != nil || c.watched[s.ID] != nil || time.Since(since) >= watchFor {
		return
	}
	c.watched[s.ID] = &watch{
		sessionID: s.ID, run: s.ID, room: s.Room, source: src, since: since,
		asked: true, limits: s.Limits,
		next: time.Now().Add(watchEvery),
	}
}

// watchAgain watches a session that counts as started although we treated it as ended: the platform
// had reported its end, or the recorder left it long ago. c.mu is held.
func (c *Controller) watchAgain(rec *spool.Recording, asked time.Time, s session.Session) {
	sealed, ok := rec.Sealed()
	if !ok || isStopped(rec) || s.State == session.Empty ||
		!time.Unix(0, sealed.EndedUnixNS).Before(asked) {
		return
	}
	w := c.watchOf(rec)
	if w == nil {
		if sealed.Reason != recorder.ReasonSessionEnded {
			return // the room now belongs to another session
		}
		w = &watch{
			sessionID: s.ID, run: rec.Run(), room: s.Room, source: rec.Info().Source,
			egressID: rec.ID(), reason: sealed.Reason,
		}
	}
	w.since, w.present, w.next = time.Now(), true, time.Now()
	c.watched[s.ID] = w
}

// recordUnannounced records a session whose announcement has not reached us. A session whose end
// the platform missed counts as started for ever, and joining it would create its room again. gone
// reports that the room is empty.
func (c *Controller) recordUnannounced(ctx context.Context, s session.Session,
	src string) (gone bool,
	err error,
) {
	switch state, err := stateOf(ctx, c.o.Registry, s); {
	case err != nil:
		return false, fmt.Errorf("ask for session %s: %w", s.ID, err)
	case state == session.Ended, state == session.Replaced:
		return false, nil
	case state == session.Empty:
		return true, nil
	}
	_, err = c.begin(request{platform: true, fresh: true, Announcement: session.Announcement{
		SessionID: s.ID, Room: s.Room, Source: src, ReceivedAt: time.Now(), Limits: s.Limits,
	}})
	if errors.Is(err, ErrAlreadyRecorded) {
		return false, nil
	}
	return false, err
}

// reportUnrequested warns, once per session, about a running session that was not requested. c.mu
// is held.
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

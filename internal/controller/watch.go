package controller

import (
	"cmp"
	"context"
	"errors"
	"sort"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// A session has ended when its platform reports the end, not when its room closes. The controller
// watches sessions whose recording ended for another reason. It requests their state every 15
// seconds for an hour, because a class may continue after a break, and then at each reconciliation.
// Each request occupies one of the few database connections of SyncFlow's API, so the controller
// sends one at a time.
const (
	watchEvery = 15 * time.Second
	watchFor   = time.Hour
	// watchAtAll is how long a session is watched if the list fails. At the start, sessions whose
	// recording ended longer ago are ignored.
	watchAtAll = 24 * time.Hour
	// firstQuestion is the time from the end of a recording to the first question. SyncFlow deletes
	// the room before it reports the end of the session.
	firstQuestion = 5 * time.Second
	// shortPart is the duration below which a part counts as short. The wait before the next part
	// doubles with each consecutive short part, so that a server that accepts and then drops us
	// does not cause hundreds of recordings.
	shortPart    = time.Minute
	longestWatch = 5 * time.Minute
	// unaskedAfter is how long a session waits for the platform's answer before it is resumed
	// without one.
	unaskedAfter = 2 * time.Second
	// restAtMost bounds the pause after a question. The pause is as long as the answer took.
	restAtMost = 5 * time.Second
)

// shortPartPauses gives the time until the first question; the number of failures is one more than
// the number of consecutive short parts. unansweredPauses gives the pauses after questions without
// an answer.
var (
	shortPartPauses = backoff.Policy{
		First: firstQuestion, Max: longestWatch, Jitter: backoff.None,
	}
	unansweredPauses = backoff.Policy{First: time.Second, Max: watchEvery, Jitter: backoff.None}
)

// watch is a session that may be running and is not being recorded. Its fields are guarded by the
// controller's mu.
type watch struct {
	sessionID string
	run       string // the id by which the platform knows the session, see runs.go
	room      string
	source    string
	egressID  string // id of the recording that has ended; "" if there is none yet
	reason    string // reason of that recording's end
	since     time.Time
	// limits are what the room's creator asks to have recorded, for the first recording of the
	// session and, if relimited is true, for the next part.
	limits    session.Limits
	relimited bool
	removed   bool // an administrator removed the recorder; the state is requested for display only
	present   bool // somebody was in the room at the last answer
	short     int  // number of consecutive short parts

	next   time.Time // time of the next question; zero: at the next reconciliation
	asked  bool
	failed int  // consecutive questions without an answer
	logged bool // a failure to resume the session was logged
}

// watchOf creates the watch of a session from its latest recording. It returns nil if the recording
// ended with a final verdict that need not be displayed.
func (c *Controller) watchOf(rec *spool.Recording) *watch {
	sealed, ok := rec.Sealed()
	if !ok || isStopped(rec) || c.runs && runEnded(sealed.Reason) ||
		!recorder.Resumable(sealed.Reason) && !recorder.Removed(sealed.Reason) {
		return nil
	}
	return newWatch(rec)
}

// runEnded reports whether a recording ended because the server closed the room. The run of the
// room is over then; a room of that name that is opened later has another sid.
func runEnded(reason string) bool {
	return reason == string(room.ReasonRoomClosed) || reason == string(room.ReasonRoomDeleted)
}

// newWatch creates the watch of a session from its latest recording, which has ended.
func newWatch(rec *spool.Recording) *watch {
	info := rec.Info()
	sealed, _ := rec.Sealed()
	return &watch{
		sessionID: info.SessionID, run: rec.Run(), room: info.RoomName, source: info.Source,
		egressID: rec.ID(),
		reason:   sealed.Reason,
		since:    time.Unix(0, sealed.EndedUnixNS), removed: recorder.Removed(sealed.Reason),
	}
}

// optedOut reports whether a recording ended because the room's creator withdrew the room.
func optedOut(rec *spool.Recording) bool {
	sealed, ok := rec.Sealed()
	return ok && sealed.Reason == recorder.ReasonOptedOut && !isStopped(rec)
}

// request returns a request to resume the session.
func (w *watch) request() request {
	return request{after: w.egressID, relimited: w.relimited, Announcement: session.Announcement{
		SessionID: w.sessionID, Room: w.room, Source: w.source, ReceivedAt: time.Now(),
		Limits: w.limits,
	}}
}

// watchEnded watches a session whose recorder has just ended. c.mu is held.
func (c *Controller) watchEnded(rec *spool.Recording, st *openRecording) {
	w := c.watchOf(rec)
	if w == nil {
		return
	}
	w.present = true
	if w.since.Sub(time.Unix(0, rec.Info().CreatedUnixNS)) < shortPart {
		w.short = st.short + 1
	}
	w.next = time.Now().Add(shortPartPauses.Delay(w.short + 1))
	c.watched[w.sessionID] = w
	c.wakeAsker()
}

// restoreWatched watches the sessions that earlier processes recorded. Sessions that were left
// because the service stopped, and sessions that may be in a break, are due immediately. The
// session list covers the others.
func (c *Controller) restoreWatched() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for _, rec := range c.o.Spool.Recordings() {
		info := rec.Info()
		if info.ProjectID != c.o.ProjectID || c.open[info.SessionID] != nil ||
			c.watched[info.SessionID] != nil {
			continue
		}
		latest, ok := c.o.Spool.Latest(c.o.ProjectID, info.SessionID)
		if !ok {
			continue
		}
		w := c.watchOf(latest)
		if w == nil || now.Sub(w.since) > watchAtAll {
			continue
		}
		if w.reason == recorder.ReasonServiceStopped || w.removed || now.Sub(w.since) < watchFor {
			w.next = now
		}
		c.watched[w.sessionID] = w
	}
}

// askAtOnce makes the question about a session due immediately, because the session was announced
// although its recording has ended. An announcement overrides neither a removal nor a stop.
func (c *Controller) askAtOnce(a session.Announcement) {
	sessionID := c.canonical(a.SessionID)
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.watched[sessionID]
	if w == nil {
		rec, ok := c.o.Spool.Latest(c.o.ProjectID, sessionID)
		if !ok || c.open[sessionID] != nil {
			return
		}
		if optedOut(rec) { // its creator may have changed their mind
			w = newWatch(rec)
			w.limits, w.relimited = a.Limits, true
		} else if w = c.watchOf(rec); w == nil {
			return // the session has ended
		}
		w.since = time.Now() // the session may be starting again
		c.watched[sessionID] = w
	}
	if !w.removed {
		w.next = time.Now()
		c.wakeAsker()
	}
}

// wakeAsker wakes the loop, which sends the questions.
func (c *Controller) wakeAsker() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// nextQuestion returns the session whose question is due now, and the time at which the next
// question is due; zero if there is none.
func (c *Controller) nextQuestion(now time.Time) (w *watch, due time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.watched {
		switch {
		case x.next.IsZero():
		case x.next.After(now):
			if due.IsZero() || x.next.Before(due) {
				due = x.next
			}
		case w == nil || c.before(x, w):
			w = x
		}
	}
	return w, due
}

// before orders questions. Sessions that were recorded until the service stopped come first, then
// sessions without a question so far, because a silent API delays each question by minutes.
// Questions due at the same time are ordered by the time at which the recording ended, then by
// session id.
func (c *Controller) before(a, b *watch) bool {
	return cmp.Or(
		cmp.Compare(c.rank(a), c.rank(b)), a.next.Compare(b.next), a.since.Compare(b.since),
		cmp.Compare(a.sessionID, b.sessionID),
	) < 0
}

func (c *Controller) rank(w *watch) int {
	switch {
	case w.asked:
		return 2
	case c.stoppedJustNow(w):
		return 0
	}
	return 1
}

// stoppedJustNow reports whether the session was recorded until the service stopped, less than the
// rejoin window ago.
func (c *Controller) stoppedJustNow(w *watch) bool {
	return w.reason == recorder.ReasonServiceStopped && time.Since(w.since) < c.o.RejoinWindow
}

// ask requests the state of a session, and records the session if it is running with somebody in
// its room. It returns how long the answer took.
func (c *Controller) ask(ctx context.Context, w *watch) time.Duration {
	began := time.Now()
	asking := ctx
	c.mu.Lock()
	unasked := c.continuesUnasked(w)
	c.mu.Unlock()
	if unasked {
		var cancel context.CancelFunc
		asking, cancel = context.WithTimeout(ctx, unaskedAfter)
		defer cancel()
	}
	state, err := stateOf(asking, c.o.Registry, session.Session{ID: w.run, Room: w.room})
	took := time.Since(began)
	c.mu.Lock()
	// a recording has been created meanwhile, or the service is stopping
	if c.watched[w.sessionID] != w || ctx.Err() != nil {
		c.mu.Unlock()
		return 0
	}
	w.asked, w.next = true, time.Now().Add(watchEvery)
	if err == nil && (state == session.Ended || state == session.Replaced) {
		delete(c.watched, w.sessionID)
		c.mu.Unlock()
		c.log.Debug("the session is over", "session_id", w.sessionID, "reason", w.reason)
		return took
	}
	if err != nil && unasked {
		c.mu.Unlock()
		c.continueUnasked(ctx, w, err)
		return 0
	}
	if err != nil { // the state is unknown
		w.failed++
		w.next = time.Now().Add(unansweredPauses.Delay(w.failed))
		first := w.failed == 1
		c.mu.Unlock()
		if first {
			c.log.Warn("the platform does not say whether a session runs; asking again",
				"session_id", w.sessionID, "reason", w.reason, "error", err)
		}
		return took
	}
	w.failed = 0
	w.present = state == session.Running
	w.next = time.Now().Add(watchEvery)
	if time.Since(w.since) > watchFor {
		w.next = time.Time{}
	}
	resumes := w.present && !w.removed && !c.nameInUse(w.room)
	q := w.request()
	q.fresh = took < firstQuestion
	c.mu.Unlock()
	if resumes {
		c.resumeSession(ctx, w, q)
	}
	return took
}

// continuesUnasked reports whether a session is resumed without confirmation by the platform that
// it is running. That is so if the session was recorded until the service stopped, a moment ago,
// and there is a key that admits to its room. A recorder that finds the room empty leaves
// immediately. Where LiveKit is the platform, a server that cannot be asked cannot be joined
// either, and a room that has closed meanwhile would leave an empty recording. c.mu is held.
func (c *Controller) continuesUnasked(w *watch) bool {
	return c.key != nil && !c.runs && !w.asked && c.stoppedJustNow(w) && !c.nameInUse(w.room)
}

// continueUnasked resumes a session whose question the platform has not answered. It also resumes
// all similar sessions that wait for their first question, because the platform would not answer
// those either.
func (c *Controller) continueUnasked(ctx context.Context, asked *watch, why error) {
	c.mu.Lock()
	list := []*watch{asked}
	for _, w := range c.watched {
		if w != asked && c.continuesUnasked(w) {
			w.asked, w.next = true, time.Now().Add(watchEvery)
			list = append(list, w)
		}
	}
	c.mu.Unlock()
	for _, w := range list {
		c.log.Warn("the platform does not say whether a session runs; the recorder checks "+
			"its room",
			"session_id", w.sessionID, "error", why)
		c.resumeSession(ctx, w, w.request())
	}
}

// nameInUse reports whether a room with the given name is being recorded for another session. The
// session in question then counts as started only because its end was missed: SyncFlow reuses
// names, and looks up the participants of a room by name only. c.mu is held.
func (c *Controller) nameInUse(room string) bool {
	for _, st := range c.open {
		if s := st.recorder.Snapshot(); s.Info.RoomName == room && s.Connected {
			return true
		}
	}
	return false
}

// resumeSession records a watched session that is running.
func (c *Controller) resumeSession(ctx context.Context, w *watch, q request) {
	_, err := c.begin(q)
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	first := !w.logged
	switch {
	case err == nil, errors.Is(err, ErrAlreadyRecorded):
		// the session is being recorded, or was recorded through another request
		if c.watched[w.sessionID] == w {
			delete(c.watched, w.sessionID)
		}
		first = false
	default:
		w.logged = true
		w.next = time.Now().Add(watchEvery)
	}
	c.mu.Unlock()
	if first {
		c.logDeferred(w.sessionID, err)
	}
}

// unrecorded returns the running sessions that are not recorded because an administrator removed
// the recorder. c.mu is held.
func (c *Controller) unrecorded() []UnrecordedSession {
	var list []UnrecordedSession
	for _, w := range c.watched {
		if w.removed && w.present {
			list = append(list, UnrecordedSession{
				SessionRef{w.sessionID, w.room},
				w.reason,
				w.since,
			})
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].SessionID < list[j].SessionID })
	return list
}

package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// ErrAlreadyRecorded means that a recording of the session has ended and that the known facts do
// not justify a further part.
var ErrAlreadyRecorded = errors.New("the session was recorded already")

// ErrStopping is returned while the service stops and starts no new recordings.
var ErrStopping = errors.New("the service is stopping")

// The sources of recordings without an announcement, see [spool.Info]. In these cases, the platform
// itself named the room of the session.
const (
	sourceReconcile = "reconcile"
	sourceCommand   = "command"
)

// request is a request to record a session.
type request struct {
	session.Announcement // as received, or built from an answer of the platform

	platform bool // the platform itself named the room
	fresh    bool // the room existed a moment ago
	// after is the id of the recording that had ended when the platform answered that the session
	// is running with somebody in its room; empty without such an answer. If another recording has
	// been created since, the answer is out of date.
	after string
	// ordered is true if an operator requested the recording, which overrides every verdict.
	ordered bool
	// relimited is true if the room's creator set the limits after the part before.
	relimited bool

	// Set by Start.
	api       bool
	egressID  string                     // of the recording that is to be created
	selection *textegress.SelectionRules // instead of Limits
	requestID string
	prefix    string
	webhooks  []string
}

// openRecording is the recorder of one session.
type openRecording struct {
	recorder *recorder.Recorder
	done     chan struct{} // closed when the recording has ended
	short    int           // number of consecutive short parts before this one
	names    *names        // possible names of the session's room
	stopping string        // reason given to stop; "" before. c.mu guards it
	// pausing ends when the recording is stopped; pauses between two recorders wait for it.
	pausing context.Context
	cancel  context.CancelFunc
}

// handler is the [session.Handler] of a controller.
type handler struct{ *Controller }

// Announce implements [session.Handler]. It returns an error if the disk is nearly full.
func (h handler) Announce(_ context.Context, a session.Announcement) error {
	c := h.Controller
	_, err := c.begin(request{Announcement: a, fresh: a.Fresh()})
	if errors.Is(err, ErrAlreadyRecorded) {
		// Either the announcement is a duplicate, or the session continues after a break. Only the
		// platform can tell.
		c.askAtOnce(a)
		return nil
	}
	return err
}

// begin ensures that the session is being recorded, and returns the egress id of the recording.
//
// Recordings of different sessions are started concurrently, so that the fsyncs of many
// announcements share the disk's commits.
func (c *Controller) begin(q request) (string, error) {
	q.SessionID = c.canonical(q.SessionID)
	defer c.creating.Lock(q.SessionID)()
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := c.open[q.SessionID]; st != nil {
		switch st.stopping {
		case "":
			s := st.recorder.Snapshot()
			if q.api && s.Status == textegress.StatusEnding {
				return "", errBeingSealed
			}
			st.names.add(q.Room, q.platform)
			return s.Info.EgressID, nil
		case recorder.ReasonStopped:
			return st.recorder.Snapshot().Info.EgressID, ErrAlreadyRecorded
		}
		return "", fmt.Errorf("session %s: %w", q.SessionID, errBeingSealed)
	}
	if c.ctx == nil || c.ctx.Err() != nil {
		return "", ErrStopping
	}
	if c.undecided(q) {
		return "", fmt.Errorf("room %q: %w", q.Room, session.ErrLater)
	}
	info := spool.Info{
		EgressID:  cmp.Or(q.egressID, spool.NewEgressID()),
		SessionID: q.SessionID, RoomName: q.Room,
		ProjectID: c.o.ProjectID, ProjectName: c.project.Name, Instance: c.o.Instance,
		Part: 1, Source: q.Source, AnnouncedUnixNS: q.ReceivedAt.UnixNano(),
		CreatedUnixNS: time.Now().UnixNano(),
		Pseudonyms:    c.o.Pseudonyms, PseudonymKey: c.o.PseudonymKey,
		LiveKitURL: c.project.LiveKitURL,
	}
	prev, recorded := c.o.Spool.Latest(c.o.ProjectID, q.SessionID)
	switch {
	case recorded && !c.mayContinue(prev, q):
		return prev.ID(), ErrAlreadyRecorded
	case recorded:
		follow(&info, prev, q)
		c.inheritOptions(&info, prev.Info(), q)
	case q.after != "":
		// the session was recorded, and the recording has been removed since
		return "", ErrAlreadyRecorded
	default:
		c.setOptions(&info, q)
	}
	info.KeyPrefix = c.keyPrefix(info)
	c.mu.Unlock()
	rec, err := c.o.Spool.Create(info)
	if err == nil {
		c.o.Started()
	}
	c.mu.Lock()
	if err != nil {
		return "", fmt.Errorf("start a recording of session %s: %w", q.SessionID, err)
	}
	if c.stopped { // the next start continues it
		return "", ErrStopping
	}
	delete(c.refused, q.SessionID)
	short := 0
	if w := c.watched[q.SessionID]; w != nil {
		short = w.short
		delete(c.watched, q.SessionID)
	}
	c.log.Info("recording created", "egress_id", info.EgressID, "session_id", q.SessionID, "room",
		info.RoomName, "source", q.Source, "part", info.Part)
	c.launch(c.ctx, rec, q.fresh, short)
	return info.EgressID, nil
}

// mayContinue reports whether the next part of a session may start. prev is the latest part. c.mu
// is held.
func (c *Controller) mayContinue(prev *spool.Recording, q request) bool {
	sealed, ok := prev.Sealed()
	switch {
	case !ok: // open without a recorder: the next start continues it
		return false
	case q.ordered:
		return true
	case recorder.Removed(sealed.Reason), isStopped(prev):
		return false
	}
	return q.after == prev.ID()
}

// follow completes info for the part that follows prev.
func follow(info *spool.Info, prev *spool.Recording, q request) {
	was := prev.Info()
	sealed, _ := prev.Sealed()
	info.Part, info.Previous, info.PreviousEndedUnixNS, info.PreviousReason = was.Part+1, prev.ID(),
		sealed.EndedUnixNS, sealed.Reason
	// keeps the parts next to each other
	info.ProjectName = cmp.Or(was.ProjectName, info.ProjectName)
	info.LiveKitURL = cmp.Or(info.LiveKitURL, was.LiveKitURL)
	if run := prev.Run(); run != info.SessionID {
		info.Run = run
	}
	if !q.platform {
		info.RoomName = was.RoomName // regardless of the announcement
	}
	// A participant who stays connected has the same sid in both parts. Identities in this part
	// would therefore reveal the identities behind the pseudonyms of the other.
	if was.Pseudonyms && !info.Pseudonyms {
		info.Pseudonyms, info.PseudonymKey = true, was.PseudonymKey
	}
}

// launch starts the recorder of an open recording. short is the number of consecutive short parts
// before it. c.mu is held.
func (c *Controller) launch(ctx context.Context, rec *spool.Recording, fresh bool, short int) {
	info := rec.Info()
	if c.open[info.SessionID] != nil {
		// Two open recordings of one session are a bug in this program. Both are kept: supervise
		// launches the second when the first has ended.
		c.log.Error("a second open recording of the session waits", "egress_id", info.EgressID,
			"session_id", info.SessionID)
		c.second[info.SessionID] = append(c.second[info.SessionID], rec)
		return
	}
	o := recorder.Options{
		Room: c.o.Room, Authority: c.authority(rec), OwnToken: c.ownToken(rec),
		FindRoom: c.findRoom(rec), SessionOf: c.o.Registry.SessionOf,
		Platform: c.o.Registry.Platform(),
		Runs:     c.runs, SingleNode: c.singleNode(rec), Continue: c.continueRun(rec),
		RoomUpdated: c.o.RoomUpdated, Fresh: fresh, RejoinWindow: c.o.RejoinWindow,
		RoomConfirmed: c.roomConfirmed(info), Excluded: c.excluded(info.SessionID),
		Logger: c.o.Logger, Metrics: c.o.RecorderMetrics,
	}
	filter, err := filter.New(c.rules(info))
	if err != nil { // a list is invalid; never record everything instead
		c.log.Error("the recording is not started: invalid topic or identity list",
			"egress_id", info.EgressID, "error", err)
		return
	}
	excluded, err := c.o.Spool.Excluded(c.o.ProjectID, info.SessionID)
	if err != nil { // never record somebody who is excluded instead
		c.log.Error("the recording is not started: it is not known who is excluded", "egress_id",
			info.EgressID, "error", err)
		return
	}
	filter.SetExcluded(excluded)
	o.Selection = filter
	st := &openRecording{
		recorder: recorder.New(rec, o), done: make(chan struct{}), short: short,
		names: newNames(info.RoomName),
	}
	st.pausing, st.cancel = context.WithCancel(ctx)
	if s, ok := rec.Stop(); ok {
		st.stop(s.Reason)
	}
	c.open[info.SessionID] = st
	c.recorders.Go(func() { c.supervise(ctx, rec, st, o) })
}

func (c *Controller) authority(rec *spool.Recording) *authority {
	return &authority{c.o.Registry, rec}
}

// roomConfirmed reports whether the room of a session is confirmed by more than an announcement.
func (c *Controller) roomConfirmed(info spool.Info) bool {
	if info.Part == 1 {
		switch info.Source {
		case sourceReconcile, sourceMissed, sourceCommand, sourceAPI:
			return true
		}
		return false
	}
	prev, ok := c.o.Spool.Recording(info.Previous)
	if !ok || prev.Info().RoomName != info.RoomName {
		return false
	}
	sealed, _ := prev.Sealed()
	return sealed.Status == textegress.StatusComplete || recorder.Removed(sealed.Reason)
}

// SetKey replaces the key of the project's LiveKit server, also for open recordings.
func (c *Controller) SetKey(k Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.key = k
}

// liveKit returns the key and the address of the LiveKit server of a recording. The platform
// provides the address: the one read since this start is preferred to the one stored when the
// recording was created.
func (c *Controller) liveKit(info spool.Info) (key Key, url string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.key == nil {
		return nil, "", recorder.ErrNoKey
	}
	if url = cmp.Or(c.project.LiveKitURL, info.LiveKitURL); url == "" {
		return nil, "", errNoAddress
	}
	return c.key, url, nil
}

// ownToken returns a function that makes join tokens for a recording without a request to the
// platform.
func (c *Controller) ownToken(rec *spool.Recording) func(string) (url, token string, err error) {
	info := rec.Info()
	return func(identity string) (url, token string, err error) {
		key, url, err := c.liveKit(info)
		if err != nil {
			return "", "", err
		}
		token, err = key.JoinToken(info.RoomName, identity)
		return url, token, err
	}
}

// findRoom returns a function that queries LiveKit for a recording's room.
func (c *Controller) findRoom(rec *spool.Recording) func(context.Context) (session.Room, bool,
	error,
) {
	info := rec.Info()
	return func(ctx context.Context) (session.Room, bool, error) {
		key, url, err := c.liveKit(info)
		if err != nil {
			return session.Room{}, false, err
		}
		return key.FindRoom(ctx, url, info.RoomName)
	}
}

var errNoAddress = errors.New("the platform has not said the address of the LiveKit server " +
	"since the start")

// excluded reports whether an administrator removed the recorder from the session while a second
// recording was waiting to be launched. c.mu is held.
func (c *Controller) excluded(sessionID string) bool {
	w := c.watched[sessionID]
	return w != nil && w.removed
}

// supervise runs a recorder until its recording is sealed, and restarts it after a failure.
// Failures are isolated per session.
func (c *Controller) supervise(ctx context.Context, rec *spool.Recording, st *openRecording,
	o recorder.Options,
) {
	info := rec.Info()
	defer st.cancel()
	pauses := backoff.New(backoff.Policy{First: time.Second, Max: time.Minute})
	for {
		err := run(ctx, st.recorder)
		switch {
		case err == nil:
		case errors.Is(err, session.ErrWrongRoom):
			rec = c.correctRoom(st.pausing, rec, st)
			o.Authority, o.OwnToken, o.FindRoom = c.authority(rec), c.ownToken(rec), c.findRoom(rec)
			o.SingleNode, o.Continue = c.singleNode(rec), c.continueRun(rec)
		default:
			c.log.Error("the recorder failed; what it wrote is on disk", "egress_id", info.EgressID,
				"session_id", info.SessionID, "error", err)
			c.o.Metrics.recorderFailed()
			pausing := st.pausing
			if pausing.Err() != nil { // the recording was stopped, and sealing it fails
				pausing = ctx
			}
			_ = pauses.Wait(pausing)
		}
		// a recording that stays open is continued at the next start
		if err == nil || ctx.Err() != nil {
			break
		}
		o.Fresh, o.AwaySince = false, st.recorder.Snapshot().AwaySince
		r := recorder.New(rec, o)
		c.mu.Lock()
		st.recorder = r
		c.mu.Unlock()
	}
	c.mu.Lock()
	delete(c.open, info.SessionID)
	close(st.done)
	c.watchEnded(rec, st)
	if list := c.second[info.SessionID]; len(list) > 0 && !c.stopped && ctx.Err() == nil {
		c.second[info.SessionID] = list[1:]
		c.launch(ctx, list[0], false, st.short)
	}
	c.mu.Unlock()
	c.o.Sealed()
}

// run runs a recorder and recovers from panics. One session must not end the process, because the
// data of the other rooms would be lost.
func run(ctx context.Context, r *recorder.Recorder) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return r.Run(ctx)
}

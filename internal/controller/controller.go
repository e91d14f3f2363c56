// Package controller turns the announcements of one project into recordings and
// owns their life: it starts a recorder for each, continues after a restart
// what was left open, and reconciles with the session list of SyncFlow.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/selection"
	"github.com/syncflow/textegress/internal/source"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/syncflow"
)

// API is what a controller asks of SyncFlow.
type API interface {
	Project(ctx context.Context) (syncflow.Project, error)
	EnsureDevice(ctx context.Context, name, group string) (syncflow.Device, error)
	Sessions(ctx context.Context) ([]syncflow.Session, error)
	Session(ctx context.Context, id string) (syncflow.Session, error)
	Participants(ctx context.Context, id string) (int, error)
	Token(ctx context.Context, sessionID, roomName, identity string) (syncflow.SessionToken, error)
}

// Source announces sessions. See [source.RabbitMQ.Run] for the contract.
type Source interface {
	Run(ctx context.Context, handle func(context.Context, source.Announcement) error, connected func(context.Context)) error
	State() source.State
}

// DeviceName is the name under which the service registers in its device group.
// It is one name for all deployments, so that a restart adopts the row that is
// there instead of adding one.
const DeviceName = "text-egress"

// Options are the parts a controller works with.
type Options struct {
	ProjectID string
	Group     string // device group
	Instance  string
	RecordAll bool // record sessions nobody announced, too
	API       API
	Source    Source
	Spool     *spool.Spool
	Room      recorder.Room
	// RejoinWindow, see [recorder.Options].
	RejoinWindow time.Duration
	// ReconcileEvery is the pause between two looks at the session list. The list
	// holds every session the project ever had, and the API is small: minutes.
	ReconcileEvery time.Duration
	// Selection are the rules of what is recorded; they are valid.
	Selection textegress.SelectionRules
	// Pseudonyms: what begins now is delivered under pseudonyms, made with the key
	// that PseudonymKey names.
	Pseudonyms   bool
	PseudonymKey string
	// Sealed is called after a recording was sealed.
	Sealed          func()
	Logger          *slog.Logger
	Metrics         *Metrics
	RecorderMetrics *recorder.Metrics
}

// Controller works for one project. Create it with [New], call
// [Controller.Run] once.
type Controller struct {
	o   Options
	log *slog.Logger

	recorders sync.WaitGroup
	look      chan struct{} // asks for a reconciliation; capacity 1
	noRoom    atomic.Bool   // a running session was found and refused for want of disk space

	mu        sync.Mutex // guards the rest; never held across a network call or an fsync
	ctx       context.Context
	stopped   bool // no recorder is launched any more
	state     State
	err       string
	project   syncflow.Project
	open      map[string]*recorder.Recorder // by session id: at most one open recording each
	beginning map[string]chan struct{}      // by session id: a recording is being created; closed when that is done
	refused   map[string]SessionRef         // Started sessions nobody asked us to record
	last      time.Time                     // last successful reconciliation
	listErr   string                        // of the last reconciliation, "" after a success
}

// State of a project.
type State string

// The states of a project.
const (
	StateStarting State = "starting"
	StateRunning  State = "running"
	StateRetrying State = "retrying" // it could not start; it is tried again
)

// SessionRef names a session.
type SessionRef struct {
	SessionID string `json:"session_id"`
	RoomName  string `json:"room_name"`
}

// New returns a controller. Nothing runs yet.
func New(o Options) *Controller {
	if o.ReconcileEvery == 0 {
		o.ReconcileEvery = 5 * time.Minute
	}
	if o.Sealed == nil {
		o.Sealed = func() {}
	}
	return &Controller{
		o: o, log: o.Logger.With("project_id", o.ProjectID), state: StateStarting,
		look: make(chan struct{}, 1), open: map[string]*recorder.Recorder{}, beginning: map[string]chan struct{}{}, refused: map[string]SessionRef{},
	}
}

// Run records until ctx is done. It then seals every open recording and returns
// once they are sealed. Trouble with the project never ends it: it is reported
// in the snapshot and tried again.
func (c *Controller) Run(ctx context.Context) {
	c.mu.Lock()
	c.ctx = ctx
	c.mu.Unlock()
	// What was left open goes on first, before anything is asked of anybody.
	c.resumeOpen(ctx)
	if c.setUp(ctx) {
		var wg sync.WaitGroup
		wg.Go(func() { c.reconcileLoop(ctx) })
		connected := func(context.Context) { c.lookSoon() }
		if err := c.o.Source.Run(ctx, c.announced, connected); err != nil && ctx.Err() == nil {
			c.fail(fmt.Errorf("announcements: %w", err))
		}
		wg.Wait()
	}
	<-ctx.Done()
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.recorders.Wait()
}

// setUp reads the project and registers the device, for as long as it takes.
func (c *Controller) setUp(ctx context.Context) bool {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		err := c.register(ctx)
		if err == nil {
			c.mu.Lock()
			c.state, c.err = StateRunning, ""
			c.mu.Unlock()
			c.log.Info("project ready", "name", c.project.Name)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		c.fail(err)
		c.log.Error("the project cannot start; trying again", "in", pause, "error", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}

func (c *Controller) register(ctx context.Context) error {
	p, err := c.o.API.Project(ctx)
	if err != nil {
		return fmt.Errorf("read the project: %w", err)
	}
	if _, err := c.o.API.EnsureDevice(ctx, DeviceName, c.o.Group); err != nil {
		return fmt.Errorf("register in device group %q: %w", c.o.Group, err)
	}
	c.mu.Lock()
	c.project = p
	c.mu.Unlock()
	return nil
}

func (c *Controller) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.err = StateRetrying, err.Error()
}

// resumeOpen continues the recordings that an earlier process left open.
func (c *Controller) resumeOpen(ctx context.Context) {
	for _, rec := range c.o.Spool.Recordings() {
		info := rec.Info()
		if info.ProjectID != c.o.ProjectID || rec.State() != spool.StateOpen {
			continue
		}
		c.mu.Lock()
		c.launch(ctx, rec, false)
		c.mu.Unlock()
	}
}

// announced is called for every announcement. When it returns nil, the intent to
// record the session is durable, or there is nothing to record. On a disk that is
// nearly full it is an error: the announcement stays in the queue and comes again.
func (c *Controller) announced(ctx context.Context, a source.Announcement) error {
	_, err := c.begin(a.SessionID, a.RoomName, "rabbitmq", a.ReceivedAt, !a.Backlog && !a.Redelivered)
	if errors.Is(err, ErrAlreadyRecorded) {
		return nil
	}
	return err
}

// ErrAlreadyRecorded is returned by [Controller.Record] for a session that was
// recorded to its end.
var ErrAlreadyRecorded = errors.New("the session was recorded to its end already")

// ErrStopping is returned while the service stops: nothing new is begun.
var ErrStopping = errors.New("the service is stopping")

// begin makes sure that the session is being recorded, and returns the recording
// that does so. fresh: the room is known to exist.
//
// Sessions begin side by side: the fsyncs of many announcements at once then share the disk's commits.
func (c *Controller) begin(sessionID, roomName, src string, at time.Time, fresh bool) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.beginning[sessionID] != nil { // asked for twice at once
		wait := c.beginning[sessionID]
		c.mu.Unlock()
		<-wait
		c.mu.Lock()
	}
	if r := c.open[sessionID]; r != nil {
		return r.Snapshot().Info.EgressID, nil
	}
	if c.ctx == nil || c.ctx.Err() != nil {
		return "", ErrStopping
	}
	info := spool.Info{
		EgressID: spool.NewEgressID(), SessionID: sessionID, RoomName: roomName,
		ProjectID: c.o.ProjectID, ProjectName: c.project.Name, Instance: c.o.Instance,
		Part: 1, Source: src, AnnouncedUnixNS: at.UnixNano(), CreatedUnixNS: time.Now().UnixNano(),
		Pseudonyms: c.o.Pseudonyms, PseudonymKey: c.o.PseudonymKey,
	}
	if prev, ok := c.o.Spool.Latest(c.o.ProjectID, sessionID); ok {
		sealed, ok := prev.Sealed()
		if !ok || !recorder.Resumable(sealed.Reason) {
			return prev.ID(), ErrAlreadyRecorded
		}
		info.Part, info.Previous, info.PreviousEndedUnixNS = prev.Info().Part+1, prev.ID(), sealed.EndedUnixNS
		fresh = false
		// Whoever stays connected has one sid in both parts: identities in this one would give away those of the other.
		if was := prev.Info(); was.Pseudonyms && !info.Pseudonyms {
			info.Pseudonyms, info.PseudonymKey = true, was.PseudonymKey
		}
	}
	info.KeyPrefix = textegress.Prefix(info.ProjectName, info.ProjectID, info.RoomName, info.Topic, info.EgressID)
	done := make(chan struct{})
	c.beginning[sessionID] = done
	c.mu.Unlock()
	rec, err := c.o.Spool.Create(info)
	c.mu.Lock()
	delete(c.beginning, sessionID)
	close(done)
	if err != nil {
		return "", fmt.Errorf("begin a recording of session %s: %w", sessionID, err)
	}
	if c.stopped { // the next start continues it
		return "", ErrStopping
	}
	delete(c.refused, sessionID)
	c.log.Info("recording begins", "egress_id", info.EgressID, "session_id", sessionID, "room", roomName, "source", src, "part", info.Part)
	c.launch(c.ctx, rec, fresh)
	return info.EgressID, nil
}

// launch starts the recorder of an open recording. c.mu is held.
func (c *Controller) launch(ctx context.Context, rec *spool.Recording, fresh bool) {
	info := rec.Info()
	if c.open[info.SessionID] != nil {
		// Two open recordings of one session: only by a fault of ours. Both are
		// kept; the second is taken up when the first has ended.
		c.log.Error("a second open recording of the session waits", "egress_id", info.EgressID, "session_id", info.SessionID)
		return
	}
	o := recorder.Options{
		Room: c.o.Room, Authority: &authority{api: c.o.API, session: info.SessionID, room: info.RoomName},
		Fresh: fresh, RejoinWindow: c.o.RejoinWindow, Logger: c.o.Logger, Metrics: c.o.RecorderMetrics,
	}
	filter, err := selection.New(c.o.Selection)
	if err != nil { // see Options.Selection; recording everything instead is out of the question
		c.log.Error("the recording is not begun: the project's lists are not understood", "egress_id", info.EgressID, "error", err)
		return
	}
	o.Selection = filter
	r := recorder.New(rec, o)
	c.open[info.SessionID] = r
	c.recorders.Go(func() { c.supervise(ctx, rec, r, o) })
}

// supervise runs a recorder until its recording is sealed, and begins again
// after a failure: one session's trouble stays its own.
func (c *Controller) supervise(ctx context.Context, rec *spool.Recording, r *recorder.Recorder, o recorder.Options) {
	info := rec.Info()
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		err := run(ctx, r)
		if err == nil {
			break
		}
		c.log.Error("the recorder failed; what it wrote is on disk", "egress_id", info.EgressID, "session_id", info.SessionID, "error", err)
		c.o.Metrics.recorderFailed()
		since := r.Snapshot().AwaySince
		select {
		case <-ctx.Done():
			// Stays open: the next start continues it.
		case <-time.After(pause):
			o.Fresh, o.AwaySince = false, since
			r = recorder.New(rec, o)
			c.mu.Lock()
			c.open[info.SessionID] = r
			c.mu.Unlock()
			continue
		}
		break
	}
	c.mu.Lock()
	delete(c.open, info.SessionID)
	c.mu.Unlock()
	c.o.Sealed()
}

// run is one of the three places that recover: the data of the other rooms could
// not be asked for again if one session took the process down.
func run(ctx context.Context, r *recorder.Recorder) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return r.Run(ctx)
}

// Snapshot is the state of a project at one moment.
type Snapshot struct {
	State       State
	Error       string
	ProjectName string
	Source      source.State
	Recorders   []recorder.Snapshot // sorted by creation
	Unrequested []SessionRef
	Reconciled  time.Time
	ListError   string
}

// Snapshot returns the state now.
func (c *Controller) Snapshot() Snapshot {
	src := c.o.Source.State()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Snapshot{State: c.state, Error: c.err, ProjectName: c.project.Name, Source: src, Reconciled: c.last, ListError: c.listErr}
	for _, r := range c.open {
		s.Recorders = append(s.Recorders, r.Snapshot())
	}
	sort.Slice(s.Recorders, func(i, j int) bool { return s.Recorders[i].Info.CreatedUnixNS < s.Recorders[j].Info.CreatedUnixNS })
	for _, ref := range c.refused {
		s.Unrequested = append(s.Unrequested, ref)
	}
	sort.Slice(s.Unrequested, func(i, j int) bool { return s.Unrequested[i].SessionID < s.Unrequested[j].SessionID })
	return s
}

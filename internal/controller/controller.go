// Package controller turns the announcements of one project into recordings and manages their
// lifecycle. It starts a recorder for each session, continues open recordings after a restart, and
// reconciles with the platform's list of sessions.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/keylock"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// Key is an API key of a LiveKit server.
type Key interface {
	// JoinToken makes a token that admits a recorder with the given identity to a room.
	JoinToken(room, identity string) (string, error)
	// FindRoom returns the room with the given name on the server at serverURL; found is false if
	// there is none. It creates none.
	FindRoom(ctx context.Context, serverURL, name string) (room session.Room, found bool, err error)
	// SingleNode reports whether the server at serverURL keeps its rooms in its memory alone. A
	// crash then loses their sids. Servers that share a store keep them.
	SingleNode(ctx context.Context, serverURL string) (bool, error)
}

// Options configures a controller.
type Options struct {
	ProjectID string
	Instance  string
	RecordAll bool // also record sessions that were not announced
	// ListAnnounced is true if a source announces every session of the registry's list. A session
	// that was not announced yet is then nothing to report.
	ListAnnounced bool
	Registry      session.Registry
	Sources       []session.Source
	Spool         *spool.Spool
	Room          recorder.Room
	// Key is the API key of the project's LiveKit server. If it is nil, each join token is
	// requested from the registry.
	Key Key
	// RejoinWindow is described in [recorder.Options].
	RejoinWindow time.Duration
	// ReconcileEvery is the pause between two requests for the session list. It should be minutes,
	// because this request costs a platform more than any other.
	ReconcileEvery time.Duration
	// KeyPrefix returns the key prefix of a recording, which ends with the egress id and a slash,
	// see [spool.Info.RoomPrefix]; nil: that of [textegress.Prefix].
	KeyPrefix func(spool.Info) string
	// Selection contains the rules that select what is recorded. They must be valid.
	Selection textegress.SelectionRules
	// Pseudonyms is true if new recordings are delivered under pseudonyms, made with the key that
	// PseudonymKey names.
	Pseudonyms   bool
	PseudonymKey string
	// RoomUpdated is called with a room that is being recorded when its metadata may have changed;
	// nil: nothing is. It must not block.
	RoomUpdated func(session.Room)
	// Started is called after a recording has been created; nil: nothing is.
	Started func()
	// Sealed is called after a recording has been sealed.
	Sealed          func()
	Logger          *slog.Logger
	Metrics         *Metrics
	RecorderMetrics *recorder.Metrics
}

// Controller controls the recordings of one project. Create it with [New] and call [Controller.Run]
// once.
type Controller struct {
	o   Options
	log *slog.Logger
	// runs is true if a session of the platform is one run of a room, and its id the room's sid.
	runs bool

	recorders  sync.WaitGroup
	retry      chan struct{} // triggers an immediate setup of the project; capacity 1
	reconcileC chan struct{} // triggers a reconciliation; capacity 1
	// signals that the next question about a watched session has changed; capacity 1
	wake         chan struct{}
	diskDeferred atomic.Bool // a running session was deferred for lack of disk space
	// reloaded are the rules of the project since Select; nil: those of the options.
	reloaded atomic.Pointer[textegress.SelectionRules]

	// creating is locked for a session while its recording is created. Lock it before mu.
	creating keylock.Mutex[string]
	// requests is locked for a request id while its recording is created. Lock it before creating.
	requests keylock.Mutex[string]

	mu      sync.Mutex // guards the fields below; never held across a network call or an fsync
	ctx     context.Context
	stopped bool // no more recorders are launched
	state   State
	err     string
	project session.Project
	open    map[string]*openRecording // by session id: at most one recorder each
	// by session id: open recordings that wait until the session's current recorder ends
	second map[string][]*spool.Recording
	// by session id: sessions that may be running and are not being recorded
	watched map[string]*watch
	refused map[string]SessionRef // by session id: started sessions that were not requested
	empty   map[string]bool       // by session id: started sessions with an empty room
	last    time.Time             // time of the last successful reconciliation
	listErr string                // error of the last reconciliation; "" after a success
	missed  missed
	key     Key // see Options.Key
}

// State is the state of a project.
type State string

// The states of a project.
const (
	StateStarting State = "starting"
	StateRunning  State = "running"
	StateRetrying State = "retrying" // setup failed and is being retried
)

// SessionRef identifies a session.
type SessionRef struct {
	SessionID string
	RoomName  string
}

// UnrecordedSession is a running session, with somebody in its room, that was announced but is not
// recorded because an administrator removed the recorder.
type UnrecordedSession struct {
	SessionRef

	Reason string
	Since  time.Time
}

// New returns a controller that is not running yet.
func New(o Options) *Controller {
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.ReconcileEvery == 0 {
		o.ReconcileEvery = 5 * time.Minute
	}
	if o.Started == nil {
		o.Started = func() {}
	}
	if o.Sealed == nil {
		o.Sealed = func() {}
	}
	return &Controller{
		o: o, runs: sessionsAreRuns(o.Registry), key: o.Key,
		log: o.Logger.With("project_id", o.ProjectID), state: StateStarting,
		reconcileC: make(chan struct{}, 1), retry: make(chan struct{}, 1),
		wake: make(chan struct{}, 1),
		open: map[string]*openRecording{}, second: map[string][]*spool.Recording{},
		watched: map[string]*watch{}, refused: map[string]SessionRef{}, empty: map[string]bool{},
	}
}

// Run records until ctx ends, seals every open recording, and returns. A failure of the project
// does not end Run: the snapshot contains the failure, and Run retries the setup.
func (c *Controller) Run(ctx context.Context) {
	c.mu.Lock()
	c.ctx = ctx
	c.mu.Unlock()
	// Open recordings are resumed first, before any request to the platform. Sessions that were
	// recorded until the service stopped come next.
	c.resumeOpen(ctx)
	c.restoreWatched()
	var wg sync.WaitGroup
	ready, asked := make(chan struct{}), make(chan struct{})
	wg.Go(func() { c.loop(ctx, ready, asked) })
	if c.setUp(ctx) {
		close(ready)
		// A broker may authenticate our login with the platform. That request and one of ours at
		// the same time can stall SyncFlow for half a minute. Announcements wait in the queue
		// meanwhile.
		patience := time.NewTimer(loginPatience)
		select {
		case <-asked:
		case <-patience.C:
		case <-ctx.Done():
		}
		patience.Stop()
		for _, src := range c.o.Sources {
			wg.Go(func() {
				if err := src.Run(ctx, handler{c}); err != nil && ctx.Err() == nil {
					c.fail(fmt.Errorf("announcements: %w", err))
				}
			})
		}
	}
	<-ctx.Done()
	wg.Wait()
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.recorders.Wait()
}

// The pauses between attempts to set up a project. If our queue is not bound, sessions created
// meanwhile are not announced to us. A wrong key is retried less often because it does not become
// right by itself.
const (
	firstSetUpPause = time.Second
	maxSetUpPause   = 5 * time.Second
	wrongKeyPause   = 30 * time.Second
	// setUpLogEvery is the interval at which the same failure is logged.
	setUpLogEvery = 10 * time.Minute
)

// setUp reads the project and registers with its platform. It retries until that succeeds or ctx
// ends.
func (c *Controller) setUp(ctx context.Context) bool {
	var logged string
	var loggedAt time.Time
	pauses := backoff.New(backoff.Policy{First: firstSetUpPause, Max: maxSetUpPause})
	for {
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
		if err.Error() != logged || time.Since(loggedAt) >= setUpLogEvery {
			logged, loggedAt = err.Error(), time.Now()
			c.log.Error("the project cannot start; trying again until it can", "error", err)
		}
		wait := pauses.Next()
		if errors.Is(err, session.ErrUnauthorized) {
			wait = backoff.Equal(wrongKeyPause)
		}
		select {
		case <-ctx.Done():
			return false
		case <-c.retry:
			pauses.Reset()
		case <-time.After(wait):
		}
	}
}

// Retry retries the setup of the project immediately, for example because its key has been
// corrected.
func (c *Controller) Retry() {
	select {
	case c.retry <- struct{}{}:
	default:
	}
}

func (c *Controller) register(ctx context.Context) error {
	p, err := c.o.Registry.Project(ctx)
	if err != nil {
		return fmt.Errorf("read the project: %w", err)
	}
	c.mu.Lock()
	c.project = p
	c.mu.Unlock()
	return c.o.Registry.Register(ctx)
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
		c.launch(ctx, rec, false, 0)
		c.mu.Unlock()
	}
}

// People returns the participants of a session that is being recorded, see [recorder.Person], and
// false if the recording with the given egress id has no recorder.
func (c *Controller) People(egressID string) ([]recorder.Person, bool) {
	r, ok := c.recorder(egressID)
	if !ok {
		return nil, false
	}
	return r.People(), true
}

// Allows returns whether a participant with a given identity may be recorded in a session that is
// being recorded, and false if the recording with the given egress id has no recorder.
func (c *Controller) Allows(egressID string) (allowed func(identity string) bool, ok bool) {
	r, ok := c.recorder(egressID)
	if !ok {
		return nil, false
	}
	return r.Allows, true
}

// recorder returns the recorder of a recording of this project, if it has one.
func (c *Controller) recorder(egressID string) (*recorder.Recorder, bool) {
	rec, ok := c.o.Spool.Recording(egressID)
	if !ok || rec.Info().ProjectID != c.o.ProjectID {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.open[rec.Info().SessionID]
	if st == nil || st.recorder.ID() != egressID {
		return nil, false
	}
	return st.recorder, true
}

// Snapshot is the state of a project at one moment.
type Snapshot struct {
	State       State
	Error       string
	ProjectName string
	Sources     []session.SourceState
	Recorders   []recorder.Snapshot // sorted by creation time
	Unrequested []SessionRef
	Unrecorded  []UnrecordedSession
	Reconciled  time.Time
	ListError   string
}

// Snapshot returns the current state.
func (c *Controller) Snapshot() Snapshot {
	var sources []session.SourceState
	for _, src := range c.o.Sources {
		sources = append(sources, src.State())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Snapshot{
		State: c.state, Error: c.err, ProjectName: c.project.Name, Sources: sources,
		Reconciled: c.last, ListError: c.listErr,
	}
	for _, st := range c.open {
		s.Recorders = append(s.Recorders, st.recorder.Snapshot())
	}
	sort.Slice(s.Recorders, func(i, j int) bool {
		return s.Recorders[i].Info.CreatedUnixNS < s.Recorders[j].Info.CreatedUnixNS
	})
	for _, ref := range c.refused {
		s.Unrequested = append(s.Unrequested, ref)
	}
	s.Unrecorded = c.unrecorded()
	sort.Slice(s.Unrequested,
		func(i, j int) bool { return s.Unrequested[i].SessionID < s.Unrequested[j].SessionID })
	return s
}

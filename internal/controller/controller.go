// Package controller turns the announcements of one project into recordings and manages their
// lifecycle: it starts a recorder for each, continues open recordings after a restart, and
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
	// RoomExists asks the server at a URL whether it has a room of that name.
	RoomExists(ctx context.Context, serverURL, room string) (bool, error)
}

// Options are the parts a controller works with.
type Options struct {
	ProjectID string
	Instance  string
	RecordAll bool // record sessions nobody announced, too
	Registry  session.Registry
	Sources   []session.Source
	Spool     *spool.Spool
	Room      recorder.Room
	// Key is that of the project's LiveKit server; nil: there is none, and the registry is asked
	// for each join token.
	Key Key
	// RejoinWindow, see [recorder.Options].
	RejoinWindow time.Duration
	// ReconcileEvery is the pause between two requests for the session list, which costs a platform
	// more than any other request: minutes.
	ReconcileEvery time.Duration
	// Selection are the rules of what is recorded; they are valid.
	Selection textegress.SelectionRules
	// Pseudonyms: new recordings are delivered under pseudonyms, made with the key
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

	recorders    sync.WaitGroup
	retry        chan struct{} // sets the project up at once; capacity 1
	reconcileC   chan struct{} // triggers a reconciliation; capacity 1
	wake         chan struct{} // the next question about a watched session has changed; capacity 1
	diskDeferred atomic.Bool   // a running session was found and deferred: no disk space

	// creating is locked for a session while its recording is created; it comes before mu.
	creating keylock.Mutex[string]

	mu      sync.Mutex // guards the rest; never held across a network call or an fsync
	ctx     context.Context
	stopped bool // no more recorders are launched
	state   State
	err     string
	project session.Project
	open    map[string]*openRecording // by session id: at most one recorder each
	// by session id: open recordings that wait for the recorder of the session to end
	second map[string][]*spool.Recording
	// by session id: sessions that may run and that are not being recorded
	watched map[string]*watch
	refused map[string]SessionRef // Started sessions nobody asked us to record
	empty   map[string]bool       // Started sessions without anybody in their room, by id
	last    time.Time             // last successful reconciliation
	listErr string                // of the last reconciliation, "" after a success
	missed  missed
	key     Key // see Options.Key
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
	SessionID string
	RoomName  string
}

// UnrecordedSession is a session that runs, with somebody in its room, and that is not recorded
// although it was announced: an administrator removed the recorder.
type UnrecordedSession struct {
	SessionRef

	Reason string
	Since  time.Time
}

// New returns a controller. Nothing runs yet.
func New(o Options) *Controller {
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.ReconcileEvery == 0 {
		o.ReconcileEvery = 5 * time.Minute
	}
	if o.Sealed == nil {
		o.Sealed = func() {}
	}
	return &Controller{
		o: o, key: o.Key, log: o.Logger.With("project_id", o.ProjectID), state: StateStarting,
		reconcileC: make(chan struct{}, 1), retry: make(chan struct{}, 1),
		wake: make(chan struct{}, 1),
		open: map[string]*openRecording{}, second: map[string][]*spool.Recording{},
		watched: map[string]*watch{}, refused: map[string]SessionRef{}, empty: map[string]bool{},
	}
}

// Run records until ctx ends, seals every open recording, and returns. A project that fails never
// ends it: the failure is in the snapshot, and setting up is tried again.
func (c *Controller) Run(ctx context.Context) {
	c.mu.Lock()
	c.ctx = ctx
	c.mu.Unlock()
	// Open recordings are resumed first, before anybody is asked anything; then the sessions that
	// were recorded until the service was stopped.
	c.resumeOpen(ctx)
	c.restoreWatched()
	var wg sync.WaitGroup
	ready, asked := make(chan struct{}), make(chan struct{})
	wg.Go(func() { c.loop(ctx, ready, asked) })
	if c.setUp(ctx) {
		close(ready)
		// A broker may ask the platform who we are when we log in. That and a question of ours at
		// the same time can stall SyncFlow for half a minute; announcements wait in the queue.
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

// The pauses between two tries to set a project up. A session that is created meanwhile is
// announced to nobody if our queue is not bound. A wrong key does not become right by itself.
const (
	firstSetUpPause = time.Second
	maxSetUpPause   = 5 * time.Second
	wrongKeyPause   = 30 * time.Second
	// setUpLogEvery is how often the same failure is logged.
	setUpLogEvery = 10 * time.Minute
)

// setUp reads the project and registers with its platform, for as long as it takes.
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

// Retry sets a project up at once that is waiting to be, because its key has been corrected.
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

// Snapshot is the state of a project at one moment.
type Snapshot struct {
	State       State
	Error       string
	ProjectName string
	Sources     []session.SourceState
	Recorders   []recorder.Snapshot // sorted by creation
	Unrequested []SessionRef
	Unrecorded  []UnrecordedSession
	Reconciled  time.Time
	ListError   string
}

// Snapshot returns the state now.
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

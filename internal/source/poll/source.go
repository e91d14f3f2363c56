// Package poll finds the rooms of a LiveKit server by listing them at an interval.
//
// The list is authoritative: it contains every open room, including rooms whose webhooks were lost.
// The source announces each run of a room once. It announces the run again only after an error of
// the handler, or after the run was missing from a list.
package poll

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/session"
)

const (
	// SourceName is the name of the source, see [session.Announcement].
	SourceName = "poll"
	// mostAtOnce bounds the calls of the handler at one time. Each waits for an fsync.
	mostAtOnce = 64
	// spread is the fraction by which the interval beside webhooks varies, in both directions, so
	// that several instances do not send their requests at the same time.
	spread = 0.2
	// repeatLog is the time after which the same error is logged again.
	repeatLog = 10 * time.Minute
)

// The pauses after a failed list, after a list that the server denies to our key (only an operator
// can correct that), and after a failed announcement.
var (
	listPauses     = backoff.Policy{First: 250 * time.Millisecond, Max: 2 * time.Second}
	refusedPauses  = backoff.Policy{First: time.Second, Max: 15 * time.Second}
	announcePauses = backoff.Policy{First: time.Second, Max: 30 * time.Second}
)

// Webhooks reports which webhooks of the same server were received.
type Webhooks interface {
	// Seen returns when the last verified webhook arrived; zero if none has.
	Seen() time.Time
	// Knows reports whether a webhook has announced a run of a room.
	Knows(sid string) bool
}

// Options configures the source of one project. List and Interval are required.
type Options struct {
	// List lists the sessions to record, and the ids of the running sessions whose rooms' creators
	// have opted out.
	List func(ctx context.Context) (sessions []session.Session, optedOut []string, err error)
	// Interval is the time from one list to the next. IntervalWithWebhooks replaces it while
	// webhooks announce new rooms.
	Interval, IntervalWithWebhooks time.Duration
	Webhooks                       Webhooks // nil: there are none
	ProjectIndex                   string   // number of the project, for logs
	Logger                         *slog.Logger
}

// Source finds the rooms of one project. It implements [session.Source].
type Source struct {
	o    Options
	log  *slog.Logger
	wake chan struct{} // requests a list at once; capacity 1

	slots chan struct{} // one for each call of the handler
	tasks sync.WaitGroup

	mu    sync.Mutex // guards state and the fields of rooms
	state session.SourceState

	// Owned by the goroutine of Run.
	rooms      map[string]*room // by session id: the runs in the last list
	first      bool             // no list has succeeded since the start or the last failure
	resyncDue  bool
	failures   int
	webhooks   reliance
	lastLogged string
	loggedAt   time.Time
}

// New returns a Source. It does not connect.
func New(o Options) *Source {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Source{
		o: o, log: log.With("project", o.ProjectIndex), wake: make(chan struct{}, 1),
		slots: make(chan struct{}, mostAtOnce), rooms: map[string]*room{},
		state: session.SourceState{Since: time.Now()},
	}
}

// State implements [session.Source]. Connected means that the last list succeeded.
func (s *Source) State() session.SourceState {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.state
	state.Name = SourceName
	return state
}

// Wake makes the next list due at once.
func (s *Source) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run implements [session.Source]. It calls the handler at most 64 times at once, and for one
// session never twice at once.
func (s *Source) Run(ctx context.Context, h session.Handler) error {
	defer s.tasks.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.first, s.resyncDue = true, true
	for ctx.Err() == nil {
		began := time.Now()
		err := s.list(ctx, h)
		pause := time.NewTimer(s.pause(err, time.Since(began)))
		select {
		case <-pause.C:
		case <-s.wake:
		case <-ctx.Done():
		}
		pause.Stop()
	}
	return nil
}

// list lists the rooms once and reports changes to the handler. It returns the error of the list,
// or the cause if ctx has ended.
func (s *Source) list(ctx context.Context, h session.Handler) error {
	sessions, optedOut, err := s.o.List(ctx)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		s.failed(err)
		return err
	}
	s.succeeded()
	s.compare(ctx, h, sessions, optedOut)
	s.first = false
	if s.resyncDue {
		s.resyncDue = h.Resync(ctx, nil) != nil
	}
	return nil
}

// restFactor is the minimum pause after a list, as a multiple of the duration of the list: a server
// with thousands of rooms spends at most a tenth of its time on lists.
const restFactor = 9

// pause returns the pause after a list that took the given time.
func (s *Source) pause(err error, took time.Duration) time.Duration {
	switch {
	case errors.Is(err, session.ErrUnauthorized):
		return refusedPauses.Delay(s.failures)
	case err != nil:
		return listPauses.Delay(s.failures)
	}
	interval := s.o.Interval
	if slow := s.o.IntervalWithWebhooks; s.webhooks.relied && slow > interval {
		interval = time.Duration(float64(slow) * (1 - spread + 2*spread*rand.Float64()))
	}
	return max(interval-took, restFactor*took)
}

func (s *Source) setState(connected bool, lastError string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Connected != connected {
		s.state.Connected, s.state.Since = connected, time.Now()
	}
	s.state.LastError = lastError
}

// failed records a failed list, and logs it unless the same error was logged recently.
func (s *Source) failed(err error) {
	text := redact.Text(err.Error())
	s.setState(false, text)
	s.failures++
	s.first, s.resyncDue = true, true
	if text == s.lastLogged && time.Since(s.loggedAt) < repeatLog {
		return
	}
	s.lastLogged, s.loggedAt = text, time.Now()
	s.log.Error("cannot list the rooms of LiveKit; trying again", "error", text)
}

func (s *Source) succeeded() {
	s.setState(true, "")
	s.failures = 0
	if s.lastLogged != "" {
		s.lastLogged = ""
		s.log.Info("the rooms of LiveKit are listed again")
	}
}

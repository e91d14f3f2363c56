// Package webhook receives the webhooks of LiveKit servers, which announce rooms as soon as they
// are opened or joined.
//
// A webhook is a hint. LiveKit retries each a few times within half a minute, not necessarily in
// order, and then drops it. The list of rooms, which internal/source/poll reads, is authoritative.
// The source therefore queries the server for each new room before it announces it: a webhook that
// was delayed, replayed or sent by another server announces nothing.
package webhook

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/recent"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/session"
)

const (
	// SourceName is the name of the source, see [session.Announcement].
	SourceName = "webhook"
	// handleTimeout bounds the work for one request, within the web server's limit of 30 s.
	handleTimeout = 20 * time.Second
	// repeatLog is the time after which the same problem is logged again.
	repeatLog = 10 * time.Minute
)

// Kind is the meaning of an event for a session.
type Kind int

// The kinds of events. The zero value means nothing.
const (
	Opened   Kind = iota + 1 // the room was opened, perhaps by our own join
	Present                  // somebody is in the room
	Finished                 // the room was closed
)

// Event is one event of a LiveKit server.
type Event struct {
	ID   string // the same in every delivery
	Kind Kind
	// Session is the run of the room that the event is about; its ID is empty if there is none.
	Session session.Session
	// Record is true if, according to the event, the room is to be recorded.
	Record bool
}

// Options configures the source of one project. The first three functions are required. All are
// called concurrently.
type Options struct {
	// Verify verifies the Authorization header of a request, and returns a function that reports
	// whether a body belongs to it. An error means that the header is not signed with the project's
	// key, or that it has expired.
	Verify func(authorization string) (matches func(body []byte) bool, err error)
	// Parse decodes a verified body. Its error text does not quote the body.
	Parse func(body []byte) (Event, error)
	// Confirm queries the server for this run of the room, and returns its current limits. recorded
	// is false if the run does not exist or is not to be recorded.
	Confirm func(ctx context.Context, s session.Session) (confirmed session.Session, recorded bool,
		err error)
	// Finished, if not nil, is called when a room was closed, so that the caller can check at once
	// whether the session continues. It must not block.
	Finished     func(s session.Session)
	ProjectIndex string // number of the project, for logs
	Logger       *slog.Logger
}

// Source receives the webhooks of one project through an [Endpoint]. It implements
// [session.Source].
type Source struct {
	o   Options
	log *slog.Logger

	done     recent.Set // ids of events that need no further work
	rooms    recent.Set // sids that events have announced
	accepted recent.Set // sids that were confirmed and announced

	mu       sync.Mutex // guards the fields below
	ctx      context.Context
	handler  session.Handler // nil while Run does not run
	running  sync.WaitGroup  // requests in progress; Add only while handler is set
	state    session.SourceState
	seen     time.Time
	loggedAt map[string]time.Time // by message
}

// New returns a Source. It receives webhooks when it is added to an [Endpoint] and runs.
func New(o Options) *Source {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Source{
		o: o, log: log.With("project", o.ProjectIndex),
		state: session.SourceState{Since: time.Now()}, loggedAt: map[string]time.Time{},
	}
}

// Run implements [session.Source]. It returns when the requests in progress have been answered.
func (s *Source) Run(ctx context.Context, h session.Handler) error {
	s.setHandler(ctx, h)
	<-ctx.Done()
	s.setHandler(ctx, nil)
	s.running.Wait()
	return nil
}

func (s *Source) setHandler(ctx context.Context, h session.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx, s.handler = ctx, h
	s.state.Connected, s.state.Since = h != nil, time.Now()
}

// State implements [session.Source]. Connected means that webhooks are accepted; [Source.Seen]
// reports whether any have arrived.
func (s *Source) State() session.SourceState {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.state
	state.Name, state.Received = SourceName, s.seen
	return state
}

// Seen returns when the last verified webhook arrived; zero if none has.
func (s *Source) Seen() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// Knows reports whether a webhook has announced a run of a room, recorded or not.
func (s *Source) Knows(sid string) bool { return s.rooms.Has(sid) }

// receive handles a verified body and returns the status of the answer.
func (s *Source) receive(ctx context.Context, body []byte) int {
	e, err := s.o.Parse(body)
	if err != nil {
		s.logProblem("skipping a malformed webhook", err)
		return http.StatusBadRequest
	}
	s.mu.Lock()
	first := s.seen.IsZero()
	s.seen = time.Now()
	h := s.handler
	if h != nil {
		s.running.Add(1)
		defer s.running.Done()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, handleTimeout)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
	}
	s.mu.Unlock()
	if first {
		s.log.Info("webhooks of LiveKit arrive")
	}
	switch {
	case s.done.Has(e.ID):
		return http.StatusOK
	case h == nil:
		return http.StatusServiceUnavailable
	}
	switch err := s.handle(ctx, h, e); {
	case errors.Is(err, session.ErrLater): // after a crash of the server, for a moment
		return http.StatusServiceUnavailable
	case err != nil:
		s.logProblem("a room that a webhook announced is not recorded yet; LiveKit sends it again",
			err)
		return http.StatusServiceUnavailable
	}
	s.done.Add(e.ID)
	return http.StatusOK
}

// handle announces the session of an event, if there is one to announce.
func (s *Source) handle(ctx context.Context, h session.Handler, e Event) error {
	if e.Session.ID == "" {
		return nil
	}
	s.rooms.Add(e.Session.ID)
	switch {
	case e.Kind == Finished:
		if s.o.Finished != nil {
			s.o.Finished(e.Session)
		}
		return nil
	case e.Kind == 0, !e.Record:
		return nil // the list reports a changed request
	case !s.accepted.Has(e.Session.ID):
		confirmed, recorded, err := s.o.Confirm(ctx, e.Session)
		// An empty room may be one that our own join created.
		if err != nil || !recorded || e.Kind == Opened && confirmed.State == session.Empty {
			return err
		}
		e.Session = confirmed
	case e.Kind == Opened:
		return nil
	}
	// A participant is present, perhaps after a break: the handler ignores a known session.
	err := h.Announce(ctx, session.Announcement{
		SessionID: e.Session.ID, Room: e.Session.Room, Source: SourceName, ReceivedAt: time.Now(),
		Limits: e.Session.Limits,
	})
	if err == nil {
		s.accepted.Add(e.Session.ID)
	}
	return err
}

// logProblem logs a problem with webhooks, unless the same one was logged recently.
func (s *Source) logProblem(message string, err error) {
	text := message + ": " + redact.Text(err.Error())
	s.mu.Lock()
	now := time.Now()
	again := now.Sub(s.loggedAt[message]) < repeatLog
	if !again {
		s.loggedAt[message] = now
	}
	s.state.LastError = text
	s.mu.Unlock()
	if !again {
		s.log.Warn("problem with the webhooks of LiveKit", "reason", text)
	}
}

package rabbitmq

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/session"
)

const (
	// maxPause bounds the pause between two attempts to connect. Sessions run in the meantime:
	// their announcements wait in the queue or, if the binding is gone, are lost.
	maxPause = 2 * time.Second
	// maxSlowPause bounds the pause after a refusal that the broker was slow to give, see
	// [Source.pause].
	maxSlowPause = 30 * time.Second
	// firstProbe and longestProbe bound the growing pauses between two probes of SyncFlow while it
	// announces nothing, which may last for days. Each probe costs the API three requests. In the
	// meantime, sessions are found in the list.
	firstProbe   = 15 * time.Second
	longestProbe = 5 * time.Minute
	// stableAfter is how long a connection must last for its end to restart the count of failures.
	stableAfter = time.Minute
	// repeatLog is the time after which the same failure is logged again.
	repeatLog = 10 * time.Minute
)

// connectPauses are the pauses between two attempts to connect, before the jitter.
var connectPauses = backoff.Policy{
	First: 500 * time.Millisecond, Max: maxPause, Jitter: backoff.None,
}

// Binding connects a queue to SyncFlow's announcements. Every registered device has one.
type Binding struct {
	Exchange   string
	RoutingKey string // "<project id>.<group>"; wildcards are refused
}

// Options describes a project's queue at the broker.
type Options struct {
	Host  string
	Port  int
	VHost string
	TLS   bool
	// CAFile (a PEM file) or RootCAs, which takes precedence, holds the only certificate
	// authorities that are accepted. Without either, those of the system are accepted.
	CAFile  string
	RootCAs *x509.CertPool
	// Username and Password are fixed credentials. Without them, the project's token is the user
	// name and the group is the password, as for SyncFlow's devices.
	Username, Password string

	ProjectID string
	Group     string
	Instance  string
	// ProjectIndex is the project's number in the configuration, for metrics and logs.
	ProjectIndex string

	// Token returns a fresh project token. It is called for every connection.
	Token func(ctx context.Context) (string, error)
	// Binding returns where announcements are published, and registers our device if there is none.
	// It is called for every connection, and again when a binding is refused because no device of
	// the group is registered.
	Binding func(ctx context.Context) (Binding, error)
	// Announces reports whether SyncFlow can announce sessions. It is called periodically after the
	// exchange was missing. If it is nil, only an announcement shows that SyncFlow can announce
	// again.
	Announces func(ctx context.Context) (bool, error)
	// Memory outlives this process. If it is nil, announcements lost while the process is not
	// running go unnoticed.
	Memory Memory

	Logger  *slog.Logger
	Metrics *Metrics // nil = private to this source and not exported
}

// Source receives one project's announcements. It implements [session.Source].
type Source struct {
	o       Options
	log     *slog.Logger
	metrics metrics

	dial   dialer         // replaced by tests
	jitter backoff.Jitter // replaced by tests

	ledger   ledger
	resync   chan struct{} // a resync is due; capacity 1
	silenced chan struct{} // SyncFlow became silent, see [session.SourceState]; capacity 1

	mu    sync.Mutex // guards state
	state session.SourceState

	// Owned by the goroutine of Run.
	lastLogged   string
	lastLoggedAt time.Time
	opened       bool // the last connection logged in and consumed the queue

	handlers   *handlers   // set by Run
	markFailed atomic.Bool // the last attempt to write the mark failed

	// Owned by the goroutine of the bindingKeeper. Only one runs at a time.
	binding   Binding    // the last binding returned by SyncFlow; zero before the first
	confirmed connection // the connection for which it was last confirmed
}

// New returns a Source. It does not connect.
func New(o Options) *Source {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Source{
		o: o, log: log.With("project", o.ProjectIndex),
		metrics: cmp.Or(o.Metrics, NewMetrics(nil)).of(o.ProjectIndex),
		dial:    dial, jitter: backoff.Equal, state: session.SourceState{
			Name: SourceName, Since: time.Now(),
		},
		ledger: ledger{began: time.Now(), memory: o.Memory}, resync: make(chan struct{}, 1),
		silenced: make(chan struct{}, 1),
	}
}

// State returns the current state. It may be called at any time.
func (r *Source) State() session.SourceState {
	r.mu.Lock()
	s := r.state
	r.mu.Unlock()
	m := r.ledger.now()
	s.Missed, s.Silent = m.Missed, m.Silent
	return s
}

// update changes the state, and updates Since and the metric accordingly.
func (r *Source) update(change func(*session.SourceState)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.state.Connected
	change(&r.state)
	if r.state.Connected != before {
		r.state.Since = time.Now()
	}
	r.metrics.connected.Set(0)
	if r.state.Connected {
		r.metrics.connected.Set(1)
	}
}

// Run receives announcements until ctx ends, and reconnects as often as needed. It returns nil.
//
// The handler is called concurrently, at most 32 times at once. After an error, the announcement
// returns to the queue after a growing pause and is delivered again, while others continue. Even
// without an error, an announcement may be delivered more than once.
//
// The gaps passed to the handler are kept in o.Memory, which outlives the process. Resync is called
// by one goroutine; a call that becomes due during another one follows it.
func (r *Source) Run(ctx context.Context, h session.Handler) error {
	if err := r.ledger.load(); err != nil {
		r.log.Error("cannot read until when announcements were heard; those lost since then "+
			"are not looked for", "error", err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.resyncLoop(ctx, h.Resync) })
	if r.o.Announces != nil {
		wg.Go(func() { r.probe(ctx) })
	}
	r.handlers = newHandlers(ctx, r, h.Announce)
	defer r.handlers.wait()
	var next connection // already logged in, if the previous connection was replaced in time
	for first, failures := true, 0; ; first = false {
		if !first {
			r.metrics.reconnects.Inc()
		}
		begin := time.Now()
		var err error
		r.opened = false
		next, err = r.runConnection(ctx, next, r.handlers)
		r.update(func(s *session.SourceState) { s.Connected = false })
		if ctx.Err() != nil {
			if next != nil {
				_ = next.CloseDeadline(time.Now().Add(closeTimeout))
			}
			return nil
		}
		if errors.Is(err, errRenew) {
			continue // on purpose: no pause, nothing to report
		}
		lasted := time.Since(begin)
		if failures++; r.opened && lasted > stableAfter {
			failures = 1
		}
		r.failed(err)
		if backoff.Sleep(ctx, r.jitter(r.pause(failures, lasted))) != nil {
			return nil
		}
	}
}

// pause returns the pause after a number of consecutive failures; the last attempt took lasted. A
// broker that is down, or that refuses at once, is retried soon. A broker that refuses after a wait
// has queried SyncFlow's API in vain, and each further attempt occupies a part of that API for half
// a minute.
func (r *Source) pause(failures int, lasted time.Duration) time.Duration {
	p := connectPauses.Delay(failures)
	if !r.opened && lasted > connectTimeout+slow {
		p = min(lasted, maxSlowPause)
	}
	return p
}

// resyncLoop calls resync whenever one is due, and retries until it succeeds.
func (r *Source) resyncLoop(ctx context.Context,
	resync func(context.Context, []session.Gap) error,
) {
	if len(r.ledger.now().Missed) > 0 {
		r.triggerResync()
	}
	for {
		select {
		case <-r.resync:
		case <-ctx.Done():
			return
		}
		for {
			missed := r.ledger.now().Missed
			err := resync(ctx, missed)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				r.logMark(r.ledger.settle(missed))
				break
			}
			r.log.Warn("cannot look for sessions whose announcements may be lost; trying again",
				"error", err)
			if backoff.Sleep(ctx, r.jitter(maxSlowPause)) != nil {
				return
			}
		}
	}
}

// triggerResync requests a resync.
func (r *Source) triggerResync() {
	select {
	case r.resync <- struct{}{}:
	default: // one is due already and has not begun
	}
}

// heard records that the binding existed at the given time.
func (r *Source) heard(at time.Time) { r.logMark(r.ledger.heard(at)) }

// lost records that announcements until to may be lost. The gap begins when announcements were last
// heard, or earlier: at since, unless that is zero, or when the oldest announcement that still
// waits first failed, because the queue may have lost it too. It reports whether a resync is
// needed.
func (r *Source) lost(to, since time.Time) bool {
	g, is, err := r.ledger.missed(to, since, r.handlers.takeFailures())
	if !is {
		r.heard(to)
		return false
	}
	r.logMark(err)
	r.log.Warn("announcements may be lost; looking for sessions that started meanwhile",
		"from", g.From, "to", g.To)
	return true
}

// logMark logs the first of consecutive failures to write the mark.
func (r *Source) logMark(err error) {
	if again := r.markFailed.Swap(err != nil); err != nil && !again {
		r.log.Warn("cannot save until when announcements were heard", "error", err)
	}
}

// exchangeMissing records that SyncFlow's exchange was missing and that we have declared it.
func (r *Source) exchangeMissing() {
	_, err := r.ledger.silent(time.Now())
	r.logMark(err)
	r.log.Warn("SyncFlow's exchange was missing and has been declared: was the broker restarted? " +
		"SyncFlow announces sessions again when its API has been restarted too")
	select {
	case r.silenced <- struct{}{}:
	default:
	}
}

// probe detects when SyncFlow announces sessions again.
func (r *Source) probe(ctx context.Context) {
	for {
		pauses := backoff.New(backoff.Policy{
			First: firstProbe, Max: longestProbe, Jitter: backoff.None,
		})
		for !r.ledger.now().Silent.IsZero() {
			if pauses.Wait(ctx) != nil {
				return
			}
			if does, err := r.o.Announces(ctx); does {
				r.announcesAgain()
			} else {
				r.log.Debug("SyncFlow cannot announce sessions", "error", err)
			}
		}
		select {
		case <-r.silenced:
		case <-ctx.Done():
			return
		}
	}
}

// announcesAgain records that SyncFlow announces sessions. If it was silent, a resync looks for the
// sessions that began since its exchange was missing.
func (r *Source) announcesAgain() {
	since, err := r.ledger.silent(time.Time{})
	r.logMark(err)
	if !since.IsZero() {
		r.log.Info("SyncFlow announces sessions again")
		if r.lost(time.Now(), since) {
			r.triggerResync()
		}
	}
}

// failed stores an error in the state, and logs it unless the same one was logged recently.
func (r *Source) failed(err error) {
	text := err.Error()
	r.update(func(s *session.SourceState) { s.LastError = text })
	if text == r.lastLogged && time.Since(r.lastLoggedAt) < repeatLog {
		return
	}
	r.lastLogged, r.lastLoggedAt = text, time.Now()
	r.log.Error("no connection to the broker; trying again", "error", text)
}

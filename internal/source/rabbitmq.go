package source

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	firstPause = time.Second
	// maxPause bounds the time between two tries to connect. Announcements wait in the queue meanwhile, but their sessions
	// are running.
	maxPause = 30 * time.Second
	// A connection that lived this long is not counted as a failure when it breaks.
	steady = time.Minute
	// The same failure is logged again after this.
	repeatLog = 10 * time.Minute
)

// Binding is what connects a queue to SyncFlow's announcements; a registered device has it.
type Binding struct {
	Exchange   string
	RoutingKey string // "<project id>.<group>"; wildcards are refused
}

// RabbitMQOptions describes a project's queue at the broker.
type RabbitMQOptions struct {
	Host  string
	Port  int
	VHost string
	TLS   bool
	// CAFile is a PEM file, RootCAs the same in memory: only certificates signed by these are accepted. Without both the
	// system's authorities count.
	CAFile  string
	RootCAs *x509.CertPool
	// Username and Password are fixed credentials. Without them the project's token is the user name and the group is the
	// password, which is what SyncFlow's devices do.
	Username, Password string

	ProjectID string
	Group     string
	Instance  string
	// ProjectIndex is the project's number in the configuration, for metrics and logs.
	ProjectIndex string

	// Token returns a fresh project token. It is called for every connection.
	Token func(ctx context.Context) (string, error)
	// Binding returns where announcements are published, registering our device if there is none. It is called for every
	// connection, and again while binding fails: without a registered device of the group a binding is refused.
	Binding func(ctx context.Context) (Binding, error)

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// State is what a listener does at the moment.
type State struct {
	Connected bool      // announcements reach us: logged in, queue consumed and bound
	Queue     string    // name of the queue, "" before the first connection
	Exclusive bool      // the queue is lost with the connection: the broker refused a durable one
	Since     time.Time // when Connected became what it is
	LastError string    // why it is not connected, or why the queue is not what it should be; no secrets
}

// RabbitMQ listens to one project's announcements.
type RabbitMQ struct {
	o       RabbitMQOptions
	log     *slog.Logger
	metrics metrics

	dial   dialer                                 // replaced by tests
	jitter func(most time.Duration) time.Duration // replaced by tests

	mu    sync.Mutex // guards state
	state State

	// Owned by the goroutine of Run.
	lastLogged   string
	lastLoggedAt time.Time
}

// NewRabbitMQ makes a listener. It does not connect.
func NewRabbitMQ(o RabbitMQOptions) *RabbitMQ {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &RabbitMQ{
		o: o, log: log.With("project", o.ProjectIndex), metrics: newMetrics(o.Registerer, o.ProjectIndex),
		dial: dial, jitter: equalJitter, state: State{Since: time.Now()},
	}
}

// State returns what the listener does at the moment. It may be called at any time.
func (r *RabbitMQ) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// update changes the state and keeps Since and the metric in step.
func (r *RabbitMQ) update(change func(*State)) {
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

// Run listens until ctx ends, and reconnects for ever. It returns nil.
//
// handle is called for every announcement, concurrently for different sessions (at most 32 at a time), one after the other
// for the same. When it returns nil the announcement is acknowledged and will not come again; so it must return nil only
// when the intent to record is durable. After an error the announcement is given back to the queue after a pause that
// grows, and comes again, while others go on. An announcement can come more than once in any case.
//
// connected is called whenever the queue has been bound after a time in which it was not, or in which we cannot be sure
// that it was: announcements may have been missed, so it is the time to ask SyncFlow for running sessions. It is called by
// one goroutine; a call that is due during another one follows it.
func (r *RabbitMQ) Run(ctx context.Context, handle func(context.Context, Announcement) error, connected func(ctx context.Context)) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	gap := make(chan struct{}, 1)
	wg.Go(func() {
		for {
			select {
			case <-gap:
				connected(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	h := newHandlers(ctx, r, handle)
	defer h.wait()
	var next connection // already logged in, if the previous connection was replaced in time
	for first, failures := true, 0; ; first = false {
		if !first {
			r.metrics.reconnects.Inc()
		}
		begin := time.Now()
		var err error
		next, err = r.session(ctx, next, h, gap)
		r.update(func(s *State) { s.Connected = false })
		if ctx.Err() != nil {
			if next != nil {
				_ = next.CloseDeadline(time.Now().Add(closeTimeout))
			}
			return nil
		}
		if errors.Is(err, errRenew) {
			continue // on purpose: no pause, nothing to report
		}
		if failures++; time.Since(begin) > steady {
			failures = 1
		}
		r.failed(err)
		if sleep(ctx, r.jitter(min(firstPause<<min(failures-1, 10), maxPause))) != nil {
			return nil
		}
	}
}

// failed shows an error in the state and in the log, there only if it is news.
func (r *RabbitMQ) failed(err error) {
	text := err.Error()
	r.update(func(s *State) { s.LastError = text })
	if text == r.lastLogged && time.Since(r.lastLoggedAt) < repeatLog {
		return
	}
	r.lastLogged, r.lastLoggedAt = text, time.Now()
	r.log.Error("no connection to the broker, trying again", "error", text)
}

// equalJitter picks a pause between the half and the whole of most.
func equalJitter(most time.Duration) time.Duration { return most/2 + rand.N(most/2+1) }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

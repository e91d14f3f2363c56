package rabbitmq

import (
	"context"
	"log/slog"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/session"
)

const (
	// maxHold bounds the time a failed announcement is held before it is given back. It is far
	// below the 30 minutes after which brokers close the channel of a consumer that does not
	// acknowledge.
	maxHold = 30 * time.Second
	// maxRemembered bounds the memory of failures.
	maxRemembered = 1000
)

// holds are the times for which a failed announcement is held, before the jitter.
var holds = backoff.Policy{First: time.Second, Max: maxHold, Jitter: backoff.None}

// handlers runs the handler for every announcement. It outlives connections: a handler that still
// runs when its connection breaks finishes, beside that of the announcement when the broker
// delivers it again.
type handlers struct {
	ctx    context.Context // of Run
	r      *Source
	handle func(context.Context, session.Announcement) error
	wg     sync.WaitGroup

	mu       sync.Mutex
	failures map[string]failures // by session id
	// handlers at work, without those that hold a failed announcement
	running int
	quiet   chan struct{} // closed when running becomes 0; nil if nothing waits
}

// failures are those of one session's announcement, in a row.
type failures struct {
	n     int
	since time.Time
}

func newHandlers(ctx context.Context, r *Source,
	handle func(context.Context, session.Announcement) error,
) *handlers {
	return &handlers{
		ctx: ctx, r: r, handle: handle,
		failures: map[string]failures{},
	}
}

func (h *handlers) wait() { h.wg.Wait() }

// waitIdle waits until no handler is at work, at most d.
func (h *handlers) waitIdle(ctx context.Context, d time.Duration) {
	h.mu.Lock()
	if h.running == 0 {
		h.mu.Unlock()
		return
	}
	if h.quiet == nil {
		h.quiet = make(chan struct{})
	}
	quiet := h.quiet
	h.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-quiet:
	case <-t.C:
	case <-ctx.Done():
	}
}

// deliver handles one delivery of the connection whose lifetime is the context conn.
func (h *handlers) deliver(conn context.Context, d amqp.Delivery, backlog bool) {
	count := h.r.metrics.notifications
	if d.Redelivered {
		count.WithLabelValues(resultRedelivered).Inc()
	}
	a, err := parse(d.Body)
	if err != nil {
		count.WithLabelValues(resultMalformed).Inc()
		h.r.log.Warn("skipping a malformed announcement", "reason", err, "bytes",
			len(d.Body))
		// Rejected, not acknowledged: where the operator has set up a dead-letter exchange it can
		// be looked at.
		h.logOutcome("reject", d.Reject(false))
		return
	}
	a.ReceivedAt, a.Redelivered, a.Backlog = time.Now(), d.Redelivered, backlog
	h.mu.Lock()
	h.running++
	h.mu.Unlock()
	h.wg.Go(func() { h.process(conn, a, d) })
}

func (h *handlers) process(conn context.Context, a session.Announcement, d amqp.Delivery) {
	err := h.call(a)
	result := resultAccepted
	if err != nil {
		result = resultFailed
	}
	h.r.metrics.notifications.WithLabelValues(result).Inc()
	if err == nil {
		h.logOutcome("acknowledge", d.Ack(false))
		h.done()
		return
	}
	h.done()
	if h.ctx.Err() != nil {
		return // not acknowledged: the broker keeps it
	}
	hold, first := h.backoff(a.SessionID)
	level := slog.LevelDebug // it comes again every half minute for as long as it fails
	if first {
		level = slog.LevelWarn
	}
	h.r.log.Log(h.ctx, level, "cannot handle an announcement; trying again", "session_id",
		a.SessionID, "room", a.Room, "error", err, "next_attempt_in", hold)
	if backoff.Sleep(conn, hold) != nil {
		return // the broker gives it back to the queue by itself when the connection ends
	}
	h.logOutcome("give back", d.Nack(false, true))
}

// call runs the handler.
func (h *handlers) call(a session.Announcement) error {
	err := h.handle(h.ctx, a)
	if err == nil {
		h.mu.Lock()
		delete(h.failures, a.SessionID)
		h.mu.Unlock()
	}
	return err
}

func (h *handlers) done() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running--; h.running == 0 && h.quiet != nil {
		close(h.quiet)
		h.quiet = nil
	}
}

// backoff returns the pause after one more failure of the session's announcement, and whether it is
// the first one in a row.
func (h *handlers) backoff(sessionID string) (pause time.Duration, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.failures) >= maxRemembered {
		clear(h.failures) // this only shortens pauses
	}
	f := h.failures[sessionID]
	if f.n == 0 {
		f.since = time.Now()
	}
	f.n++
	h.failures[sessionID] = f
	return h.r.jitter(holds.Delay(f.n)), f.n == 1
}

// takeFailures returns since when the oldest announcement waits that could not be handled, zero if
// none does, and drops all of them: the broker may have dropped them too.
func (h *handlers) takeFailures() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	var oldest time.Time
	for _, f := range h.failures {
		if oldest.IsZero() || f.since.Before(oldest) {
			oldest = f.since
		}
	}
	clear(h.failures)
	return oldest
}

// logOutcome logs that the outcome did not reach the broker, which then delivers the announcement
// again.
func (h *handlers) logOutcome(what string, err error) {
	if err != nil {
		h.r.log.Debug("the outcome of an announcement did not reach the broker", "outcome", what,
			"error", brokerError(what, err, h.r.o))
	}
}

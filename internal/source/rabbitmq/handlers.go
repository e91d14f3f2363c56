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
	// maxHold bounds how long a failed announcement is held before it returns to the queue. It is
	// far below the 30 minutes after which brokers close the channel of a consumer that does not
	// acknowledge.
	maxHold = 30 * time.Second
	// maxRemembered bounds the number of sessions whose failures are counted.
	maxRemembered = 1000
)

// holds are the growing times for which a failed announcement is held, before the jitter.
var holds = backoff.Policy{First: time.Second, Max: maxHold, Jitter: backoff.None}

// handlers runs the handler for every announcement. It outlives connections: a handler that runs
// when its connection breaks continues to its end, even while another one runs for the same
// announcement, which the broker delivers again.
type handlers struct {
	ctx    context.Context // of Run
	r      *Source
	handle func(context.Context, session.Announcement) error
	wg     sync.WaitGroup

	mu       sync.Mutex
	failures map[string]failures // by session id
	// running handlers, except those that hold a failed announcement
	running int
	quiet   chan struct{} // closed when running becomes 0; nil if nothing waits
}

// failures counts the consecutive failures of one session's announcement.
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

// waitIdle waits until no handler is running, for at most d.
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

// deliver handles one delivery. conn ends with the connection that it came on.
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
		// Rejected, not acknowledged: a dead-letter exchange, if the operator has configured one,
		// keeps it for inspection.
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
	level := slog.LevelDebug // repeats every half minute while it fails
	if first {
		level = slog.LevelWarn
	}
	h.r.log.Log(h.ctx, level, "cannot handle an announcement; trying again", "session_id",
		a.SessionID, "room", a.Room, "error", err, "next_attempt_in", hold)
	if backoff.Sleep(conn, hold) != nil {
		return // the broker requeues it when the connection ends
	}
	h.logOutcome("give back", d.Nack(false, true))
}

// call runs the handler, and resets the session's failures on success.
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

// backoff counts a failure of the session's announcement. It returns the pause after it, and
// whether it is the first in a row.
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

// takeFailures returns when the oldest announcement that is not handled yet first failed, zero if
// there is none. It resets all failures, because the broker may have dropped these announcements
// too.
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

// logOutcome logs an outcome that did not reach the broker. The broker then delivers the
// announcement again.
func (h *handlers) logOutcome(what string, err error) {
	if err != nil {
		h.r.log.Debug("the outcome of an announcement did not reach the broker", "outcome", what,
			"error", brokerError(what, err, h.r.o))
	}
}

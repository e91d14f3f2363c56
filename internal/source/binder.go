package source

import (
	"context"
	"errors"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// assertEvery is how often the binding is made again although it should be there.
	assertEvery = time.Minute
	// While the binding fails it is tried this often at most; every try may cost SyncFlow's API two small requests.
	firstBindPause = 500 * time.Millisecond
	maxBindPause   = 5 * time.Second
	// The device is looked up again after this many failures, or at once after a refusal.
	askAgain = 12
	// tokenStale is the age of a connection from which on the broker may refuse a binding because the project token that
	// opened it has expired. (It may also not ask: it caches permissions while a channel is busy.)
	tokenStale = 55 * time.Minute
)

// binder keeps a queue bound to SyncFlow's exchange.
//
// The exchange is not durable. When the broker restarts it is gone, with our binding, until the SyncFlow API restarts and
// declares it. Our connection is back long before that, so a binding that fails with 404 is tried until it succeeds.
//
// Declaring the exchange ourselves would close the small hole between the API's start and our next try. We do not, for two
// reasons. Nothing is published in between that asking SyncFlow afterwards would not find. And if a later version of
// SyncFlow declares its exchange differently, ours would make the API fail at its start: a recorder must not be able to
// break what it records.
//
// The broker tells nobody when an exchange is deleted and declared again while the connection stays up, and the binding is
// lost then too. So it is made again every minute: queue.bind changes nothing where the binding exists. What was missed in
// that minute is found by asking SyncFlow.
type binder struct {
	r      *RabbitMQ
	conn   connection
	queue  queue
	opened time.Time
	gap    chan<- struct{}

	ch      channel // nil after a refusal: the broker closes a channel with it
	binding Binding // zero: to be asked for
	crowded int     // how many times in a row the queue had more consumers than ours
}

// run returns when the connection has to be replaced; ctx ends with the connection.
func (b *binder) run(ctx context.Context) error {
	bound, failures := false, 0
	for {
		if bound && b.stale() {
			// Nothing can be asserted any more. The connection is about to be renewed.
			if sleep(ctx, assertEvery) != nil {
				return ctx.Err()
			}
			continue
		}
		err := b.bind(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			if !bound {
				b.established(failures > 0)
			}
			bound, failures = true, 0
			b.crowd()
			if sleep(ctx, assertEvery) != nil {
				return ctx.Err()
			}
			continue
		}
		failures++
		if bound || failures == 1 {
			b.r.log.Warn("the queue is not bound to SyncFlow's announcements, trying again", "queue", b.queue.name, "error", err)
		}
		bound = false
		b.r.update(func(s *State) { s.Connected, s.LastError = false, err.Error() })
		switch {
		case errors.Is(err, amqp.ErrClosed), b.stale():
			return err
		case code(err) != amqp.NotFound || failures%askAgain == 0:
			b.binding = Binding{}
		}
		if sleep(ctx, b.r.jitter(min(firstBindPause<<min(failures-1, 10), maxBindPause))) != nil {
			return ctx.Err()
		}
	}
}

// stale reports whether the broker may no longer accept bindings of this connection.
func (b *binder) stale() bool {
	return b.r.o.Username == "" && time.Since(b.opened) > tokenStale
}

// bind makes the binding. An error has closed the channel.
func (b *binder) bind(ctx context.Context) error {
	if b.binding == (Binding{}) {
		binding, err := b.r.o.Binding(ctx)
		if err != nil {
			return err
		}
		b.binding = binding
	}
	if b.ch == nil {
		ch, err := b.conn.Channel()
		if err != nil {
			return &closedError{brokerError("channel", err, b.r.o)}
		}
		b.ch = ch
	}
	if err := b.ch.QueueBind(b.queue.name, b.binding.RoutingKey, b.binding.Exchange, false, nil); err != nil {
		_ = b.ch.Close()
		b.ch = nil
		return brokerError("binding", err, b.r.o)
	}
	return nil
}

// closedError says that the connection is unusable, in the words of another error.
type closedError struct{ error }

func (e *closedError) Is(target error) bool { return target == amqp.ErrClosed }

// established tells everybody that announcements arrive from now on.
func (b *binder) established(late bool) {
	b.r.update(func(s *State) {
		s.Connected, s.LastError = true, ""
		if b.queue.note != nil {
			s.LastError = b.queue.note.Error()
		}
	})
	b.r.log.Info("listening for sessions", "queue", b.queue.name, "durable", !b.queue.exclusive, "waiting", b.queue.backlog, "bound_late", late)
	select {
	case b.gap <- struct{}{}:
	default: // one call is due already, and it begins after this moment
	}
}

// crowd warns when somebody else consumes our queue: announcements are then divided between the two.
func (b *binder) crowd() {
	if b.queue.exclusive || b.ch == nil {
		return
	}
	q, err := b.ch.QueueDeclarePassive(b.queue.name, true, false, false, false, nil)
	if err != nil {
		b.ch = nil // the queue has gone; the end of the subscription says so too
		return
	}
	if q.Consumers < 2 {
		b.crowded = 0
		return
	}
	// Once may be our own consumer of a connection that the broker has not yet noticed to be dead.
	if b.crowded++; b.crowded == 3 {
		b.r.log.Error("another process takes announcements from our queue: give every deployment its own INSTANCE", "queue", b.queue.name, "consumers", q.Consumers)
	}
}

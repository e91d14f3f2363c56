package rabbitmq

import (
	"context"
	"errors"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/session"
)

const (
	// assertEvery is how often the binding is made again although it should be there. It is also
	// the pause after a refusal that says nothing about the binding: each try costs the API
	// requests.
	assertEvery = time.Minute
	// maxBindPause bounds the time between two tries while there is no binding.
	maxBindPause = 5 * time.Second
	// askAgain is after how many failures SyncFlow is asked again where to bind.
	askAgain = 12
	// confirmTimeout bounds the question to SyncFlow's API whether the binding is still the right
	// one.
	confirmTimeout = 30 * time.Second
	// slow is how long an answer takes that the broker could not give by itself: the API stalls.
	slow = 5 * time.Second
	// tokenStale is the age of a connection from which on the broker may refuse a binding because
	// the project token that opened it has expired. (It may also not ask: it caches permissions
	// while a channel is busy.)
	tokenStale = 55 * time.Minute
)

// bindPauses are the pauses between two tries to bind, before the jitter.
var bindPauses = backoff.Policy{
	First: 500 * time.Millisecond, Max: maxBindPause, Jitter: backoff.None,
}

// bindingKeeper keeps a queue bound to SyncFlow's exchange.
//
// The exchange is not durable. When the broker restarts it is gone, with our binding, until the
// SyncFlow API restarts and declares it. Our connection is back before that, so we declare it, with
// the properties that SyncFlow gives it: announcements then reach the queue from the first one on.
// SyncFlow's own declaration succeeds as long as the properties are the same.
//
// The broker tells nobody when an exchange is deleted and declared again while the connection stays
// up, and the binding is lost then too. So it is made again every minute: queue.bind changes
// nothing where the binding exists.
//
// That the binding was lost while we were not connected shows in the canary: a transient exchange
// of our own, which nobody uses, and which a restart of the broker removes as it removes
// SyncFlow's.
type bindingKeeper struct {
	r      *Source
	conn   connection
	queue  queue
	opened time.Time

	ch             channel // nil after a refusal: the broker closes a channel with it
	canary         bool    // it exists
	fresh          bool    // the binding cannot be there: queue, exchange or broker are new
	bound          bool    // we have made the binding, and nothing contradicts it
	reported       bool    // State says that we are connected, and a resync was triggered
	logNext        bool    // the next failure is logged
	renew          bool    // SyncFlow has to be asked for the binding
	tries          int     // failures in a row
	extraConsumers int     // checks in a row that found more consumers than ours
}

// run returns when the connection has to be replaced; ctx ends with the connection.
func (b *bindingKeeper) run(ctx context.Context) error {
	b.logNext = true
	if err := b.findBinding(); err != nil {
		return err
	}
	for {
		if b.bound && b.stale() {
			// Nothing can be asserted any more. The connection is about to be renewed.
			if backoff.Sleep(ctx, assertEvery) != nil {
				return ctx.Err()
			}
			continue
		}
		begin := time.Now()
		err := b.bind(ctx)
		if err == nil {
			b.established(begin)
			err = b.confirm(ctx)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		pause := assertEvery
		if err != nil {
			if pause, err = b.failed(err, time.Since(begin)); err != nil {
				return err
			}
		} else {
			b.tries, b.logNext = 0, true
			b.checkConsumers()
		}
		if backoff.Sleep(ctx, pause) != nil {
			return ctx.Err()
		}
	}
}

// stale reports whether the broker may no longer accept bindings of this connection.
func (b *bindingKeeper) stale() bool {
	return b.r.o.Username == "" && time.Since(b.opened) > tokenStale
}

// findBinding finds out whether an earlier binding can still be there.
func (b *bindingKeeper) findBinding() error {
	if b.queue.exclusive {
		b.fresh = true
		return nil
	}
	ch, err := b.channel()
	if err != nil {
		return err
	}
	err = ch.ExchangeDeclarePassive(canaryOf(b.queue.name), amqp.ExchangeFanout, false, false,
		false, false, nil)
	switch {
	case err == nil:
		b.canary = true
	case code(err) == amqp.NotFound:
		b.ch = nil
	default:
		b.ch = nil
		return &closedError{brokerError("exchange", err, b.r.o)}
	}
	b.fresh = b.queue.created || !b.canary
	return nil
}

// canaryOf is the name of the canary of a queue; queues and exchanges have separate names.
func canaryOf(queue string) string { return queue + ".canary" }

// channel returns the channel on which the binding is made.
func (b *bindingKeeper) channel() (channel, error) {
	if b.ch == nil {
		ch, err := b.conn.Channel()
		if err != nil {
			return nil, &closedError{brokerError("channel", err, b.r.o)}
		}
		b.ch = ch
	}
	return b.ch, nil
}

// command sends a command. An error has closed the channel.
func (b *bindingKeeper) command(op string, command func(channel) error) error {
	ch, err := b.channel()
	if err != nil {
		return err
	}
	if err := command(ch); err != nil {
		_ = ch.Close()
		b.ch = nil
		return brokerError(op, err, b.r.o)
	}
	return nil
}

// bind makes the binding, and before it the exchange if that is missing.
func (b *bindingKeeper) bind(ctx context.Context) error {
	if b.r.binding == (Binding{}) || b.renew {
		binding, err := b.r.o.Binding(ctx)
		if err != nil {
			return err
		}
		b.r.binding, b.r.confirmed, b.renew = binding, b.conn, false
	}
	at := b.r.binding
	bind := func(ch channel) error {
		return ch.QueueBind(b.queue.name, at.RoutingKey, at.Exchange,
			false, nil)
	}
	err := b.command("binding", bind)
	if err == nil || code(err) != amqp.NotFound {
		return err
	}
	b.bound, b.fresh = false, true
	if strings.Contains(err.Error(), "no queue") {
		return &closedError{err}
	}
	declared := b.command("exchange", func(ch channel) error {
		return ch.ExchangeDeclare(at.Exchange, amqp.ExchangeTopic, false, false, false, false, nil)
	})
	// otherwise SyncFlow declared it first, with its own properties
	if declared != nil && code(declared) != amqp.PreconditionFailed {
		return errors.Join(err, declared)
	}
	if err := b.command("binding", bind); err != nil {
		return err
	}
	if declared == nil {
		b.r.exchangeMissing()
	}
	return nil
}

// confirm asks SyncFlow whether the binding of an earlier connection is still the right one, once
// for each connection: its configuration may name another exchange, and our device may be gone.
func (b *bindingKeeper) confirm(ctx context.Context) error {
	if b.r.confirmed == b.conn {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	binding, err := b.r.o.Binding(ctx)
	if err != nil {
		return err
	}
	b.r.confirmed = b.conn
	if binding == b.r.binding {
		return nil
	}
	b.r.binding, b.bound, b.fresh = binding, false, true
	begin := time.Now()
	if err := b.bind(ctx); err != nil {
		return err
	}
	b.established(begin)
	return nil
}

// closedError marks an error as one that makes the connection unusable.
type closedError struct{ error }

func (e *closedError) Is(target error) bool { return target == amqp.ErrClosed }

// failed decides what a failure means: the pause before the next try, or an error if the connection
// has to be replaced.
//
// Where an earlier binding may still be there, announcements continue to arrive. Then a failure to
// make it again is no reason to report that they do not, nor to send more requests to an API that
// stalls.
func (b *bindingKeeper) failed(err error, took time.Duration) (time.Duration, error) {
	b.tries++
	deaf := b.fresh && !b.bound
	switch {
	case !b.logNext:
	case deaf:
		b.r.log.Warn("the queue is not bound to SyncFlow's exchange; trying again", "queue",
			b.queue.name, "error", err)
	default:
		b.r.log.Warn("cannot bind the queue again; announcements still arrive",
			"queue", b.queue.name, "error", err)
	}
	b.logNext = false
	if errors.Is(err, amqp.ErrClosed) || deaf && b.stale() {
		return 0, err
	}
	if deaf {
		b.reported = false
		b.r.update(func(s *session.SourceState) { s.Connected, s.LastError = false, err.Error() })
	} else {
		b.report(err)
	}
	pause := bindPauses.Delay(b.tries)
	switch what := refusalOf(err); {
	case what == refusedTopic:
		b.renew = true // which registers our device
	case !deaf:
		return assertEvery, nil
	case took > slow:
		pause = max(pause, min(took, assertEvery))
	case b.tries%askAgain == 0:
		b.renew = true // there may be another exchange now
	}
	return b.r.jitter(pause), nil
}

// established handles a binding that was made; at is when we began to make it.
func (b *bindingKeeper) established(at time.Time) {
	if !b.fresh {
		b.r.heard(at)
	} else if b.r.lost(time.Now(), time.Time{}) {
		b.reported = false
	}
	if b.fresh || !b.bound {
		b.fresh, b.bound = false, true
		b.declareCanary()
	}
	b.report(nil)
}

// declareCanary declares the canary. Without it every connection counts as one after a restart of
// the broker.
func (b *bindingKeeper) declareCanary() {
	if b.queue.exclusive || b.canary {
		return
	}
	err := b.command("exchange", func(ch channel) error {
		return ch.ExchangeDeclare(canaryOf(b.queue.name), amqp.ExchangeFanout, false, false, false,
			false, nil)
	})
	if b.canary = err == nil; err != nil {
		b.r.log.Debug("a restart of the broker will not be noticed", "error", err)
	}
}

// report reports that announcements arrive. trouble, if not nil, is what is wrong nevertheless.
func (b *bindingKeeper) report(trouble error) {
	b.r.update(func(s *session.SourceState) {
		s.Connected, s.LastError = true, ""
		switch {
		case trouble != nil:
			s.LastError = trouble.Error()
		case b.queue.note != nil:
			s.LastError = b.queue.note.Error()
		}
	})
	if b.reported {
		return
	}
	b.reported = true
	b.r.log.Info("listening for sessions", "queue", b.queue.name, "durable", !b.queue.exclusive,
		"waiting", b.queue.backlog)
	b.r.triggerResync()
}

// checkConsumers warns when another process consumes our queue: announcements are then divided
// between the two.
func (b *bindingKeeper) checkConsumers() {
	if b.queue.exclusive || b.ch == nil {
		return
	}
	q, err := b.ch.QueueDeclarePassive(b.queue.name, true, false, false, false, nil)
	if err != nil {
		b.ch = nil // the queue is gone; the end of the subscription says so too
		return
	}
	if q.Consumers < 2 {
		b.extraConsumers = 0
		return
	}
	// One may be our own, of a connection that the broker has not yet noticed to be dead.
	if b.extraConsumers++; b.extraConsumers == 3 {
		b.r.log.Error("another process takes announcements from our queue: give every deployment "+
			"its own INSTANCE", "queue", b.queue.name, "consumers", q.Consumers)
	}
}

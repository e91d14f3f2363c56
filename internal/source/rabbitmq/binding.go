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
	// assertEvery is the interval at which the binding is made again even if it should exist. It is
	// also the pause after a refusal that says nothing about the binding, because each attempt
	// costs the API requests.
	assertEvery = time.Minute
	// maxBindPause bounds the pause between two attempts while there is no binding.
	maxBindPause = 5 * time.Second
	// askAgain is the number of failures after which the binding is requested from SyncFlow again.
	askAgain = 12
	// confirmTimeout bounds the request to SyncFlow's API that confirms the binding.
	confirmTimeout = 30 * time.Second
	// A broker that takes longer than slow to answer is waiting for SyncFlow's API, which stalls.
	slow = 5 * time.Second
	// tokenStale is the age of a connection from which on the broker may refuse a binding because
	// the project token that opened it has expired. (It may also accept the binding: it caches
	// permissions while a channel is busy.)
	tokenStale = 55 * time.Minute
)

// bindPauses are the pauses between two attempts to bind, before the jitter.
var bindPauses = backoff.Policy{
	First: 500 * time.Millisecond, Max: maxBindPause, Jitter: backoff.None,
}

// bindingKeeper keeps a queue bound to SyncFlow's exchange.
//
// The exchange is not durable. A restart of the broker removes it and our binding, and the SyncFlow
// API declares it again only when the API itself restarts. We reconnect before that, so we declare
// the exchange, with the properties that SyncFlow gives it: every announcement from the first one
// on then reaches the queue. SyncFlow's own declaration succeeds as long as the properties are the
// same.
//
// The broker sends no notification when an exchange is deleted and declared again while the
// connection stays up, which also removes the binding. The binding is therefore made again every
// minute: queue.bind changes nothing if it exists.
//
// The canary shows whether the binding was lost while we were not connected. It is a transient
// exchange of our own that nothing uses. A restart of the broker removes it together with
// SyncFlow's exchange.
type bindingKeeper struct {
	r      *Source
	conn   connection
	queue  queue
	opened time.Time

	ch             channel // nil after a refusal, which closes the channel
	canary         bool    // the canary exists
	fresh          bool    // no binding can exist yet: the queue, exchange or broker is new
	bound          bool    // the binding was made, and nothing contradicts it
	reported       bool    // State shows us as connected, and a resync was triggered
	logNext        bool    // the next failure is logged
	renew          bool    // the binding must be requested from SyncFlow
	tries          int     // consecutive failures
	extraConsumers int     // consecutive checks that found other consumers
}

// run keeps the queue bound until the connection must be replaced. ctx ends with the connection.
func (b *bindingKeeper) run(ctx context.Context) error {
	b.logNext = true
	if err := b.findBinding(); err != nil {
		return err
	}
	for {
		if b.bound && b.stale() {
			// The broker may refuse the binding now. The connection is about to be renewed.
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

// stale reports whether the broker may refuse bindings on this connection.
func (b *bindingKeeper) stale() bool {
	return b.r.o.Username == "" && time.Since(b.opened) > tokenStale
}

// findBinding determines whether an earlier binding can still exist.
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

// canaryOf returns the name of a queue's canary. Queues and exchanges have separate namespaces.
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

// command runs a command on the channel. An error closes the channel.
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

// bind makes the binding. If the exchange is missing, bind declares it first.
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
	// PreconditionFailed: SyncFlow declared it first, with its own properties.
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

// confirm requests the binding from SyncFlow, once for each connection, and binds again if it
// differs: SyncFlow may be configured with another exchange, and our device may be gone.
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

// failed handles a failure. It returns the pause before the next attempt, or an error if the
// connection must be replaced.
//
// While an earlier binding may still exist, announcements continue to arrive. A failure to make it
// again then does not change the state to disconnected, and is retried only after assertEvery, to
// spare an API that stalls.
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
		b.renew = true // the request registers our device
	case !deaf:
		return assertEvery, nil
	case took > slow:
		pause = max(pause, min(took, assertEvery))
	case b.tries%askAgain == 0:
		b.renew = true // there may be another exchange now
	}
	return b.r.jitter(pause), nil
}

// established records that the binding was made; at is when the attempt began.
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

// declareCanary declares the canary. Without it, every connection is treated as the first one after
// a restart of the broker.
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

// report reports that announcements arrive. trouble is a problem that does not prevent this, or
// nil.
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

// checkConsumers warns when another process consumes our queue, because each announcement then
// reaches only one of the two.
func (b *bindingKeeper) checkConsumers() {
	if b.queue.exclusive || b.ch == nil {
		return
	}
	q, err := b.ch.QueueDeclarePassive(b.queue.name, true, false, false, false, nil)
	if err != nil {
		b.ch = nil // the queue is gone, which also ends the subscription
		return
	}
	if q.Consumers < 2 {
		b.extraConsumers = 0
		return
	}
	// One may be our own, on a dead connection that the broker has not yet detected.
	if b.extraConsumers++; b.extraConsumers == 3 {
		b.r.log.Error("another process takes announcements from our queue: give every deployment "+
			"its own INSTANCE", "queue", b.queue.name, "consumers", q.Consumers)
	}
}

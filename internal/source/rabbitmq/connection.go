package rabbitmq

import (
	"context"
	"errors"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/syncflow/textegress/internal/session"
)

const (
	// prefetch bounds the announcements that are delivered and not yet acknowledged.
	prefetch = 32
	// renewal is the age at which a connection that was opened with a project token is replaced.
	// The token lasts an hour. After that, the connection stays up, but nothing can be declared or
	// bound on it, see bindingKeeper.
	renewal = 50 * time.Minute
	// renewalRetry is the pause after a renewal that failed. The old connection stays in use.
	renewalRetry = 5 * time.Minute
	// exclusiveRetry is how long an exclusive queue is used before a durable one is tried again.
	// The refusal may be due to a SyncFlow API that was down for a moment.
	exclusiveRetry = 15 * time.Minute
	// setupTimeout bounds the declarations of one connection. The broker may query SyncFlow's API
	// for each of them.
	setupTimeout = 2 * time.Minute
	// drainTimeout bounds the wait for running handlers before a connection closes, so that their
	// announcements can still be acknowledged.
	drainTimeout = 5 * time.Second
)

// errRenew ends a connection on purpose.
var errRenew = errors.New("the connection is renewed")

// runConnection runs one connection: it logs in (unless conn is already a connection), opens and
// consumes the queue, and keeps it bound. It returns when the connection must be replaced, with the
// reason and, if it is already open, the next connection.
func (r *Source) runConnection(ctx context.Context, conn connection, h *handlers) (next connection,
	err error,
) {
	if conn == nil {
		if conn, err = r.o.login(ctx, r.dial); err != nil {
			return nil, err
		}
	}
	opened := time.Now()
	ctx, cancel := context.WithCancel(ctx) // ends with the connection
	var wg sync.WaitGroup
	renewed := make(chan login, 1)
	defer func() {
		cancel()
		// also ends calls that wait for the broker
		_ = conn.CloseDeadline(time.Now().Add(closeTimeout))
		wg.Wait()
		select {
		case l := <-renewed:
			if l.conn != nil {
				next = l.conn
			}
		default:
		}
	}()
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	q, ch, deliveries, err := r.open(ctx, conn)
	if err != nil {
		return nil, err
	}
	channelClosed := ch.NotifyClose(make(chan *amqp.Error, 1))
	r.opened = true
	r.update(func(s *session.SourceState) { s.Queue, s.Exclusive = q.name, q.exclusive })

	b := &bindingKeeper{r: r, conn: conn, queue: q, opened: opened}
	unbindable := make(chan error, 1)
	wg.Go(func() { unbindable <- b.run(ctx) })

	var renew <-chan time.Time
	switch {
	case q.exclusive:
		renew = time.After(exclusiveRetry)
	case r.o.Username == "":
		renew = time.After(renewal)
	}
	for backlog := q.backlog; ; {
		select {
		case d, ok := <-deliveries:
			if !ok {
				// A reason follows on closed or channelClosed, unless the broker cancelled the
				// consumer.
				select {
				case e := <-closed:
					return nil, r.closeError("connection", e)
				case e := <-channelClosed:
					return nil, r.closeError("channel", e)
				case <-time.After(time.Second):
					return nil, &BrokerError{
						Addr: r.o.addr(), Op: "consume",
						Reason: "the broker ended our subscription: the queue was deleted, or " +
							"its node went down",
					}
				}
			}
			h.deliver(ctx, d, backlog > 0)
			if backlog == 0 && !d.Redelivered {
				r.announcesAgain()
			}
			backlog = max(0, backlog-1)
		case e := <-closed:
			return nil, r.closeError("connection", e)
		case e := <-channelClosed:
			return nil, r.closeError("channel", e)
		case err := <-unbindable:
			if ctx.Err() == nil {
				return nil, err
			}
			unbindable = nil
		case <-renew:
			if q.exclusive {
				return nil, errRenew
			}
			wg.Go(func() { // the old connection serves until the new one is open
				c, err := r.o.login(ctx, r.dial)
				renewed <- login{c, err}
			})
		case l := <-renewed:
			if l.err != nil {
				r.log.Debug("cannot renew the connection to the broker; the old one stays",
					"error", l.err)
				renew = time.After(renewalRetry)
				continue
			}
			h.waitIdle(ctx, drainTimeout)
			return l.conn, errRenew
		case <-ctx.Done():
			h.waitIdle(context.WithoutCancel(ctx),
				drainTimeout) // handled announcements are still acknowledged
			return nil, ctx.Err()
		}
	}
}

type login struct {
	conn connection
	err  error
}

// open opens the queue and starts to consume it.
func (r *Source) open(ctx context.Context, conn connection) (queue, channel, <-chan amqp.Delivery,
	error,
) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.CloseDeadline(time.Now().Add(closeTimeout)) })
	defer stop()
	q, ch, err := openQueue(conn, r.o)
	if err != nil {
		return queue{}, nil, nil, err
	}
	switch {
	case q.exclusive:
		r.log.Warn("the broker refuses a durable queue: announcements are lost while this "+
			"service is not connected, and sessions are then found by asking SyncFlow", "queue",
			q.name, "error", q.note)
	case q.note != nil:
		r.log.Warn("the queue exists with other properties than this version gives it; using it "+
			"as it is", "queue", q.name, "error", q.note)
	}
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return queue{}, nil, nil, brokerError("consume", err, r.o)
	}
	// Not an exclusive consumer: after a network failure the broker takes a minute to detect that
	// the old one is dead, and would refuse the new one until then.
	deliveries, err := ch.Consume(q.name, "textegress-"+r.o.Instance, false, false, false, false,
		nil)
	if err != nil {
		return queue{}, nil, nil, brokerError("consume", err, r.o)
	}
	return q, ch, deliveries, nil
}

// closeError returns the error for a close notification. nil is an orderly end that we did not
// request.
func (r *Source) closeError(what string, e *amqp.Error) error {
	if e == nil {
		return &BrokerError{Addr: r.o.addr(), Op: what, Reason: "closed"}
	}
	return brokerError(what, e, r.o)
}

package rabbitmq

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

type fakeChannel struct {
	c        *fakeConn
	dead     bool
	notify   []chan *amqp.Error
	consumer *fakeConsumer
	limit    int
	tag      uint64
}

func (ch *fakeChannel) end(e *amqp.Error) {
	if ch.dead {
		return
	}
	ch.dead = true
	if ch.consumer != nil {
		ch.consumer.end()
	}
	for _, n := range ch.notify {
		if e != nil {
			n <- e
		}
		close(n)
	}
}

// refuse closes the channel as the broker does, and returns the reason.
func (ch *fakeChannel) refuse(code int, reason string) error {
	e := &amqp.Error{Code: code, Reason: reason, Server: true}
	ch.end(e)
	return e
}

// lock begins a command.
func (ch *fakeChannel) lock() (unlock func(), err error) {
	ch.c.b.mu.Lock()
	if ch.dead || ch.c.dead {
		ch.c.b.mu.Unlock()
		return nil, amqp.ErrClosed
	}
	return ch.c.b.mu.Unlock, nil
}

func (ch *fakeChannel) Qos(n, _ int, _ bool) error { ch.limit = n; return nil }

func (ch *fakeChannel) QueueDeclare(name string, durable, _, exclusive, _ bool,
	args amqp.Table,
) (amqp.Queue, error) {
	unlock, err := ch.lock()
	if err != nil {
		return amqp.Queue{}, err
	}
	defer unlock()
	b := ch.c.b
	if e := b.refuseDurable; e != nil && durable {
		return amqp.Queue{}, ch.refuse(e.Code, e.Reason)
	}
	q := b.queues[name]
	switch {
	case q == nil:
		q = &fakeQueue{name: name, durable: durable, args: args}
		if exclusive {
			q.owner = ch.c
		}
		b.queues[name] = q
	case q.owner != nil && q.owner != ch.c:
		return amqp.Queue{}, ch.refuse(amqp.ResourceLocked, "RESOURCE_LOCKED")
	case fmt.Sprint(q.args) != fmt.Sprint(args) || q.durable != durable:
		return amqp.Queue{}, ch.refuse(amqp.PreconditionFailed,
			"PRECONDITION_FAILED - inequivalent arg")
	}
	return amqp.Queue{Name: name, Messages: len(q.ready), Consumers: len(q.consumers) + q.others},
		nil
}

func (ch *fakeChannel) QueueDeclarePassive(name string, _, _, _, _ bool, _ amqp.Table) (amqp.Queue,
	error,
) {
	unlock, err := ch.lock()
	if err != nil {
		return amqp.Queue{}, err
	}
	defer unlock()
	q := ch.c.b.queues[name]
	if q == nil {
		return amqp.Queue{}, ch.refuse(amqp.NotFound, "NOT_FOUND - no queue")
	}
	return amqp.Queue{Name: name, Messages: len(q.ready), Consumers: len(q.consumers) + q.others},
		nil
}

func (ch *fakeChannel) QueueBind(name, key, exchange string, _ bool, _ amqp.Table) error {
	unlock, err := ch.lock()
	if err != nil {
		return err
	}
	defer unlock()
	b := ch.c.b
	b.tried++
	q := b.queues[name]
	switch {
	case b.refuseBind != nil:
		return ch.refuse(b.refuseBind.Code, b.refuseBind.Reason)
	case q == nil:
		return ch.refuse(amqp.NotFound, "NOT_FOUND - no queue")
	case b.canaries[exchange]: // exists, and nobody publishes there
		return nil
	case !b.exchange || exchange != testExchange:
		return ch.refuse(amqp.NotFound, "NOT_FOUND - no exchange '"+exchange+
			"' in vhost 'syncflow'")
	}
	q.bound = true
	b.binds++
	return nil
}

func (ch *fakeChannel) ExchangeDeclare(name, kind string, durable, autoDelete, internal, _ bool,
	_ amqp.Table,
) error {
	unlock, err := ch.lock()
	if err != nil {
		return err
	}
	defer unlock()
	b := ch.c.b
	if e := b.refuseExchange; e != nil {
		return ch.refuse(e.Code, e.Reason)
	}
	if name != testExchange {
		b.canaries[name] = true
		return nil
	}
	if kind != "topic" || durable || autoDelete || internal {
		return ch.refuse(amqp.PreconditionFailed, "PRECONDITION_FAILED - inequivalent arg")
	}
	b.exchange = true
	b.declares++
	return nil
}

func (ch *fakeChannel) ExchangeDeclarePassive(name, _ string, _, _, _, _ bool, _ amqp.Table) error {
	unlock, err := ch.lock()
	if err != nil {
		return err
	}
	defer unlock()
	b := ch.c.b
	if name == testExchange && b.exchange || b.canaries[name] {
		return nil
	}
	return ch.refuse(amqp.NotFound, "NOT_FOUND - no exchange '"+name+"'")
}

func (ch *fakeChannel) ExchangeDelete(name string, _, _ bool) error {
	unlock, err := ch.lock()
	if err != nil {
		return err
	}
	defer unlock()
	delete(ch.c.b.canaries, name)
	return nil
}

func (ch *fakeChannel) QueueDelete(name string, ifUnused, _, _ bool) (int, error) {
	unlock, err := ch.lock()
	if err != nil {
		return 0, err
	}
	defer unlock()
	q := ch.c.b.queues[name]
	if q == nil {
		return 0, nil
	}
	if ifUnused && len(q.consumers) > 0 {
		return 0, ch.refuse(amqp.PreconditionFailed, "PRECONDITION_FAILED - queue in use")
	}
	delete(ch.c.b.queues, name)
	return len(q.ready), nil
}

func (ch *fakeChannel) Consume(name, _ string, _, _, _, _ bool, _ amqp.Table) (<-chan amqp.Delivery,
	error,
) {
	unlock, err := ch.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	q := ch.c.b.queues[name]
	if q == nil {
		return nil, ch.refuse(amqp.NotFound, "NOT_FOUND - no queue")
	}
	ch.consumer = &fakeConsumer{
		ch: ch, q: q, out: make(chan amqp.Delivery, 1000),
		unacked: map[uint64]fakeMessage{}, limit: ch.limit,
	}
	q.consumers = append(q.consumers, ch.consumer)
	q.pump()
	return ch.consumer.out, nil
}

func (ch *fakeChannel) NotifyClose(n chan *amqp.Error) chan *amqp.Error {
	ch.c.b.mu.Lock()
	defer ch.c.b.mu.Unlock()
	ch.notify = append(ch.notify, n)
	return n
}

func (ch *fakeChannel) Close() error {
	ch.c.b.mu.Lock()
	defer ch.c.b.mu.Unlock()
	ch.end(nil)
	return nil
}

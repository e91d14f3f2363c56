package rabbitmq

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const testExchange = "notifier"

// fakeBroker models what matters of RabbitMQ: queues with messages and bindings, an exchange that
// can vanish with all bindings, refusals that close a channel, and connections that can be cut.
type fakeBroker struct {
	mu       sync.Mutex
	exchange bool
	queues   map[string]*fakeQueue
	conns    []*fakeConn
	users    []string // of every login, as sent
	binds    int      // accepted queue.bind commands

	refuseLogin   *amqp.Error
	refuseDurable *amqp.Error
	refuseBind    *amqp.Error
	silent        bool // logins hang

	refuseExchange *amqp.Error
	refuseAfter    time.Duration   // how long a refused login or binding takes
	canaries       map[string]bool // exchanges of ours
	declares       int             // of SyncFlow's exchange, by us
	tried          int             // queue.bind commands, also refused ones
}

type fakeQueue struct {
	name      string
	durable   bool
	args      amqp.Table
	owner     *fakeConn // of an exclusive queue
	bound     bool
	ready     []fakeMessage
	consumers []*fakeConsumer
	others    int // consumers of somebody else
}

type fakeMessage struct {
	body        string
	redelivered bool
}

type fakeConsumer struct {
	ch      *fakeChannel
	q       *fakeQueue
	out     chan amqp.Delivery
	unacked map[uint64]fakeMessage
	limit   int
	ended   bool
}

type fakeConn struct {
	b        *fakeBroker
	dead     bool
	notify   []chan *amqp.Error
	channels []*fakeChannel
}

func newFakeBroker() *fakeBroker {
	return &fakeBroker{exchange: true, queues: map[string]*fakeQueue{}, canaries: map[string]bool{}}
}

func (b *fakeBroker) dial(ctx context.Context, _ Options, user,
	password string,
) (connection, error) {
	b.mu.Lock()
	silent := b.silent
	b.users = append(b.users, user+":"+password)
	b.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	b.mu.Lock()
	wait := b.refuseAfter
	if b.refuseLogin == nil {
		wait = 0
	}
	b.mu.Unlock()
	time.Sleep(wait)
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.refuseLogin; e != nil {
		return nil, &amqp.Error{
			Code: e.Code, Reason: strings.ReplaceAll(e.Reason, "USER", user),
			Server: true,
		}
	}
	c := &fakeConn{b: b}
	b.conns = append(b.conns, c)
	return c, nil
}

// publish sends a message to every bound queue.
func (b *fakeBroker) publish(body string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.queues {
		if q.bound && b.exchange {
			q.ready = append(q.ready, fakeMessage{body: body})
			q.pump()
		}
	}
}

// restart loses all connections, the exchange, its bindings and transient messages, as a restart of
// RabbitMQ does.
func (b *fakeBroker) restart() {
	b.cut()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.exchange = false
	clear(b.canaries)
	for _, q := range b.queues {
		q.bound, q.ready = false, nil
	}
}

// cut ends all connections.
func (b *fakeBroker) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		c.end(&amqp.Error{
			Code:   amqp.ConnectionForced,
			Reason: "CONNECTION_FORCED - broker forced connection closure", Server: true,
		})
	}
}

// redeclare deletes the exchange and declares it again while connections stay up: nobody is told
// that bindings are gone.
func (b *fakeBroker) redeclare() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.queues {
		q.bound = false
	}
	b.exchange = true
}

// deleteQueue deletes a queue under its consumers.
func (b *fakeBroker) deleteQueue(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[name]
	delete(b.queues, name)
	for _, k := range q.consumers {
		k.end()
	}
}

func (b *fakeBroker) set(f func()) { b.mu.Lock(); defer b.mu.Unlock(); f() }

func (b *fakeBroker) logins() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.users)
}

func (b *fakeBroker) attempts() int { b.mu.Lock(); defer b.mu.Unlock(); return b.tried }

func (b *fakeBroker) declared() int { b.mu.Lock(); defer b.mu.Unlock(); return b.declares }

func (b *fakeBroker) bound() int { b.mu.Lock(); defer b.mu.Unlock(); return b.binds }

// held is the number of messages that the broker still has, delivered or not.
func (b *fakeBroker) held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, q := range b.queues {
		n += len(q.ready)
		for _, k := range q.consumers {
			n += len(k.unacked)
		}
	}
	return n
}

func (b *fakeBroker) only() *fakeQueue {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.queues {
		return q
	}
	return nil
}

func (b *fakeBroker) open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, c := range b.conns {
		if !c.dead {
			n++
		}
	}
	return n
}

// pump delivers what the consumers take.
func (q *fakeQueue) pump() {
	for _, k := range q.consumers {
		for !k.ended && len(q.ready) > 0 && len(k.unacked) < k.limit {
			m := q.ready[0]
			q.ready = q.ready[1:]
			k.ch.tag++
			k.unacked[k.ch.tag] = m
			k.out <- amqp.Delivery{
				Acknowledger: k, DeliveryTag: k.ch.tag,
				Redelivered: m.redelivered, Body: []byte(m.body),
			}
		}
	}
}

func (k *fakeConsumer) end() {
	if k.ended {
		return
	}
	k.ended = true
	close(k.out)
	var back []fakeMessage
	for _, tag := range sortedKeys(k.unacked) {
		m := k.unacked[tag]
		m.redelivered = true
		back = append(back, m)
	}
	k.unacked = nil
	k.q.ready = append(back, k.q.ready...)
	k.q.consumers = slices.DeleteFunc(k.q.consumers, func(o *fakeConsumer) bool { return o == k })
	k.q.pump()
}

func sortedKeys(m map[uint64]fakeMessage) []uint64 {
	var out []uint64
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (k *fakeConsumer) settle(tag uint64, requeue bool) error {
	k.q.ownerBroker(k).Lock()
	defer k.q.ownerBroker(k).Unlock()
	m, ok := k.unacked[tag]
	if k.ended || !ok {
		return amqp.ErrClosed
	}
	delete(k.unacked, tag)
	if requeue {
		m.redelivered = true
		k.q.ready = append([]fakeMessage{m}, k.q.ready...)
	}
	k.q.pump()
	return nil
}

func (q *fakeQueue) ownerBroker(k *fakeConsumer) *sync.Mutex { return &k.ch.c.b.mu }

func (k *fakeConsumer) Ack(tag uint64, _ bool) error           { return k.settle(tag, false) }
func (k *fakeConsumer) Nack(tag uint64, _, requeue bool) error { return k.settle(tag, requeue) }
func (k *fakeConsumer) Reject(tag uint64, requeue bool) error  { return k.settle(tag, requeue) }

func (c *fakeConn) end(e *amqp.Error) {
	if c.dead {
		return
	}
	c.dead = true
	for _, ch := range c.channels {
		ch.end(e)
	}
	for name, q := range c.b.queues {
		if q.owner == c {
			delete(c.b.queues, name)
		}
	}
	for _, n := range c.notify {
		if e != nil {
			n <- e
		}
		close(n)
	}
}

func (c *fakeConn) Channel() (channel, error) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.dead {
		return nil, amqp.ErrClosed
	}
	ch := &fakeChannel{c: c}
	c.channels = append(c.channels, ch)
	return ch, nil
}

func (c *fakeConn) NotifyClose(n chan *amqp.Error) chan *amqp.Error {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.notify = append(c.notify, n)
	return n
}

func (c *fakeConn) CloseDeadline(time.Time) error {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.end(nil)
	return nil
}

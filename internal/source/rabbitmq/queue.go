package rabbitmq

import (
	"crypto/rand"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// queueExpiry is how long a queue outlives its last consumer. After two weeks nobody waits for
	// its sessions any more.
	queueExpiry = 14 * 24 * time.Hour
	// queueLength bounds a queue that nobody empties; the oldest announcements go first, their
	// sessions are over first.
	queueLength = 10000
)

// QueueName is the name of the durable queue of one deployment for one project. The instance keeps
// two deployments of the same project from taking each other's announcements.
func QueueName(projectID, group, instance string) string {
	return "textegress." + projectID + "." + group + "." + instance
}

// queueArguments must never change: a queue cannot be declared again with others.
func queueArguments() amqp.Table {
	return amqp.Table{
		// named, or a change of the vhost's default would change the arguments
		"x-queue-type": "classic",
		"x-expires":    queueExpiry.Milliseconds(),
		"x-max-length": int64(queueLength),
		"x-overflow":   "drop-head",
	}
}

// queue is the queue of one connection.
type queue struct {
	name      string
	exclusive bool
	created   bool  // it was not there before this connection
	backlog   int   // messages that were waiting when it was opened
	note      error // why it is not the queue we wanted, nil if it is
}

// openQueue makes sure that our queue exists, and returns it with the channel on which it was done.
// A channel does not survive a refusal, hence the several.
//
// A queue that exists is found passively first: the broker asks SyncFlow's API about a declaration,
// and refuses it while the API does not answer, but not about that.
//
// What the broker can answer to a declaration:
//   - it has the queue or makes it;
//   - 406: a queue of this name has other properties, left by another version or made by hand. It
//     may
//     hold announcements, so it is used as it is;
//   - a refusal (403, 405, 540): an exclusive queue takes its place. Then announcements are lost
//     while
//     we are away, which is a [session.Gap].
func openQueue(c connection, o Options) (queue, channel, error) {
	name := QueueName(o.ProjectID, o.Group, o.Instance)
	ch, err := c.Channel()
	if err != nil {
		return queue{}, nil, brokerError("channel", err, o)
	}
	found, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
	switch {
	case err == nil:
		q := queue{name: found.Name, backlog: found.Messages}
		q.note, err = otherProperties(c, o, name)
		return q, ch, err
	case code(err) != amqp.NotFound && code(err) != amqp.ResourceLocked:
		return queue{}, nil, brokerError("queue", err, o)
	}
	if ch, err = c.Channel(); err != nil {
		return queue{}, nil, brokerError("channel", err, o)
	}
	q, err := ch.QueueDeclare(name, true, false, false, false, queueArguments())
	if err == nil {
		return queue{name: q.Name, created: true, backlog: q.Messages}, ch, nil
	}
	refusal := brokerError("queue", err, o)
	switch code(refusal) {
	case amqp.AccessRefused, amqp.ResourceLocked, amqp.NotImplemented:
	default:
		return queue{}, nil, refusal
	}
	if ch, err = c.Channel(); err != nil {
		return queue{}, nil, brokerError("channel", err, o)
	}
	// Named by us: RabbitMQ offers names of its own only to users that may configure amq.gen-*.
	q, err = ch.QueueDeclare(name+".exclusive-"+strings.ToLower(rand.Text()[:8]), false, true, true,
		false, nil)
	if err != nil {
		return queue{}, nil, brokerError("queue", err, o)
	}
	return queue{name: q.Name, exclusive: true, note: refusal}, ch, nil
}

// otherProperties returns what is wrong with the properties of an existing queue, nil if nothing is
// or the broker does not say.
func otherProperties(c connection, o Options, name string) (note, err error) {
	ch, err := c.Channel()
	if err != nil {
		return nil, brokerError("channel", err, o)
	}
	_, err = ch.QueueDeclare(name, true, false, false, false, queueArguments())
	if err == nil {
		_ = ch.Close()
		return nil, nil
	}
	if refusal := brokerError("queue", err, o); code(refusal) == amqp.PreconditionFailed {
		return refusal, nil
	}
	return nil, nil
}

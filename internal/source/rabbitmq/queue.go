package rabbitmq

import (
	"crypto/rand"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// queueExpiry is how long a queue outlives its last consumer. After two weeks its announcements
	// are of no use.
	queueExpiry = 14 * 24 * time.Hour
	// queueLength bounds a queue that has no consumer. The oldest announcements are dropped first,
	// because their sessions end first.
	queueLength = 10000
)

// QueueName is the name of the durable queue of one deployment for one project. The instance keeps
// two deployments of the same project from taking each other's announcements.
func QueueName(projectID, group, instance string) string {
	return "textegress." + projectID + "." + group + "." + instance
}

// queueArguments must never change: a queue cannot be declared again with different arguments.
func queueArguments() amqp.Table {
	return amqp.Table{
		// explicit, because a change of the vhost's default would change the arguments
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
	created   bool  // it did not exist before this connection
	backlog   int   // messages in it when it was opened
	note      error // why it is not the intended queue, nil if it is
}

// openQueue ensures that our queue exists. It returns the queue and the channel on which it was
// found or declared. A refusal closes its channel, so the function may open several.
//
// openQueue first looks for an existing queue with a passive declaration, which the broker answers
// by itself. For any other declaration the broker queries SyncFlow's API, and refuses while the API
// does not answer.
//
// The broker can answer a declaration in three ways:
//   - The queue exists or is created.
//   - 406: a queue of this name has other properties, left by another version or created by hand.
//     It may hold announcements, so it is used as it is.
//   - A refusal (403, 405, 540): an exclusive queue takes its place. Announcements are then lost
//     while we are not connected, which is a [session.Gap].
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
	// The name is ours: RabbitMQ generates names only for users that may configure amq.gen-*.
	q, err = ch.QueueDeclare(name+".exclusive-"+strings.ToLower(rand.Text()[:8]), false, true, true,
		false, nil)
	if err != nil {
		return queue{}, nil, brokerError("queue", err, o)
	}
	return queue{name: q.Name, exclusive: true, note: refusal}, ch, nil
}

// otherProperties returns how the properties of an existing queue differ from ours, nil if they do
// not or the broker does not say.
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

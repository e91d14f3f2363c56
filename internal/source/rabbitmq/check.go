package rabbitmq

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// CheckResult is the outcome of one stage of Check.
type CheckResult struct {
	Stage   string // "login", "queue" or "binding"
	OK      bool
	Skipped bool // not tried because an earlier stage failed
	// the finding, or the error with the broker's host and port; no secrets
	Detail string
	// TokenRefused: the broker was reached, but refused the project token after querying SyncFlow.
	TokenRefused bool
}

// Check tries the stages of Run and reports the result of each: log in, declare a queue, bind it.
// It leaves nothing at the broker: the queue that it declares is exclusive to its connection.
// (o.Binding may register our device with SyncFlow, as in Run.)
func Check(ctx context.Context, o Options) []CheckResult { return check(ctx, o, dial) }

func check(ctx context.Context, o Options, d dialer) []CheckResult {
	results := []CheckResult{
		{Stage: "login", Skipped: true},
		{Stage: "queue", Skipped: true},
		{Stage: "binding", Skipped: true},
	}
	end := func(i int, detail string, err error) bool {
		results[i] = CheckResult{Stage: results[i].Stage, OK: err == nil, Detail: detail}
		if err != nil {
			results[i].Detail = err.Error()
			results[i].TokenRefused = o.Username == "" && results[i].Stage == "login" &&
				code(err) == amqp.AccessRefused
		}
		return err == nil
	}
	conn, err := o.login(ctx, d)
	how := "as user " + o.Username
	if o.Username == "" {
		how = "with the project token"
	}
	if !end(0, fmt.Sprintf("%s to %s:%d, virtual host %s", how, o.Host, o.Port, o.VHost), err) {
		return results
	}
	defer func() { _ = conn.CloseDeadline(time.Now().Add(closeTimeout)) }()
	stop := context.AfterFunc(ctx, func() { _ = conn.CloseDeadline(time.Now().Add(closeTimeout)) })
	defer stop()

	name := QueueName(o.ProjectID, o.Group, o.Instance)
	temporary := name + ".check-" + strings.ToLower(rand.Text()[:8])
	detail, err := checkQueue(conn, o, name, temporary)
	if !end(1, detail, err) {
		return results
	}
	b, err := o.Binding(ctx)
	if err == nil {
		var ch channel
		if ch, err = conn.Channel(); err == nil {
			err = brokerError("binding", ch.QueueBind(temporary, b.RoutingKey, b.Exchange, false,
				nil), o)
		} else {
			err = brokerError("channel", err, o)
		}
	}
	end(2, fmt.Sprintf("exchange %s, routing key %s", b.Exchange, b.RoutingKey), err)
	return results
}

// checkQueue declares the temporary queue and inspects the durable one.
func checkQueue(conn connection, o Options, name, temporary string) (string, error) {
	ch, err := conn.Channel()
	if err != nil {
		return "", brokerError("channel", err, o)
	}
	if _, err := ch.QueueDeclare(temporary, false, true, true, false, nil); err != nil {
		return "", brokerError("queue", err, o)
	}
	q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
	switch {
	case err == nil && q.Consumers > 0:
		return fmt.Sprintf("%s exists and is in use, %d announcements wait", name, q.Messages), nil
	case err == nil:
		return fmt.Sprintf("%s exists and nobody uses it, %d announcements wait", name, q.Messages),
			nil
	case code(err) == amqp.NotFound:
		return fmt.Sprintf("queues may be declared; %s does not exist yet", name), nil
	case code(err) == amqp.ResourceLocked:
		return "", brokerError("queue", err, o)
	}
	return fmt.Sprintf("queues may be declared; %s could not be looked at", name), nil
}

// ErrQueueInUse is returned by DeleteQueue while the queue has a consumer.
var ErrQueueInUse = errors.New("the queue is in use: stop the service first")

// DeleteQueue deletes the canary and the durable queue with its announcements, for a deployment
// that is retired. Otherwise the broker deletes the queue two weeks after its last use. A queue
// that does not exist is not an error.
func DeleteQueue(ctx context.Context, o Options) error { return deleteQueue(ctx, o, dial) }

func deleteQueue(ctx context.Context, o Options, d dialer) error {
	conn, err := o.login(ctx, d)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseDeadline(time.Now().Add(closeTimeout)) }()
	stop := context.AfterFunc(ctx, func() { _ = conn.CloseDeadline(time.Now().Add(closeTimeout)) })
	defer stop()
	ch, err := conn.Channel()
	if err != nil {
		return brokerError("channel", err, o)
	}
	_, err = ch.QueueDelete(QueueName(o.ProjectID, o.Group, o.Instance), true, false, false)
	switch {
	case code(err) == amqp.PreconditionFailed:
		return ErrQueueInUse
	case code(err) == amqp.NotFound:
		if ch, err = conn.Channel(); err != nil {
			return brokerError("channel", err, o)
		}
	case err != nil:
		return brokerError("queue", err, o)
	}
	if err := ch.ExchangeDelete(canaryOf(QueueName(o.ProjectID, o.Group, o.Instance)), false,
		false); err != nil && code(err) != amqp.NotFound {
		return brokerError("exchange", err, o)
	}
	return nil
}

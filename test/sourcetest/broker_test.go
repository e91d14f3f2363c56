package sourcetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/syncflow/textegress/test/stack"
)

// The tests of this file hold no code of ours to account. They state what internal/source/rabbitmq
// relies on the broker to do, so that a version of RabbitMQ that behaves differently is noticed.

// TestBrokerRefusesBindingsOfAnExpiredToken is why connections are renewed before their token
// expires.
func TestBrokerRefusesBindingsOfAnExpiredToken(t *testing.T) {
	p := project()
	if _, err := api(t, p).EnsureDevice(t.Context(), "text-egress",
		stack.DeviceGroup); err != nil {
		t.Fatal(err)
	}
	claims := p.Claims()
	expires := time.Now().Add(3 * time.Second)
	claims["exp"] = expires.Unix()
	token, err := p.Token(claims)
	if err != nil {
		t.Fatal(err)
	}
	c, err := servers.RabbitMQ.DialAs(token, stack.DeviceGroup)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bind := func() error {
		ch, err := c.Channel()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ch.QueueDeclare("textegress.facts", false, true, true, false,
			nil); err != nil {
			return err
		}
		return ch.QueueBind("textegress.facts", p.ID+"."+stack.DeviceGroup, stack.Exchange,
			false, nil)
	}
	if err := bind(); err != nil {
		t.Fatalf("with a valid token: %v", err)
	}
	time.Sleep(time.Until(expires) + 1500*time.Millisecond) // the passing of time is what is tested
	err = bind()
	if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Code != amqp.AccessRefused {
		t.Errorf("with an expired token: %v, want 403", err)
	}
	if c.IsClosed() {
		t.Error("the connection was closed")
	}
}

// TestBrokerDropsBindingsSilently is why the binding is asserted again and again: an exchange that
// is deleted and declared again has lost it, and the consumer hears nothing of that.
func TestBrokerDropsBindingsSilently(t *testing.T) {
	c, err := servers.RabbitMQ.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	const x = "textegress.facts.exchange"
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	declare := func() {
		must(ch.ExchangeDeclare(x, amqp.ExchangeTopic, false, false, false, false,
			nil))
	}
	declare()
	_, err = ch.QueueDeclare("textegress.facts.queue", true, true, false, false, nil)
	must(err)
	must(ch.QueueBind("textegress.facts.queue", "k", x, false, nil))
	deliveries, err := ch.Consume("textegress.facts.queue", "", true, false, false, false, nil)
	must(err)
	must(ch.ExchangeDelete(x, false, false))
	declare()
	must(ch.PublishWithContext(t.Context(), x, "k", false, false,
		amqp.Publishing{Body: []byte("lost")}))
	must(ch.QueueBind("textegress.facts.queue", "k", x, false, nil))
	must(ch.QueueBind("textegress.facts.queue", "k", x, false, nil)) // twice is once
	must(ch.PublishWithContext(t.Context(), x, "k", false, false,
		amqp.Publishing{Body: []byte("heard")}))
	must(ch.PublishWithContext(t.Context(), x, "k", false, false,
		amqp.Publishing{Body: []byte("last")}))
	for _, want := range []string{"heard", "last"} {
		select {
		case d := <-deliveries:
			if string(d.Body) != want {
				t.Errorf("%q, want %q", d.Body, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("nothing is delivered")
		}
	}
	must(ch.ExchangeDelete(x, false, false))
}

// TestBrokerTellsWhyABindingIsRefused is how a SyncFlow API that does not answer the broker is told
// from a group without a device.
func TestBrokerTellsWhyABindingIsRefused(t *testing.T) {
	p := project()
	if _, err := api(t, p).EnsureDevice(t.Context(), "text-egress",
		stack.DeviceGroup); err != nil {
		t.Fatal(err)
	}
	token, err := p.Token(p.Claims())
	if err != nil {
		t.Fatal(err)
	}
	c, err := servers.RabbitMQ.DialAs(token, stack.DeviceGroup)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	declared, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := declared.QueueDeclare("textegress.reasons", false, true, true, false,
		nil); err != nil {
		t.Fatal(err)
	}
	bind := func(group, want string) {
		t.Helper()
		ch, err := c.Channel()
		if err != nil {
			t.Fatal(err)
		}
		err = ch.QueueBind("textegress.reasons", p.ID+"."+group, stack.Exchange, false, nil)
		if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Code != amqp.AccessRefused ||
			!strings.Contains(e.Reason, want) {
			t.Errorf("%v, want 403 and %q", err, want)
		}
	}
	bind("no-such-group", "access to topic")
	if err := servers.SyncFlow.Control(t.Context(),
		stack.Settings{Fail: map[string]stack.Fault{"/rmq/auth/resource": {
			Status: 500,
			Times:  100,
		}}}); err != nil {
		t.Fatal(err)
	}
	bind(stack.DeviceGroup, "access to queue")
	if err := servers.SyncFlow.ResetControl(t.Context()); err != nil {
		t.Fatal(err)
	}
}

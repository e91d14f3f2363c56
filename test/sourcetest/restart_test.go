package sourcetest

import (
	"context"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/syncflow/textegress/internal/source/rabbitmq"
	"github.com/syncflow/textegress/test/stack"
)

// restartBroker kills the broker and starts it again. SyncFlow's exchange, and the API's
// connection, are gone after that.
func restartBroker(t *testing.T, l *listener) {
	t.Helper()
	if err := servers.RabbitMQ.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the loss is noticed", func() bool { return !l.State().Connected })
	if err := servers.RabbitMQ.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestZBrokerRestart is one of the last: it kills the broker, which loses the exchange until
// SyncFlow declares it again. We declare it before, as SyncFlow does, so that the first
// announcement reaches us.
func TestZBrokerRestart(t *testing.T) {
	ctx := t.Context()
	o := options(t, "restart")
	o.Memory = &memory{}
	l := listen(t, o)
	l.ready()
	killed := time.Now()
	restartBroker(t, l)
	up := time.Now()
	l.ready()
	t.Logf("bound %v after the broker was up", time.Since(up).Round(time.Millisecond))
	l.covers(killed)
	if s := l.State(); s.Silent.IsZero() {
		t.Errorf("SyncFlow announces nothing, and the state does not say so: %+v", s)
	}
	announces := func(want bool) {
		t.Helper()
		if got, err := api(t, project()).Announces(ctx, stack.DeviceGroup); got != want {
			t.Errorf("SyncFlow announces: %v (%v), want %v", got, err, want)
		}
	}
	announces(false)
	// The API is restarted, and a session is created in the moment it is there.
	if err := servers.SyncFlow.Redeclare(ctx); err != nil {
		t.Fatalf("SyncFlow cannot declare its exchange any more: %v", err)
	}
	announces(true)
	// The listener may be probing at this moment.
	eventually(t, "no probe is left among the devices", func() bool {
		d, err := servers.SyncFlow.Devices(ctx, project())
		return err == nil && !slices.ContainsFunc(d, func(d stack.Device) bool {
			return d.Name == "text-egress-probe"
		})
	})
	create(t, "restart-1")
	l.hears("restart-1")
	eventually(t, "SyncFlow counts as announcing", func() bool { return l.State().Silent.IsZero() })
	if len(l.heard) != 1 {
		t.Errorf("%+v", l.heard)
	}
}

// TestZBrokerRestartWhileWeAreDown: the queue is still there, its binding is not, and the canary
// tells.
func TestZBrokerRestartWhileWeAreDown(t *testing.T) {
	o := options(t, "rebooted")
	o.Memory = &memory{}
	l := listen(t, o)
	l.ready()
	restartBroker(t, l)
	l.stop()
	if err := servers.SyncFlow.Redeclare(t.Context()); err != nil {
		t.Fatal(err)
	}
	create(t, "rebooted-1") // announced to nobody
	at := time.Now()
	again := listen(t, o)
	again.ready()
	again.covers(at)
	create(t, "rebooted-2")
	again.hears("rebooted-2")
}

// TestZExchangeWithOtherProperties: somebody else has declared SyncFlow's exchange differently.
// That is survived, and what is announced there is heard.
func TestZExchangeWithOtherProperties(t *testing.T) {
	o := options(t, "flags")
	real, err := o.Binding(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := servers.RabbitMQ.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	o.Binding = func(context.Context) (rabbitmq.Binding, error) {
		return rabbitmq.Binding{Exchange: "textegress.flags", RoutingKey: real.RoutingKey}, nil
	}
	if err := ch.ExchangeDeclare("textegress.flags", amqp.ExchangeTopic, true, false, false, false,
		nil); err != nil {
		t.Fatal(err)
	}
	l := listen(t, o)
	l.ready()
	body := stack.Announcement("c1d2e3f4-0000-4000-8000-000000000001", "flags-1")
	if err := ch.PublishWithContext(t.Context(), "textegress.flags", real.RoutingKey, false, false,
		amqp.Publishing{Body: body}); err != nil {
		t.Fatal(err)
	}
	l.hears("flags-1")
	if err := ch.ExchangeDelete("textegress.flags", false, false); err != nil {
		t.Fatal(err)
	}
}

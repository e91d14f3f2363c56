package stack

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestOnlyLoopback(t *testing.T) {
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // no IPv6
		}
		for _, line := range strings.Split(string(b), "\n")[1:] {
			f := strings.Fields(line)
			if len(f) < 4 || f[3] != "0A" { // listening
				continue
			}
			addr, hex, _ := strings.Cut(f[1], ":")
			var port int
			fmt.Sscanf(hex, "%x", &port)
			first := shared.ports.first
			loopback := addr == "0100007F" || addr == "00000000000000000000000001000000" ||
				addr == "0000000000000000FFFF00000100007F"
			if port >= first && port < first+portsPerBlock && !loopback {
				t.Errorf("port %d listens on %s", port, addr)
			}
		}
	}
}

// TestBrokerLogin has a project token accepted and refused by the broker, which asks the API, and a
// message arrive.
func TestBrokerLogin(t *testing.T) {
	ctx, api, mq := t.Context(), shared.SyncFlow, shared.RabbitMQ
	p, other := api.Projects[0], api.Projects[1]
	dev, err := api.RegisterDevice(ctx, p, "recorder", "broker-login")
	if err != nil {
		t.Fatal(err)
	}
	token, _ := p.Token(nil)
	expired := p.Claims()
	expired["exp"] = time.Now().Add(-time.Minute).Unix()
	old, _ := p.Token(expired)
	var wg sync.WaitGroup
	for name, user := range map[string]string{
		"expired": old, "no token": "guest",
		"altered": token[:len(token)-3] + "AAA",
	} {
		wg.Go(func() { // at once: the broker lets a refused client wait for three seconds
			if c, err := mq.DialAs(user, "broker-login"); err == nil {
				c.Close()
				t.Errorf("%s: logged in", name)
			} else if e := (*amqp.Error)(nil); !errors.As(err, &e) || e.Code != amqp.AccessRefused {
				t.Errorf("%s: %v, want 403", name, err)
			}
		})
	}
	defer wg.Wait()
	conn, err := mq.DialAs(token, "broker-login")
	if err != nil {
		t.Fatalf("login: %v", err)
	}
	defer conn.Close()
	bind := func(key, exchange string) error {
		ch, err := conn.Channel()
		if err != nil {
			return err
		}
		defer ch.Close()
		q, err := ch.QueueDeclare("broker-login", true, false, false, false, nil)
		if err != nil {
			return err
		}
		return ch.QueueBind(q.Name, key, exchange, false, nil)
	}
	code := func(err error) int {
		if e, ok := errors.AsType[*amqp.Error](err); ok {
			return e.Code
		}
		return 0
	}
	for key, want := range map[string]int{
		dev.BindingKey: 0, p.ID + ".unregistered": amqp.AccessRefused,
		p.ID + ".*":                amqp.AccessRefused,
		other.ID + ".broker-login": amqp.AccessRefused,
	} {
		if err := bind(key, Exchange); code(err) != want {
			t.Errorf("binding %s: %v, want code %d", key, err, want)
		}
	}
	if err := bind("x", "no-such-exchange"); code(err) != amqp.NotFound {
		t.Errorf("binding to a missing exchange: %v, want 404", err)
	}
	x, err := api.CreateSession(ctx, p, "broker-login", "broker-login", "broker-login")
	if err != nil {
		t.Fatal(err)
	}
	defer api.StopSession(ctx, p, x.ID)
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := ch.Consume("broker-login", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // a group named twice is announced twice
		select {
		case m := <-msgs:
			if string(m.Body) != string(Announcement(x.ID, "broker-login")) ||
				m.ContentType != "" || m.MessageId != "" || m.DeliveryMode == amqp.Persistent {
				t.Errorf("announcement %d: %q %+v", i, m.Body, m)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("announcement %d did not come", i)
		}
	}
	if err := api.Announce(ctx, p, "broker-login", []byte("{")); err != nil {
		t.Fatal(err)
	}
	if m := <-msgs; string(m.Body) != "{" {
		t.Errorf("malformed announcement: %q", m.Body)
	}
}

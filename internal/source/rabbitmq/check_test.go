package rabbitmq

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/syncflow/textegress/internal/session"
)

func TestCheck(t *testing.T) {
	denied := &amqp.Error{
		Code:   amqp.AccessRefused,
		Reason: "ACCESS_REFUSED - refused for user 'USER'",
	}
	for _, tc := range []struct {
		name   string
		break_ func(*fakeBroker)
		want   string // one letter a stage: + passed, - failed, . skipped
		remedy string
	}{
		{"all well", func(*fakeBroker) {}, "+++", ""},
		{"login", func(b *fakeBroker) { b.refuseLogin = denied }, "-..", "API key"},
		{
			"binding", func(b *fakeBroker) { b.refuseBind = topicRefused }, "++-",
			"DEVICE_GROUP_NAME",
		},
		{"no exchange", func(b *fakeBroker) { b.exchange = false }, "++-", "API must be restarted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newRig(t)
			tc.break_(g.broker)
			got, details := "", ""
			for _, r := range check(t.Context(), g.r.o, g.broker.dial) {
				switch {
				case r.Skipped:
					got += "."
				case r.OK:
					got += "+"
				default:
					got += "-"
					details += r.Detail
				}
				if !r.OK && !r.Skipped && !strings.Contains(r.Detail, "rmq:5671") {
					t.Errorf("the broker is not named: %s", r.Detail)
				}
				if r.TokenRefused != (tc.name == "login" && r.Stage == "login") {
					t.Errorf("%s: token refused: %v", r.Stage, r.TokenRefused)
				}
				if strings.Contains(r.Detail, "eyJ") {
					t.Errorf("a token is shown: %s", r.Detail)
				}
			}
			if got != tc.want || !strings.Contains(details, tc.remedy) {
				t.Errorf("stages %s, want %s; %s", got, tc.want, details)
			}
			if len(g.broker.queues) != 0 || g.broker.open() != 0 {
				t.Errorf("left behind: %d queues, %d connections", len(g.broker.queues),
					g.broker.open())
			}
		})
	}
}

func TestDeleteQueue(t *testing.T) {
	g := newRig(t)
	if err := deleteQueue(t.Context(), g.r.o, g.broker.dial); err != nil {
		t.Errorf("a queue that does not exist: %v", err)
	}
	g.broker.queues[testQueue] = &fakeQueue{
		name:      testQueue,
		consumers: []*fakeConsumer{{ended: true}},
	}
	if err := deleteQueue(t.Context(), g.r.o, g.broker.dial); !errors.Is(err, ErrQueueInUse) {
		t.Errorf("a queue in use: %v", err)
	}
	g.broker.queues[testQueue].consumers = nil
	if err := deleteQueue(t.Context(), g.r.o, g.broker.dial); err != nil ||
		len(g.broker.queues) != 0 {
		t.Errorf("%v, %d queues", err, len(g.broker.queues))
	}
}

func TestErrorsNameTheRemedyAndHideTheToken(t *testing.T) {
	jwt := "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJl"
	o := Options{}
	for _, tc := range []struct {
		op, want string
		err      error
	}{
		{"login", "RABBITMQ_VHOST_NAME", &amqp.Error{
			Code:   amqp.NotAllowed,
			Reason: "NOT_ALLOWED - vhost x for user '" + jwt + "'", Server: true,
		}},
		// cut by the broker
		{"login", "API key", &amqp.Error{
			Code: amqp.AccessRefused, Reason: "refused '" + jwt[:30],
			Server: true,
		}},
		{"login", "RABBITMQ_CA_FILE", x509.UnknownAuthorityError{}},
		{"login", "RABBITMQ_HOST", x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}},
		{"login", "RABBITMQ_PORT", fmt.Errorf("dial: %w", context.DeadlineExceeded)},
		{"queue", "permissions", &amqp.Error{
			Code: amqp.AccessRefused, Reason: "user '" + jwt + "'",
			Server: true,
		}},
	} {
		got := brokerError(tc.op, tc.err, o).Error()
		if !strings.Contains(got, tc.want) || strings.Contains(got, "eyJ") {
			t.Errorf("%v: %s", tc.err, got)
		}
	}
	if got := brokerError("login", errors.New("bad pass\nhunter2"),
		Options{Password: "hunter2"}).Error(); strings.ContainsAny(got, "\n") ||
		strings.Contains(got, "hunter2") {
		t.Errorf("%q", got)
	}
}

func TestParse(t *testing.T) {
	const u = "c1d2e3f4-0000-4000-8000-000000000001"
	for body, want := range map[string]session.Announcement{
		`{"sessionId":"` + u + `","sessionName":"class-1"}`: {
			SessionID: u, Room: "class-1", Source: "rabbitmq",
		},
		`{"sessionId":"` + strings.ToUpper(u) +
			`","sessionName":"a/ü \u0000","x":[]}`: {
			SessionID: u, Room: "a/ü \x00",
			Source: "rabbitmq",
		},
	} {
		got, err := parse([]byte(body))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v%s", body, err, diff)
		}
	}
}

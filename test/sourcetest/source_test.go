package sourcetest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/syncflow/textegress/internal/source/rabbitmq"
	"github.com/syncflow/textegress/test/stack"
)

func TestListensOverTLSWithTheProjectToken(t *testing.T) {
	l := listen(t, options(t, "tls"))
	l.ready()
	x := create(t, "tls-1")
	l.hears("tls-1")
	if a := l.heard[0]; a.SessionID != x.ID || a.Backlog || a.Redelivered {
		t.Errorf("%+v", a)
	}
	if s := l.State(); s.Exclusive || s.Queue != rabbitmq.QueueName(project().ID,
		stack.DeviceGroup, "tls") || s.LastError != "" || l.gaps() != 1 {
		t.Errorf("%+v", s)
	}
}

func TestQueueKeepsAnnouncementsWhileWeAreDown(t *testing.T) {
	o := options(t, "down")
	l := listen(t, o)
	l.ready()
	l.stop()
	create(t, "down-1")
	create(t, "down-2")
	again := listen(t, o)
	again.hears("down-1", "down-2")
	if a := again.heard[0]; !a.Backlog {
		t.Errorf("not marked as a backlog: %+v", a)
	}
	again.ready()
	again.stop()
	third := listen(t, o)
	third.ready()
	create(t, "down-3")
	third.hears("down-3") // the others were acknowledged
}

func TestTwoInstancesBothHear(t *testing.T) {
	a, b := listen(t, options(t, "two-a")), listen(t, options(t, "two-b"))
	a.ready()
	b.ready()
	create(t, "two-1")
	a.hears("two-1")
	b.hears("two-1")
}

func TestPoisonAndFailures(t *testing.T) {
	l := listen(t, options(t, "poison"))
	l.ready()
	for _, body := range []string{
		"", "not JSON", `{"sessionId":"x","sessionName":"y"}`,
		"\xff\xfe",
	} {
		if err := servers.SyncFlow.Announce(t.Context(), project(), stack.DeviceGroup,
			[]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	l.mu.Lock()
	l.fail = 2
	l.mu.Unlock()
	create(t, "poison-1")
	l.hears("poison-1")
	if !l.heard[0].Redelivered {
		t.Errorf("the third delivery is not marked: %+v", l.heard[0])
	}
}

func TestDeniedLogin(t *testing.T) {
	o := options(t, "denied")
	p := project()
	p.Secret = "wrong"
	o.Token = api(t, p).ProjectToken
	l := listen(t, o)
	eventually(t, "the refusal is known",
		func() bool { return strings.Contains(l.State().LastError, "API key") })
	if s := l.State(); s.Connected || strings.Contains(s.LastError, "eyJ") {
		t.Errorf("%+v", s)
	}
	if r := rabbitmq.Check(t.Context(), o); r[0].OK || !r[1].Skipped || !r[2].Skipped {
		t.Errorf("%+v", r)
	}
}

func TestWrongTLSSettingsAreExplained(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*rabbitmq.Options)
		want   string
	}{
		"TLS to the plain port": {
			func(o *rabbitmq.Options) { o.Port = servers.RabbitMQ.Port },
			"RABBITMQ_TLS",
		},
		"plain to the TLS port": {
			func(o *rabbitmq.Options) { o.TLS = false },
			"RABBITMQ_TLS",
		},
		"unknown authority": {
			func(o *rabbitmq.Options) { o.CAFile = "" },
			"RABBITMQ_CA_FILE",
		},
		"wrong vhost": {
			func(o *rabbitmq.Options) { o.VHost = "nowhere" },
			"RABBITMQ_VHOST_NAME",
		},
		"nobody there": {func(o *rabbitmq.Options) { o.Port = 1 }, "RABBITMQ_PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, "explained")
			tc.change(&o)
			r := rabbitmq.Check(t.Context(), o)
			if r[0].OK || !strings.Contains(r[0].Detail, tc.want) ||
				strings.Contains(r[0].Detail, "eyJ") {
				t.Errorf("%+v", r[0])
			}
		})
	}
}

func TestCheckAndDeleteQueue(t *testing.T) {
	o := options(t, "check")
	for _, r := range rabbitmq.Check(t.Context(), o) {
		if !r.OK {
			t.Errorf("%+v", r)
		}
	}
	l := listen(t, o)
	l.ready()
	if err := rabbitmq.DeleteQueue(t.Context(), o); !errors.Is(err, rabbitmq.ErrQueueInUse) {
		t.Errorf("a queue in use: %v", err)
	}
	l.stop()
	create(t, "check-1")
	if err := rabbitmq.DeleteQueue(t.Context(), o); err != nil {
		t.Error(err)
	}
	if err := rabbitmq.DeleteQueue(t.Context(), o); err != nil {
		t.Errorf("a queue that does not exist: %v", err)
	}
	again := listen(t, o)
	again.ready()
	create(t, "check-2")
	again.hears("check-2")
}

// TestExpiredTokenDoesNotCutTheConnection: RabbitMQ asks about a token when something is opened,
// not afterwards.
func TestExpiredTokenDoesNotCutTheConnection(t *testing.T) {
	o := options(t, "expired")
	var expires time.Time
	o.Token = func(context.Context) (string, error) {
		c := project().Claims()
		expires = time.Now().Add(3 * time.Second)
		c["exp"] = expires.Unix()
		return project().Token(c)
	}
	l := listen(t, o)
	l.ready()
	time.Sleep(time.Until(expires) + 1500*time.Millisecond) // the passing of time is what is tested
	create(t, "expired-1")
	l.hears("expired-1")
	if l.gaps() != 1 {
		t.Errorf("%d connections", l.gaps())
	}
}

// closeConnection lets the broker close the connection of a listener.
func closeConnection(t *testing.T, instance string) {
	t.Helper()
	out, err := servers.RabbitMQ.Ctl(t.Context(), "list_connections", "pid", "client_properties")
	if err != nil {
		t.Fatal(err)
	}
	pid := ""
	for line := range strings.Lines(out) {
		if strings.Contains(line, "textegress "+instance) {
			pid = strings.Fields(line)[0]
		}
	}
	if pid == "" {
		t.Fatalf("our connection is not listed by its name:\n%s", out)
	}
	if _, err := servers.RabbitMQ.Ctl(t.Context(), "close_connection", pid, "test"); err != nil {
		t.Fatal(err)
	}
}

func TestConnectionsClosedByTheBroker(t *testing.T) {
	l := listen(t, options(t, "closed"))
	l.ready()
	closeConnection(t, "closed")
	eventually(t, "the listener is bound again", func() bool { return l.gaps() == 2 })
	create(t, "closed-1")
	l.hears("closed-1")
	if lost := l.lost(); len(lost) != 0 {
		t.Errorf("queue and binding were there, and announcements count as lost: %v", lost)
	}
}

func TestDeletedQueueIsDeclaredAgain(t *testing.T) {
	l := listen(t, options(t, "deleted"))
	l.ready()
	if _, err := servers.RabbitMQ.Ctl(t.Context(), "delete_queue", "--vhost",
		servers.RabbitMQ.VHost,
		l.State().Queue); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the listener is bound again", func() bool { return l.gaps() == 2 })
	if len(l.lost()) == 0 {
		t.Error("the owner was not told that announcements may be lost")
	}
	create(t, "deleted-1")
	l.hears("deleted-1")
}

// TestQueueDeletedWhileWeAreDown: the next process says since when announcements may be lost.
func TestQueueDeletedWhileWeAreDown(t *testing.T) {
	o := options(t, "gone")
	o.Memory = &memory{}
	l := listen(t, o)
	l.ready()
	queue := l.State().Queue
	l.stop()
	again := listen(t, o)
	again.ready()
	if lost := again.lost(); len(lost) != 0 {
		t.Errorf("the queue was there, and announcements count as lost: %v", lost)
	}
	again.stop()
	if _, err := servers.RabbitMQ.Ctl(t.Context(), "delete_queue", "--vhost",
		servers.RabbitMQ.VHost,
		queue); err != nil {
		t.Fatal(err)
	}
	create(t, "gone-1")
	at := time.Now()
	third := listen(t, o)
	third.ready()
	third.covers(at)
}

func TestExclusiveQueueWhereADurableOneIsRefused(t *testing.T) {
	ctl := func(args ...string) {
		t.Helper()
		if _, err := servers.RabbitMQ.Ctl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	ctl("add_user", "limited", "limited-pw")
	ctl("set_permissions", "-p", servers.RabbitMQ.VHost, "limited", `\.exclusive-`, `\.exclusive-`,
		".*")
	o := options(t, "limited")
	o.Username, o.Password = "limited", "limited-pw"
	l := listen(t, o)
	l.ready()
	if s := l.State(); !s.Exclusive || !strings.Contains(s.LastError, "permissions") ||
		strings.Contains(s.LastError, "limited-pw") {
		t.Errorf("%+v", s)
	}
	create(t, "limited-1")
	l.hears("limited-1")
	// What is announced while the connection is away is lost with the queue.
	closeConnection(t, "limited")
	eventually(t, "the listener is bound again", func() bool { return l.gaps() == 2 })
	if len(l.lost()) == 0 {
		t.Error("the owner was not told that announcements may be lost")
	}
}

func TestQueueWithOtherPropertiesIsUsed(t *testing.T) {
	o := options(t, "other")
	c, err := servers.RabbitMQ.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	name := rabbitmq.QueueName(o.ProjectID, o.Group, o.Instance)
	if _, err := ch.QueueDeclare(name, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	body := stack.Announcement("c1d2e3f4-0000-4000-8000-000000000001", "other-1")
	if err := ch.PublishWithContext(t.Context(), "", name, false, false,
		amqp.Publishing{Body: body}); err != nil {
		t.Fatal(err)
	}
	l := listen(t, o)
	l.hears("other-1")
	l.ready()
	if s := l.State(); s.Exclusive || !strings.Contains(s.LastError, "delete the queue") {
		t.Errorf("%+v", s)
	}
}

func TestLastDeviceOfTheGroupIsDeleted(t *testing.T) {
	ctx := t.Context()
	l := listen(t, options(t, "device"))
	l.ready()
	l.stop()
	devices, err := servers.SyncFlow.Devices(ctx, project())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		if err := servers.SyncFlow.DeleteDevice(ctx, project(), d.ID); err != nil {
			t.Fatal(err)
		}
	}
	again := listen(t, options(t, "device"))
	again.ready()
	create(t, "device-1")
	again.hears("device-1")
	if devices, err = servers.SyncFlow.Devices(ctx, project()); err != nil || len(devices) != 1 {
		t.Errorf("%d devices, %v", len(devices), err)
	}
}

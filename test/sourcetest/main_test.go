package sourcetest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/source/rabbitmq"
	"github.com/syncflow/textegress/internal/syncflow"
	"github.com/syncflow/textegress/test/stack"
)

// stack is shared: the tests run one after the other, each with its own instance name and so its
// own queue. A test that restarts a server leaves it running.
var servers *stack.Stack

func TestMain(m *testing.M) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var err error
	if servers, err = stack.Start(ctx, stack.Options{NoS3: true, TLS: true}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := servers.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func project() stack.Project { return servers.SyncFlow.Projects[0] }

func api(t *testing.T, p stack.Project) *syncflow.Client {
	t.Helper()
	c, err := syncflow.New(syncflow.Options{
		BaseURL: servers.SyncFlow.URL, Key: p.Key,
		Secret: p.Secret, ProjectID: p.ID,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// options are those of the service, over TLS with a private authority.
func options(t *testing.T, instance string) rabbitmq.Options {
	t.Helper()
	p := project()
	c := api(t, p)
	return rabbitmq.Options{
		Host: servers.RabbitMQ.Host, Port: servers.RabbitMQ.TLSPort, TLS: true,
		CAFile: servers.RabbitMQ.CAFile, VHost: servers.RabbitMQ.VHost,
		ProjectID: p.ID, Group: stack.DeviceGroup, Instance: instance, ProjectIndex: "0",
		Token: c.ProjectToken,
		Binding: func(ctx context.Context) (rabbitmq.Binding, error) {
			d, err := c.EnsureDevice(ctx, "text-egress", stack.DeviceGroup)
			return rabbitmq.Binding{Exchange: d.ExchangeName, RoutingKey: d.BindingKey}, err
		},
	}
}

// listener runs a source and records what it says.
type listener struct {
	*rabbitmq.Source
	t    *testing.T
	stop func()
	log  strings.Builder

	mu        sync.Mutex
	heard     []session.Announcement
	connected int
	missed    []session.Gap
	fail      int // so many announcements are refused
}

// Withdraw implements [session.Handler].
func (*listener) Withdraw(context.Context, string) error { return nil }

// Resync implements [session.Handler].
func (l *listener) Resync(_ context.Context, missed []session.Gap) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connected++
	l.missed = append(l.missed, missed...)
	return nil
}

// lost returns the times in which announcements may have been lost, as the owner was told them.
func (l *listener) lost() []session.Gap {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.missed)
}

// covers waits until the owner has been told of a loss that the given time lies in.
func (l *listener) covers(at time.Time) {
	l.t.Helper()
	eventually(l.t, "the loss is told", func() bool {
		return slices.ContainsFunc(l.lost(), func(g session.Gap) bool {
			return !at.Before(g.From) &&
				!at.After(g.To)
		})
	})
}

// memory keeps a mark over listeners.
type memory struct {
	mu   sync.Mutex
	mark rabbitmq.Mark
}

func (m *memory) Load() (rabbitmq.Mark, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mark,
		nil
}

func (m *memory) Save(k rabbitmq.Mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mark = k
	return nil
}

func (l *listener) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(b)
}

func listen(t *testing.T, o rabbitmq.Options) *listener {
	t.Helper()
	l := &listener{t: t}
	o.Logger = slog.New(slog.NewTextHandler(l, nil))
	l.Source = rabbitmq.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.Run(ctx, l) // returns nil, by contract
	}()
	l.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(func() {
		l.stop()
		l.mu.Lock()
		defer l.mu.Unlock()
		if strings.Contains(l.log.String(), "eyJ") {
			t.Errorf("a token was logged:\n%s", &l.log)
		}
		if t.Failed() {
			t.Logf("log of the listener:\n%s\nstate: %+v", &l.log, l.State())
		}
	})
	return l
}

// Announce implements [session.Handler].
func (l *listener) Announce(_ context.Context, a session.Announcement) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail > 0 {
		l.fail--
		return fmt.Errorf("refused by the test")
	}
	l.heard = append(l.heard, a)
	return nil
}

func (l *listener) rooms() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, a := range l.heard {
		out = append(out, a.Room)
	}
	slices.Sort(out)
	return out
}

func (l *listener) gaps() int { l.mu.Lock(); defer l.mu.Unlock(); return l.connected }

func (l *listener) ready() {
	l.t.Helper()
	eventually(l.t, "the listener is connected", func() bool { return l.State().Connected })
}

func (l *listener) hears(rooms ...string) {
	l.t.Helper()
	slices.Sort(rooms)
	eventually(l.t, fmt.Sprintf("%v is heard", rooms),
		func() bool { return slices.Equal(l.rooms(), rooms) })
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen that %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// create makes a session for our group, which must have a device for that; SyncFlow announces it.
func create(t *testing.T, name string) stack.Session {
	t.Helper()
	if _, err := api(t, project()).EnsureDevice(t.Context(), "text-egress",
		stack.DeviceGroup); err != nil {
		t.Fatal(err)
	}
	x, err := servers.SyncFlow.CreateSession(t.Context(), project(), name, stack.DeviceGroup)
	if err != nil {
		t.Fatal(err)
	}
	// some have ended already
	t.Cleanup(func() {
		_, _ = servers.SyncFlow.StopSession(context.WithoutCancel(t.Context()),
			project(), x.ID)
	})
	return x
}

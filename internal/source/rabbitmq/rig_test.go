package rabbitmq

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/session"
)

const (
	testProject = "0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11"
	testQueue   = "textegress." + testProject + ".text-egress.lab"
)

// rig is a listener with a broker, and a record of what it was told. All tests run with a synthetic
// clock.
type rig struct {
	t      *testing.T
	broker *fakeBroker
	r      *Source
	cancel context.CancelFunc
	done   chan struct{}
	log    *lockedBuffer

	mu      sync.Mutex
	heard   []session.Announcement
	handle  func(session.Announcement) error // nil accepts
	binding func() (Binding, error)          // nil: the test exchange

	connected, tokens, bindings atomic.Int64

	missed []string // gaps that the owner was told, in seconds since the start of the test: "10-70"
	refuse int      // so many calls of connected fail
	begin  time.Time
}

// change changes the rig while it runs.
func (g *rig) change(f func()) { g.mu.Lock(); defer g.mu.Unlock(); f() }

// Announce implements [session.Handler].
func (g *rig) Announce(_ context.Context, a session.Announcement) error {
	g.mu.Lock()
	g.heard = append(g.heard, a)
	f := g.handle
	g.mu.Unlock()
	if f != nil {
		return f(a)
	}
	return nil
}

// Withdraw implements [session.Handler].
func (*rig) Withdraw(context.Context, string) error { return nil }

// Resync implements [session.Handler].
func (g *rig) Resync(_ context.Context, missed []session.Gap) error {
	g.connected.Add(1)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse > 0 {
		g.refuse--
		return errors.New("the list cannot be had")
	}
	for _, m := range missed {
		g.missed = append(g.missed, fmt.Sprintf("%.0f-%.0f", m.From.Sub(g.begin).Seconds(),
			m.To.Sub(g.begin).Seconds()))
	}
	return nil
}

// told returns the gaps that the owner was told.
func (g *rig) told() string {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.missed, " ")
}

// memory keeps a mark as a disk does.
type memory struct {
	mu   sync.Mutex
	data []byte
}

func (m *memory) Load() (mark Mark, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.data == nil {
		return Mark{}, nil
	}
	return mark, json.Unmarshal(m.data, &mark)
}

func (m *memory) Save(mark Mark) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data, err = json.Marshal(mark)
	return err
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *lockedBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

func newRig(t *testing.T) *rig {
	g := &rig{
		t: t, broker: newFakeBroker(), log: &lockedBuffer{}, done: make(chan struct{}),
		begin: time.Now(),
	}
	o := Options{
		Host: "rmq", Port: 5671, VHost: "syncflow", ProjectID: testProject, Group: "text-egress",
		Instance: "lab", ProjectIndex: "0",
		Logger: slog.New(slog.NewTextHandler(g.log, nil)),
		Token: func(context.Context) (string, error) {
			return fmt.Sprintf("eyJhbGciOi.token%d", g.tokens.Add(1)), nil
		},
		Binding: func(context.Context) (Binding, error) {
			g.bindings.Add(1)
			g.mu.Lock()
			f := g.binding
			g.mu.Unlock()
			if f != nil {
				return f()
			}
			return Binding{testExchange, testProject + ".text-egress"}, nil
		},
	}
	g.r = New(o)
	g.r.dial = g.broker.dial
	g.r.jitter = backoff.None
	return g
}

func (g *rig) start() {
	ctx, cancel := context.WithCancel(g.t.Context())
	g.cancel = cancel
	go func() {
		defer close(g.done)
		if err := g.r.Run(ctx, g); err != nil {
			g.t.Errorf("Run = %v", err)
		}
	}()
	synctest.Wait()
}

func (g *rig) stop() {
	g.cancel()
	<-g.done
	if n := g.broker.open(); n != 0 {
		g.t.Errorf("%d connections are left open", n)
	}
}

func id(n int) string { return fmt.Sprintf("c1d2e3f4-0000-4000-8000-%012d", n) }

func body(n int) string { return fmt.Sprintf(`{"sessionId":%q,"sessionName":"room-%d"}`, id(n), n) }

// announced returns "<room>[r][b]" of everything handled: r = redelivered, b = backlog.
func (g *rig) announced() []string {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for _, a := range g.heard {
		s := a.Room
		if a.Redelivered {
			s += " r"
		}
		if a.Backlog {
			s += " b"
		}
		out = append(out, s)
	}
	slices.Sort(out) // different sessions have no order
	return out
}

func (g *rig) expect(want ...string) {
	g.t.Helper()
	if diff := cmp.Diff(want, g.announced()); diff != "" {
		g.t.Errorf("announcements:\n%s", diff)
	}
}

func (g *rig) gaps() int { synctest.Wait(); return int(g.connected.Load()) }

func run(t *testing.T, f func(t *testing.T, g *rig)) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		f(t, g)
		g.stop()
	})
}

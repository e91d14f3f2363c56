package source

import (
	"bytes"
	"context"
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
	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	testProject = "0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11"
	testQueue   = "textegress." + testProject + ".text-egress.lab"
)

// rig is a listener with a broker, and a record of what it was told. All tests run with a synthetic clock.
type rig struct {
	t      *testing.T
	broker *fakeBroker
	r      *RabbitMQ
	cancel context.CancelFunc
	done   chan struct{}
	log    *lockedBuffer

	mu      sync.Mutex
	heard   []Announcement
	handle  func(Announcement) error // nil accepts
	binding func() (Binding, error)  // nil: the test exchange

	connected, tokens, bindings atomic.Int64
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
	g := &rig{t: t, broker: newFakeBroker(), log: &lockedBuffer{}, done: make(chan struct{})}
	o := RabbitMQOptions{Host: "rmq", Port: 5671, VHost: "syncflow", ProjectID: testProject, Group: "text-egress", Instance: "lab", ProjectIndex: "0",
		Logger: slog.New(slog.NewTextHandler(g.log, nil)),
		Token: func(context.Context) (string, error) {
			return fmt.Sprintf("eyJhbGciOi.token%d", g.tokens.Add(1)), nil
		},
		Binding: func(context.Context) (Binding, error) {
			g.bindings.Add(1)
			if g.binding != nil {
				return g.binding()
			}
			return Binding{testExchange, testProject + ".text-egress"}, nil
		}}
	g.r = NewRabbitMQ(o)
	g.r.dial = g.broker.dial
	g.r.jitter = func(most time.Duration) time.Duration { return most }
	return g
}

func (g *rig) start() {
	ctx, cancel := context.WithCancel(g.t.Context())
	g.cancel = cancel
	go func() {
		defer close(g.done)
		if err := g.r.Run(ctx, func(_ context.Context, a Announcement) error {
			g.mu.Lock()
			g.heard = append(g.heard, a)
			f := g.handle
			g.mu.Unlock()
			if f != nil {
				return f(a)
			}
			return nil
		}, func(context.Context) { g.connected.Add(1) }); err != nil {
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
		s := a.RoomName
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

func TestListens(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		g.broker.publish(body(1))
		g.broker.publish(body(2))
		g.expect("room-1", "room-2")
		s := g.r.State()
		if !s.Connected || s.Queue != testQueue || s.Exclusive || s.LastError != "" || g.gaps() != 1 {
			t.Errorf("%+v, %d calls of connected", s, g.gaps())
		}
		q := g.broker.only()
		if !q.durable || q.args["x-expires"] != int64(14*24*3600*1000) || q.args["x-max-length"] != int64(10000) || q.args["x-overflow"] != "drop-head" {
			t.Errorf("%+v", q)
		}
		if u := g.broker.logins()[0]; u != "eyJhbGciOi.token1:text-egress" {
			t.Errorf("logged in as %s", u)
		}
		if g.broker.held() != 0 {
			t.Error("not acknowledged")
		}
	})
}

func TestStaticCredentials(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.r.o.Username, g.r.o.Password = "svc", "pw"
		g.start()
		time.Sleep(3 * time.Hour)
		if len(g.broker.logins()) != 1 || g.broker.logins()[0] != "svc:pw" || g.tokens.Load() != 0 {
			t.Errorf("logins %v, %d tokens: fixed credentials need no renewal", g.broker.logins(), g.tokens.Load())
		}
	})
}

func TestAnnouncementsWaitWhileWeAreAway(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		g.broker.cut()
		g.broker.publish(body(1))
		g.broker.publish(body(2))
		time.Sleep(time.Minute)
		g.broker.publish(body(3))
		g.expect("room-1 b", "room-2 b", "room-3")
		if g.tokens.Load() != 2 || g.gaps() != 2 {
			t.Errorf("%d tokens, %d calls of connected, want a fresh token and a call for each connection", g.tokens.Load(), g.gaps())
		}
	})
}

func TestBrokerRestartRebindsWhenTheExchangeIsBack(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		g.broker.restart()
		time.Sleep(3 * time.Hour) // nobody restarts the API for a while; renewals happen meanwhile
		s := g.r.State()
		if s.Connected || !strings.Contains(s.LastError, "API must be restarted") {
			t.Errorf("%+v", s)
		}
		before := g.gaps()
		g.broker.redeclare()
		time.Sleep(maxBindPause + time.Second)
		if !g.r.State().Connected || g.gaps() != before+1 {
			t.Errorf("%+v, %d more calls of connected", g.r.State(), g.gaps()-before)
		}
		g.broker.publish(body(1))
		g.expect("room-1")
	})
}

func TestSilentlyLostBindingIsMadeAgain(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		g.broker.redeclare()
		g.broker.publish(body(1)) // lost
		time.Sleep(assertEvery + time.Second)
		g.broker.publish(body(2))
		g.expect("room-2")
		if len(g.broker.logins()) != 1 {
			t.Error("reconnected")
		}
	})
}

func TestConnectionIsRenewedBeforeItsTokenExpires(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		time.Sleep(renewal + time.Second)
		if g.tokens.Load() != 2 || g.broker.open() != 1 || !g.r.State().Connected || g.gaps() != 2 {
			t.Errorf("%d tokens, %d connections, %+v, %d gaps", g.tokens.Load(), g.broker.open(), g.r.State(), g.gaps())
		}
		g.broker.publish(body(1))
		g.expect("room-1")
		if strings.Contains(g.log.String(), "level=ERROR") {
			t.Errorf("a planned renewal is not an error:\n%s", g.log)
		}
	})
}

func TestFailedRenewalKeepsTheOldConnection(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		g.broker.set(func() { g.broker.refuseLogin = &amqp.Error{Code: amqp.AccessRefused, Reason: "ACCESS_REFUSED"} })
		time.Sleep(2 * time.Hour)
		g.broker.publish(body(1))
		g.expect("room-1")
		binds := g.broker.bound()
		time.Sleep(time.Hour)
		if g.broker.bound() != binds {
			t.Error("a binding was asserted with an expired token: the broker would close the channel")
		}
		g.broker.set(func() { g.broker.refuseLogin = nil })
		time.Sleep(renewalRetry + time.Second)
		if !g.r.State().Connected || g.broker.bound() == binds {
			t.Errorf("not renewed when it was possible: %+v", g.r.State())
		}
	})
}

func TestDeniedLogin(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.broker.refuseLogin = &amqp.Error{Code: amqp.AccessRefused, Reason: "ACCESS_REFUSED - Login was refused for user 'USER'"}
		g.start()
		time.Sleep(10*time.Minute - time.Second)
		s := g.r.State()
		if s.Connected || !strings.Contains(s.LastError, "API key") || strings.Contains(s.LastError, "eyJ") {
			t.Errorf("%+v", s)
		}
		if n := strings.Count(g.log.String(), "no connection to the broker"); n != 1 {
			t.Errorf("the same failure was logged %d times in ten minutes", n)
		}
		if n := len(g.broker.logins()); n < 20 || n > 30 { // 1+2+4+8+16 s, then every 30 s
			t.Errorf("%d logins in ten minutes", n)
		}
		if strings.Contains(g.log.String(), "eyJ") {
			t.Errorf("a token was logged:\n%s", g.log)
		}
		g.broker.set(func() { g.broker.refuseLogin = nil })
		time.Sleep(maxPause + time.Second)
		if !g.r.State().Connected {
			t.Errorf("%+v", g.r.State())
		}
	})
}

func TestUnreachableBrokerDoesNotDelayTheEnd(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.broker.silent = true
		g.start()
		begin := time.Now()
		g.stop()
		if d := time.Since(begin); d != 0 {
			t.Errorf("the end took %v", d)
		}
	})
}

func TestExclusiveQueueWhereADurableOneIsRefused(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.broker.refuseDurable = &amqp.Error{Code: amqp.AccessRefused, Reason: "ACCESS_REFUSED - access to queue refused for user 'eyJhbGciOi.token1'"}
		g.start()
		s := g.r.State()
		if !s.Connected || !s.Exclusive || !strings.HasPrefix(s.Queue, testQueue+".exclusive-") || !strings.Contains(s.LastError, "permissions") {
			t.Errorf("%+v", s)
		}
		if l := g.log.String(); !strings.Contains(l, "refuses a durable queue") || strings.Contains(l, "eyJ") {
			t.Errorf("log:\n%s", l)
		}
		g.broker.publish(body(1))
		g.expect("room-1")
		g.broker.set(func() { g.broker.refuseDurable = nil })
		time.Sleep(exclusiveRetry + time.Second)
		if s := g.r.State(); !s.Connected || s.Exclusive || s.Queue != testQueue || s.LastError != "" {
			t.Errorf("the durable queue was not tried again: %+v", s)
		}
	})
}

func TestQueueWithOtherPropertiesIsUsed(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.broker.queues[testQueue] = &fakeQueue{name: testQueue, durable: true, ready: []fakeMessage{{body: body(1)}}}
		g.start()
		g.expect("room-1 b")
		if s := g.r.State(); !s.Connected || s.Exclusive || !strings.Contains(s.LastError, "delete the queue") {
			t.Errorf("%+v", s)
		}
	})
}

func TestPoisonIsSkipped(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		for _, p := range []string{"", "hunter2", `{"sessionId":"x","sessionName":"hunter2"}`, `{"hunter2":1}`, "[]", "\xff", body(1) + body(2), strings.Repeat("hunter2", 10000)} {
			g.broker.publish(p)
		}
		g.broker.publish(body(3))
		g.expect("room-3")
		if strings.Contains(g.log.String(), "hunter2") {
			t.Errorf("the content was logged:\n%s", g.log)
		}
		if g.broker.held() != 0 {
			t.Error("poison stays in the queue")
		}
	})
}

func TestFailedAnnouncementComesAgainAndOthersGoOn(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		var times []time.Duration
		begin := time.Now()
		g.handle = func(a Announcement) error {
			if a.SessionID != id(1) {
				return nil
			}
			times = append(times, time.Since(begin).Round(time.Second))
			if len(times) < 8 {
				return errors.New("disk full")
			}
			return nil
		}
		g.start()
		g.broker.publish(body(1))
		g.broker.publish(body(2))
		g.expect("room-1", "room-2")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s := time.Second
		if diff := cmp.Diff([]time.Duration{0, s, 3 * s, 7 * s, 15 * s, 31 * s, 61 * s, 91 * s}, times); diff != "" {
			t.Error(diff)
		}
		if n := g.broker.held(); n != 0 {
			t.Error("not acknowledged in the end")
		}
	})
}

func TestEveryAnnouncementFailingKeepsThemAll(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		broken := true
		done := map[string]bool{}
		g.handle = func(a Announcement) error {
			g.mu.Lock()
			defer g.mu.Unlock()
			if broken {
				return errors.New("disk full")
			}
			done[a.SessionID] = true
			return nil
		}
		g.start()
		for n := range 100 { // more than are prefetched
			g.broker.publish(body(n))
		}
		time.Sleep(5 * time.Minute)
		g.mu.Lock()
		broken = false
		g.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(done) != 100 {
			t.Errorf("%d of 100 were handled in the end", len(done))
		}
	})
}

func TestUnacknowledgedAnnouncementSurvivesACut(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		enter, leave := make(chan struct{}, 10), make(chan struct{})
		running, most := 0, 0
		g.handle = func(Announcement) error {
			g.mu.Lock()
			running++
			most = max(most, running)
			g.mu.Unlock()
			enter <- struct{}{}
			<-leave
			g.mu.Lock()
			running--
			g.mu.Unlock()
			return nil
		}
		g.start()
		g.broker.publish(body(1))
		<-enter
		g.broker.cut() // while the handler works
		time.Sleep(time.Minute)
		close(leave)
		g.expect("room-1", "room-1 r b")
		if most != 1 {
			t.Errorf("%d handlers at once for one session", most)
		}
		if n := g.broker.held(); n != 0 {
			t.Error("not acknowledged in the end")
		}
	})
}

func TestDeletedQueueIsDeclaredAgain(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		g.broker.deleteQueue(testQueue)
		time.Sleep(10 * time.Second)
		g.broker.publish(body(1))
		g.expect("room-1")
		if !strings.Contains(g.log.String(), "ended our subscription") {
			t.Errorf("log:\n%s", g.log)
		}
	})
}

func TestRefusedBindingAsksForTheDeviceAgain(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.broker.refuseBind = &amqp.Error{Code: amqp.AccessRefused, Reason: "ACCESS_REFUSED - access to topic refused"}
		g.start()
		if s := g.r.State(); s.Connected || !strings.Contains(s.LastError, "DEVICE_GROUP_NAME") {
			t.Errorf("%+v", s)
		}
		asked := g.bindings.Load()
		time.Sleep(10 * time.Second)
		if g.bindings.Load() == asked {
			t.Error("the device was not looked up again")
		}
		g.broker.set(func() { g.broker.refuseBind = nil })
		time.Sleep(maxBindPause + time.Second)
		if !g.r.State().Connected {
			t.Errorf("%+v", g.r.State())
		}
	})
}

func TestQueueIsReadWhileTheAPIIsDown(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.broker.queues[testQueue] = &fakeQueue{name: testQueue, durable: true, args: queueArguments(), bound: true, ready: []fakeMessage{{body: body(1)}}}
		g.binding = func() (Binding, error) { return Binding{}, errors.New("SyncFlow is down") }
		g.start()
		g.expect("room-1 b")
		if s := g.r.State(); s.Connected || s.LastError != "SyncFlow is down" || g.gaps() != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestSecondConsumerIsPointedOut(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		g.broker.set(func() { g.broker.queues[testQueue].others = 1 })
		time.Sleep(2 * assertEvery)
		if strings.Contains(g.log.String(), "INSTANCE") {
			t.Error("too early: it may be our own dead connection")
		}
		time.Sleep(2 * assertEvery)
		if !strings.Contains(g.log.String(), "INSTANCE") {
			t.Errorf("log:\n%s", g.log)
		}
	})
}

func TestStopAcknowledgesWhatWasHandled(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		enter := make(chan struct{})
		g.handle = func(Announcement) error { close(enter); time.Sleep(time.Second); return nil }
		g.start()
		g.broker.publish(body(1))
		<-enter
		g.stop()
		if q := g.broker.only(); len(q.ready) != 0 {
			t.Errorf("%+v stays in the queue", q.ready)
		}
	})
}

func TestSlowReconciliationDoesNotStopListening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		var calls, heard atomic.Int64
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			_ = g.r.Run(ctx, func(context.Context, Announcement) error { heard.Add(1); return nil },
				func(ctx context.Context) { calls.Add(1); _ = sleep(ctx, time.Hour) })
		}()
		synctest.Wait()
		g.broker.publish(body(1))
		synctest.Wait()
		for range 3 {
			g.broker.cut()
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if heard.Load() != 1 || calls.Load() != 1 {
			t.Errorf("%d heard, %d calls", heard.Load(), calls.Load())
		}
		time.Sleep(time.Hour)
		if calls.Load() < 2 {
			t.Errorf("%d calls after the first one ended: the gaps in between are forgotten", calls.Load())
		}
		cancel()
		<-finished
	})
}

package rabbitmq

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/syncflow/textegress/internal/session"
)

// The broker's words for a refusal.
var (
	topicRefused = &amqp.Error{
		Code: amqp.AccessRefused,
		Reason: "ACCESS_REFUSED - access to topic '" + testProject +
			".text-egress' in exchange 'notifier' in vhost 'syncflow' refused for user " +
			"'eyJhbGciOi.token1'",
	}
	queueRefused = &amqp.Error{
		Code: amqp.AccessRefused,
		Reason: "ACCESS_REFUSED - access to queue '" + testQueue +
			"' in vhost 'syncflow' refused for user 'eyJhbGciOi.token1'",
	}
)

// again is the next process of the same deployment.
func (g *rig) again() {
	g.stop()
	next := New(g.r.o)
	next.dial, next.jitter = g.r.dial, g.r.jitter
	g.r, g.done = next, make(chan struct{})
}

// TestGaps: when announcements can have been lost, and between which times. Each case begins with a
// listener that has been connected for 150 s, whose binding was asserted last at 120 s.
func TestGaps(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(g *rig)
		want string // seconds since the start
	}{
		{"nothing happens", func(*rig) {}, ""},
		{"the network is cut", func(g *rig) { g.broker.cut() }, ""},
		{"the broker restarts", func(g *rig) { g.broker.restart() }, "120-150"},
		{"the broker is down for a minute", func(g *rig) {
			g.broker.set(func() { g.broker.refuseLogin = &amqp.Error{Code: 320, Reason: "down"} })
			g.broker.restart()
			time.Sleep(time.Minute)
			g.broker.set(func() { g.broker.refuseLogin = nil })
		}, "120-212"},
		{
			"the broker and the API restart",
			func(g *rig) { g.broker.restart(); g.broker.redeclare() }, "120-150",
		},
		{"the exchange is deleted", func(g *rig) {
			g.broker.redeclare()
			g.broker.set(func() { g.broker.exchange = false })
		}, "120-180"},
		{"the queue is deleted", func(g *rig) { g.broker.deleteQueue(testQueue) }, "120-152"},
		{"we restart", func(g *rig) { g.again(); time.Sleep(time.Hour); g.start() }, ""},
		{"the queue is deleted while we are down", func(g *rig) {
			g.again()
			g.broker.deleteQueue(testQueue)
			time.Sleep(time.Hour)
			g.start()
		}, "120-3750"},
		{"the broker restarts while we are down", func(g *rig) {
			g.again()
			g.broker.restart()
			time.Sleep(time.Hour)
			g.broker.redeclare()
			g.start()
		}, "120-3750"},
		{"an announcement waited in the broker", func(g *rig) {
			g.change(func() {
				g.handle = func(session.Announcement) error {
					return errors.New("the disk is nearly full")
				}
			})
			g.broker.publish(body(1))
			time.Sleep(time.Hour)
			g.broker.restart()
		}, "150-3752"},
		{
			"the sessions cannot be looked for at first",
			func(g *rig) { g.change(func() { g.refuse = 3 }); g.broker.restart() }, "120-150",
		},
		{"the sessions are looked for after a restart", func(g *rig) {
			g.change(func() { g.refuse = 1000 })
			g.broker.restart()
			time.Sleep(time.Minute)
			g.change(func() { g.refuse = 0 })
			g.again()
			time.Sleep(time.Hour)
			g.start()
		}, "120-150"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(t *testing.T, g *rig) {
				g.r.o.Memory = &memory{}
				g.r.ledger.memory = g.r.o.Memory
				g.start()
				time.Sleep(150 * time.Second)
				tc.do(g)
				time.Sleep(10 * time.Minute)
				got := g.told()
				if tc.want == "150-3752" { // the announcement failed a little later than it came
					got = strings.Replace(got, "3750", "3752", 1)
				}
				if got != tc.want {
					t.Errorf("gaps %q, want %q\n%s", got, tc.want, g.log)
				}
				if s := g.r.State(); !s.Connected || len(s.Missed) != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// TestGaps_FirstStart: sessions can be created for the group as soon as its device exists, which is
// before the queue is bound for the first time where the key is wrong or SyncFlow stalls.
func TestGaps_FirstStart(t *testing.T) {
	for late, want := range map[time.Duration]string{time.Second: "", time.Minute: "0-60"} {
		run(t, func(t *testing.T, g *rig) {
			g.r.o.Memory = &memory{}
			g.r.ledger.memory = g.r.o.Memory
			time.Sleep(late)
			g.start()
			time.Sleep(5 * time.Second)
			if got := g.told(); got != want {
				t.Errorf("listening after %v: gaps %q, want %q\n%s", late, got, want, g.log)
			}
		})
	}
}

// TestGaps_Exclusive: a queue that ends with its connection misses what is announced in between.
func TestGaps_Exclusive(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.broker.refuseDurable = queueRefused
		g.start()
		time.Sleep(150 * time.Second)
		g.broker.cut()
		time.Sleep(5 * time.Second)
		if got := g.told(); got != "120-150" && got != "120-151" {
			t.Errorf("gaps %q", got)
		}
	})
}

// TestStalledAPI: the broker refuses to make a binding again because SyncFlow's API does not answer
// it. Announcements arrive all the same: nothing is reported that is not so, and the API is not
// pressed.
func TestStalledAPI(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		asked, tried := g.bindings.Load(), g.broker.attempts()
		g.broker.set(func() { g.broker.refuseBind = queueRefused })
		time.Sleep(10 * time.Minute)
		g.broker.publish(body(1))
		g.expect("room-1")
		s := g.r.State()
		if !s.Connected || !strings.Contains(s.LastError, "did not answer") ||
			strings.Contains(s.LastError, "DEVICE_GROUP_NAME") {
			t.Errorf("%+v", s)
		}
		if n := g.broker.attempts() - tried; n > 10 || g.bindings.Load() != asked ||
			len(g.broker.logins()) != 1 {
			t.Errorf("%d bindings, %d questions for the device, %d logins in ten minutes", n,
				g.bindings.Load()-asked, len(g.broker.logins()))
		}
		g.broker.set(func() { g.broker.refuseBind = nil })
		time.Sleep(assertEvery + time.Second)
		if s := g.r.State(); !s.Connected || s.LastError != "" {
			t.Errorf("%+v", s)
		}
		if got := g.told(); got != "" {
			t.Errorf("gaps %s", got)
		}
	})
}

// TestStalledAPI_Reconnect: likewise for a new connection to a queue that was bound before.
func TestStalledAPI_Reconnect(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		g.broker.set(func() {
			g.broker.refuseBind = queueRefused
			g.broker.refuseDurable = queueRefused
		})
		g.broker.cut()
		time.Sleep(10 * time.Second)
		if s := g.r.State(); !s.Connected || s.Exclusive || s.LastError == "" {
			t.Errorf("%+v", s)
		}
		g.broker.publish(body(1))
		g.expect("room-1")
	})
}

// TestSilent: after the exchange was missing, SyncFlow is tried until it announces sessions again.
// Those that began until then are looked for. It outlives this process.
func TestSilent(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		var tried atomic.Int64
		var restarted atomic.Bool
		g.r.o.Announces = func(context.Context) (bool, error) {
			tried.Add(1)
			return restarted.Load(), nil
		}
		g.r.o.Memory = &memory{}
		g.r.ledger.memory = g.r.o.Memory
		g.start()
		time.Sleep(150 * time.Second)
		if tried.Load() != 0 {
			t.Error("SyncFlow was tried without a reason")
		}
		g.broker.restart()
		time.Sleep(10 * time.Minute)
		g.again()
		g.start()
		time.Sleep(10 * time.Minute)
		if n := tried.Load(); g.r.State().Silent.IsZero() || n < 8 || n > 12 {
			t.Errorf("%+v, tried %d times in twenty minutes", g.r.State(), n)
		}
		restarted.Store(true)
		time.Sleep(longestProbe + time.Second)
		n := tried.Load()
		time.Sleep(time.Hour)
		if s := g.r.State(); !s.Silent.IsZero() || tried.Load() != n {
			t.Errorf("%+v, tried %d more times", s, tried.Load()-n)
		}
		if got := g.told(); got != "120-150 150-1515" { // the last try before 1350 s was at 1215 s
			t.Errorf("gaps %s", got)
		}
	})
}

// TestLostDevice: a refused routing key means that our device was deleted. It is registered at
// once.
func TestLostDevice(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		asked := g.bindings.Load()
		g.broker.set(func() { g.broker.refuseBind = topicRefused })
		g.change(func() {
			g.binding = func() (Binding, error) {
				g.broker.set(func() { g.broker.refuseBind = nil })
				return Binding{testExchange, testProject + ".text-egress"}, nil
			}
		})
		time.Sleep(assertEvery + 2*time.Second)
		if s := g.r.State(); !s.Connected || s.LastError != "" || g.bindings.Load() == asked {
			t.Errorf("%+v, asked for the device %d times", s, g.bindings.Load()-asked)
		}
	})
}

// TestOtherExchange: SyncFlow's configuration names another exchange after a restart of its API.
func TestOtherExchange(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.r.binding = Binding{"earlier", testProject + ".text-egress"}
		g.start()
		g.broker.publish(body(1))
		g.expect("room-1")
	})
}

// TestPauses: a broker that refuses at once is asked again within two seconds; one that asks
// SyncFlow's API in vain for every login only at growing intervals.
func TestPauses(t *testing.T) {
	for _, tc := range []struct {
		takes    time.Duration
		min, max int // logins in ten minutes
	}{{0, 290, 310}, {15 * time.Second, 15, 21}, {60 * time.Second, 6, 7}} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t)
			g.broker.refuseAfter = tc.takes
			g.broker.refuseLogin = &amqp.Error{
				Code:   amqp.AccessRefused,
				Reason: "ACCESS_REFUSED - Login was refused",
			}
			g.start()
			time.Sleep(10 * time.Minute)
			if n := len(g.broker.logins()); n < tc.min || n > tc.max {
				t.Errorf("%d logins in ten minutes that take %v each, want %d to %d", n, tc.takes,
					tc.min, tc.max)
			}
			g.stop()
		})
	}
}

// TestLedger: very many gaps become one; what cannot be read is an error and not an empty mark.
func TestLedger(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(int64(n), 0).UTC() }
	l := &ledger{began: at(0), memory: &memory{}}
	if _, is, err := l.missed(at(1), time.Time{}); is || err != nil {
		t.Errorf("a gap before the queue was bound for the first time, %v", err)
	}
	for n := range 3 * mostGaps {
		if err := l.heard(at(10*n + 10)); err != nil {
			t.Fatal(err)
		}
		if _, is, err := l.missed(at(10*n+15), time.Time{}); !is || err != nil {
			t.Fatal(err)
		}
	}
	m, err := l.memory.Load()
	if err != nil || len(m.Missed) > mostGaps {
		t.Fatalf("%d gaps, %v", len(m.Missed), err)
	}
	for n := range 3 * mostGaps {
		in := false
		for _, g := range m.Missed {
			in = in || !at(10*n+10).Before(g.From) && !at(10*n+15).After(g.To)
		}
		if !in {
			t.Errorf("gap %d is forgotten: %v", n, m.Missed)
		}
	}
	if err := l.settle(m.Missed); err != nil || len(l.now().Missed) != 0 {
		t.Errorf("%v, %v", l.now().Missed, err)
	}
	broken := &ledger{memory: &memory{data: []byte("{")}}
	if err := broken.load(); err == nil {
		t.Error("a damaged mark was read")
	}
}

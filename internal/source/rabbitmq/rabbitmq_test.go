package rabbitmq

import (
	"errors"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestListens(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		g.broker.publish(body(1))
		g.broker.publish(body(2))
		g.expect("room-1", "room-2")
		s := g.r.State()
		if !s.Connected || s.Queue != testQueue || s.Exclusive || s.LastError != "" ||
			g.gaps() != 1 {
			t.Errorf("%+v, %d calls of connected", s, g.gaps())
		}
		q := g.broker.only()
		if !q.durable || q.args["x-expires"] != int64(14*24*3600*1000) ||
			q.args["x-max-length"] != int64(10000) || q.args["x-overflow"] != "drop-head" {
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
			t.Errorf("logins %v, %d tokens: fixed credentials need no renewal", g.broker.logins(),
				g.tokens.Load())
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
			t.Errorf("%d tokens, %d calls of connected, want a fresh token and a call for "+
				"each connection", g.tokens.Load(), g.gaps())
		}
	})
}

// TestBrokerRestart: the exchange is declared as SyncFlow declares it, so that announcements reach
// us from the first one on after a restart of its API. Until then the state says that there are
// none.
func TestBrokerRestart(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.start()
		g.broker.restart()
		time.Sleep(3 * time.Hour) // nobody restarts the API for a while; renewals happen meanwhile
		s := g.r.State()
		if !s.Connected || s.Silent.IsZero() || g.broker.declared() != 1 || g.told() != "0-0" {
			t.Errorf("%+v, declared %d times, gaps %s", s, g.broker.declared(), g.told())
		}
		g.broker.publish(body(1))
		g.expect("room-1")
		if s := g.r.State(); !s.Silent.IsZero() {
			t.Errorf("silent since %v, although a session was announced", s.Silent)
		}
		// What was created in between was announced to nobody.
		if got := g.told(); got != "0-0 0-10800" {
			t.Errorf("gaps %s", got)
		}
	})
}

// TestExchangeCannotBeDeclared: the binding is tried until somebody else has declared the exchange.
func TestExchangeCannotBeDeclared(t *testing.T) {
	for _, refused := range []*amqp.Error{
		{Code: amqp.AccessRefused, Reason: "ACCESS_REFUSED - access to exchange 'notifier' in " +
			"vhost 'syncflow' refused"},
		{Code: amqp.PreconditionFailed, Reason: "PRECONDITION_FAILED - inequivalent arg 'durable'"},
	} {
		run(t, func(t *testing.T, g *rig) {
			g.start()
			g.broker.set(func() { g.broker.refuseExchange = refused })
			g.broker.restart()
			time.Sleep(3 * time.Hour)
			s := g.r.State()
			if s.Connected || !strings.Contains(s.LastError, "404") {
				t.Errorf("%+v", s)
			}
			before := g.gaps()
			g.broker.redeclare()
			time.Sleep(maxBindPause + time.Second)
			if s := g.r.State(); !s.Connected || !s.Silent.IsZero() || g.gaps() <= before {
				t.Errorf("%+v, %d more calls of connected", s, g.gaps()-before)
			}
			g.broker.publish(body(1))
			g.expect("room-1")
		})
	}
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
			t.Errorf("%d tokens, %d connections, %+v, %d gaps", g.tokens.Load(), g.broker.open(),
				g.r.State(), g.gaps())
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
		g.broker.set(func() {
			g.broker.refuseLogin = &amqp.Error{
				Code:   amqp.AccessRefused,
				Reason: "ACCESS_REFUSED",
			}
		})
		time.Sleep(2 * time.Hour)
		g.broker.publish(body(1))
		g.expect("room-1")
		binds := g.broker.bound()
		time.Sleep(time.Hour)
		if g.broker.bound() != binds {
			t.Error("a binding was asserted with an expired token: the broker would close " +
				"the channel")
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
		g.broker.refuseLogin = &amqp.Error{
			Code:   amqp.AccessRefused,
			Reason: "ACCESS_REFUSED - Login was refused for user 'USER'",
		}
		g.start()
		time.Sleep(10*time.Minute - time.Second)
		s := g.r.State()
		if s.Connected || !strings.Contains(s.LastError, "API key") ||
			strings.Contains(s.LastError, "eyJ") {
			t.Errorf("%+v", s)
		}
		if n := strings.Count(g.log.String(), "no connection to the broker"); n != 1 {
			t.Errorf("the same failure was logged %d times in ten minutes", n)
		}
		// every two seconds: sessions are missed meanwhile
		if n := len(g.broker.logins()); n < 290 || n > 310 {
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
		g.broker.refuseDurable = &amqp.Error{
			Code:   amqp.AccessRefused,
			Reason: "ACCESS_REFUSED - access to queue refused for user 'eyJhbGciOi.token1'",
		}
		g.start()
		s := g.r.State()
		if !s.Connected || !s.Exclusive || !strings.HasPrefix(s.Queue, testQueue+".exclusive-") ||
			!strings.Contains(s.LastError, "permissions") {
			t.Errorf("%+v", s)
		}
		if l := g.log.String(); !strings.Contains(l, "refuses a durable queue") ||
			strings.Contains(l, "eyJ") {
			t.Errorf("log:\n%s", l)
		}
		g.broker.publish(body(1))
		g.expect("room-1")
		g.broker.set(func() { g.broker.refuseDurable = nil })
		time.Sleep(exclusiveRetry + time.Second)
		if s := g.r.State(); !s.Connected || s.Exclusive || s.Queue != testQueue ||
			s.LastError != "" {
			t.Errorf("the durable queue was not tried again: %+v", s)
		}
	})
}

func TestQueueWithOtherPropertiesIsUsed(t *testing.T) {
	run(t, func(t *testing.T, g *rig) {
		g.broker.queues[testQueue] = &fakeQueue{
			name: testQueue, durable: true,
			ready: []fakeMessage{{body: body(1)}},
		}
		g.start()
		g.expect("room-1 b")
		if s := g.r.State(); !s.Connected || s.Exclusive ||
			!strings.Contains(s.LastError, "delete the queue") {
			t.Errorf("%+v", s)
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
		g.broker.refuseBind = topicRefused
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
		g.broker.queues[testQueue] = &fakeQueue{
			name: testQueue, durable: true,
			args: queueArguments(), bound: true, ready: []fakeMessage{{body: body(1)}},
		}
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

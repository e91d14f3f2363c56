package controller_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// While we log in, RabbitMQ asks SyncFlow about us; our own questions at the start come before that
// and after it.
func TestLoginTakesTurnsWithQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begun()
		w.stop()
		var asking, logins atomic.Int64
		ask := func(what string) {
			if asking.Add(1) > 1 {
				t.Errorf("SyncFlow is asked for two things at once, the second is %s", what)
			}
			time.Sleep(time.Second)
			asking.Add(-1)
		}
		w.registry.setHook(func(name, _ string) {
			if name == "state" || name == "sessions" {
				ask(name)
			}
		})
		w.login = func(context.Context) {
			logins.Add(1)
			ask("the login")
		}
		lists := w.registry.count("sessions")
		w.start()
		defer func() { w.stop() }()
		time.Sleep(time.Minute)
		w.want("s1 part 1 sealed COMPLETE service_stopped", "s1 part 2 open")
		if n := w.registry.count("sessions") - lists; logins.Load() != 1 || n != 1 {
			t.Errorf("%d logins and %d lists, want one of each", logins.Load(), n)
		}
	})
}

// A broker that cannot be reached does not keep us from looking at the list.
func TestListWithoutABroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.all = true
		w.registry.set("s1", "Started")
		w.login = func(ctx context.Context) { <-ctx.Done() }
		w.start()
		defer func() { w.stop() }()
		time.Sleep(10 * time.Second)
		w.want("s1 part 1 open")
	})
}

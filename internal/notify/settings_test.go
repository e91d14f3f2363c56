package notify

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/durable/durabletest"
)

// TestEventFilter: a subscription gets the events that it names.
func TestEventFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project.Subscriptions[0].Events = []string{EventEnded}
		w.start()
		w.live("DE_1")
		if got := w.web.got(urlA, true); !slices.Equal(got, []string{"DE_1 COMPLETE"}) {
			t.Errorf("%q", got)
		}
	})
}

// TestSubscribe: a receiver gets all events of the recordings in progress when it is first
// configured, and none of those that were delivered before, also after an outage.
func TestSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		subscriptions := w.project.Subscriptions
		w.project.Subscriptions = nil
		w.start()
		w.live("DE_1")
		for range 2 {
			if _, err := next(w.spool, "DE_2"); err != nil {
				t.Fatal(err)
			}
		}
		settle(time.Minute)
		w.wantGot(urlA, true)
		w.configure(func(p *Project) { p.Subscriptions = subscriptions })
		settle(3 * time.Second)
		w.live("DE_2")
		w.wantGot(urlA, true, whole("DE_2")...)
		w.configure(func(p *Project) { p.Subscriptions = nil })
		settle(3 * time.Second)
		w.live("DE_3")
		w.configure(func(p *Project) { p.Subscriptions = subscriptions })
		settle(3 * time.Second)
		w.restart()
		w.live("DE_4")
		w.wantGot(urlA, true, whole("DE_2", "DE_4")...)
	})
}

// TestUnconfigured: events of a receiver that the settings no longer name are given up. Those of a
// project whose settings are broken wait.
func TestUnconfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.web.set(status(500))
		w.live("DE_1")
		w.mu.Lock()
		project := w.project
		w.project = nil
		w.mu.Unlock()
		w.restart()
		settle(24 * time.Hour)
		if n := w.n.Pending(); n != 4 {
			t.Errorf("%d pending", n)
		}
		if reasons := w.n.NotReady(); len(reasons) != 1 ||
			!strings.Contains(reasons[0], "settings of the project are missing") {
			t.Errorf("%q", reasons)
		}
		w.web.set(nil)
		w.configure(func(p *Project) { *p = *project })
		settle(time.Minute)
		w.wantGot(urlA, false, whole("DE_1")...)

		w.web.set(status(500))
		w.live("DE_2")
		w.configure(func(p *Project) { p.Subscriptions = nil })
		settle(time.Minute)
		if n := w.n.Pending(); n != 0 {
			t.Errorf("%d pending", n)
		}
		w.wantFiles("DE_1 4.sent", "DE_2 4.given_up")

		// The project does not return: the age limit ends the wait.
		w.configure(func(p *Project) { *p = *project })
		settle(time.Second)
		w.live("DE_3")
		w.mu.Lock()
		w.project = nil
		w.mu.Unlock()
		w.n.Wake()
		settle(DefaultMaxAge + time.Minute)
		if n := w.n.Pending(); n != 0 {
			t.Errorf("%d pending", n)
		}
	})
}

// TestRequested: a request's webhooks get the events of its recording, signed with the project's
// key, as long as the host is allowed.
func TestRequested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project.Subscriptions = nil
		w.hosts = []string{"b.example.org"}
		w.start()
		w.live("DE_1", urlB)
		w.live("DE_2")
		w.wantGot(urlB, true, whole("DE_1")...)
		w.hosts = nil
		w.restart()
		w.live("DE_3", urlB)
		settle(time.Hour)
		w.wantGot(urlB, true, whole("DE_1")...)
		if !strings.Contains(w.log(), "not in WEBHOOK_HOSTS") || w.n.Pending() != 4 {
			t.Errorf("%d pending\n%s", w.n.Pending(), w.log())
		}
	})
}

// TestHolds: the state files are needed until every event is accepted or given up.
func TestHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.web.set(status(500))
		w.live("DE_1")
		rec, _ := w.spool.Recording("DE_1")
		if !w.n.Holds(rec) {
			t.Error("not held while events wait")
		}
		w.web.set(nil)
		settle(time.Minute)
		if w.n.Holds(rec) {
			t.Error("held although all is accepted")
		}
		if err := rec.RemoveData(); err != nil {
			t.Fatal(err)
		}
		if err := rec.Delete(); err != nil {
			t.Fatal(err)
		}
		w.n.Wake()
		settle(time.Second)
		w.wantFiles()
		if len(w.n.recordings) != 0 || len(w.n.receivers) != 1 {
			t.Errorf("%v %v", w.n.recordings, w.n.receivers)
		}
		// Before its first scan, a process needs every state file.
		w.shutDown()
		n := New(Options{
			Spool: w.spool, FS: durabletest.NewCrashFS(0, 0), Projects: w.n.o.Projects,
		})
		if !n.Holds(rec) {
			t.Error("not held before the first scan")
		}
		w.project.Subscriptions = nil
		if n.Holds(rec) {
			t.Error("held without a receiver")
		}
	})
}

// TestDamagedEvent: a damaged event is created again from its recording.
func TestDamagedEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.web.set(status(500))
		w.live("DE_1")
		for _, s := range []step{stepStarting, stepActive} {
			path := w.path("DE_1", s, pendingSuffix)
			if err := w.disk.Remove("test", path); err != nil {
				t.Fatal(err)
			}
			f, err := w.disk.Create("test", path)
			if err == nil {
				_, err = f.Write([]byte("{"))
			}
			if err != nil {
				t.Fatal(err)
			}
			if s == stepStarting {
				w.restart()
			}
		}
		// The new body differs from the body of the first attempts.
		w.web.mu.Lock()
		w.web.requests = nil
		w.web.mu.Unlock()
		w.web.set(nil)
		settle(time.Minute)
		w.wantGot(urlA, false, whole("DE_1")...)
	})
}

package controller_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/internal/session"
)

// poller announces what the server lists, once each second, as a source that polls.
type poller struct {
	w         *liveKitWorld
	announced map[string]bool
	later     int // announcements to be repeated
}

func (p *poller) poll(d time.Duration) {
	p.w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
		list, _ := p.w.Sessions(p.w.t.Context())
		for _, s := range list {
			if s.State == session.Empty || p.announced[s.ID] {
				continue
			}
			err := p.w.handler.Announce(p.w.t.Context(), session.Announcement{
				SessionID: s.ID, Room: s.Room, Source: "poll", ReceivedAt: time.Now(),
			})
			switch {
			case err == nil:
				p.announced[s.ID] = true
			case errors.Is(err, session.ErrLater):
				p.later++
			default:
				p.w.t.Error(err)
			}
		}
	}
	synctest.Wait()
}

// kill ends the process as kill -9 does; the next start finds what it had written.
func (w *liveKitWorld) kill(mem *durabletest.CrashFS) *durabletest.CrashFS {
	after := mem.Killed()
	w.stop()
	w.fs = after
	return after
}

// inClass starts a world with a class in RM_1 that is recorded.
func inClass(t *testing.T) (*liveKitWorld, *poller) {
	w := newLiveKitWorld(t).withKey(nil)
	p := &poller{w: w, announced: map[string]bool{}}
	w.start()
	w.appear("class", "RM_1")
	p.poll(5 * time.Minute)
	w.want("RM_1 part 1 open")
	return w, p
}

// check checks that no join has made a room, and which rooms were joined.
func (w *liveKitWorld) check(joins ...string) {
	w.t.Helper()
	if got := w.joins(); fmt.Sprint(got) != fmt.Sprint(joins) {
		w.t.Errorf("joined %v, want %v", got, joins)
	}
	if w.made != 0 {
		w.t.Errorf("%d rooms were made by a join", w.made)
	}
}

// A server without Redis is killed, and its participants recreate the room: the session continues
// in one recording, under the id of its first run. So do the parts after it.
func TestContinue(t *testing.T) {
	for name, away := range map[string]time.Duration{
		"at once": 0, "after a while": 3 * time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, p := inClass(t)
				defer func() { w.stop() }()
				w.restart()
				p.poll(away)
				w.appear("class", "RM_2")
				p.poll(time.Minute)
				w.want("RM_1 part 1 open")
				w.check("RM_1", "RM_2")
				if !p.announced["RM_2"] {
					t.Error("the run that continues the session is announced for ever")
				}
				w.loseAll()
				time.Sleep(30 * time.Second)
				w.set(func(l *bareLiveKit) { l.cut = false })
				p.poll(time.Minute)
				w.want("RM_1 part 1 open")
				w.check("RM_1", "RM_2", "RM_2")
				w.stop()
				w.start()
				p.poll(time.Minute)
				w.want("RM_1 part 1 sealed COMPLETE service_stopped", "RM_1 part 2 open")
				if id, err := w.ctl.Record(t.Context(), "RM_2"); err != nil || id != w.egress(1) {
					t.Errorf("Record = %q, %v", id, err)
				}
				if id, err := w.ctl.Start(t.Context(), controller.StartOptions{
					Room: "class",
				}); err != nil || id != w.egress(1) {
					t.Errorf("Start = %q, %v", id, err)
				}
				// And once more.
				w.restart()
				w.appear("class", "RM_3")
				p.poll(time.Minute)
				w.want("RM_1 part 1 sealed COMPLETE service_stopped", "RM_1 part 2 open")
				w.check("RM_1", "RM_2", "RM_2", "RM_2", "RM_3")
				if err := w.handler.Withdraw(t.Context(), "RM_3"); err != nil {
					t.Fatal(err)
				}
				w.want("RM_1 part 1 sealed COMPLETE service_stopped",
					"RM_1 part 2 sealed COMPLETE opted_out")
				w.closeRoom("class")
				w.appear("class", "RM_4")
				p.poll(time.Minute)
				w.want("RM_1 part 1 sealed COMPLETE service_stopped",
					"RM_1 part 2 sealed COMPLETE opted_out", "RM_4 part 1 open")
			})
		})
	}
}

// Without proof that a run continues the session, it is another session, and recorded as such.
func TestOtherRun(t *testing.T) {
	for name, c := range map[string]struct {
		set   func(*bareLiveKit)
		after time.Duration
	}{
		// The room was closed and opened again while the recorder was cut off.
		"the server was not restarted": {func(l *bareLiveKit) {}, 0},
		// A shared store keeps the sids of rooms, so other sids are other rooms.
		"another node with Redis":     {func(l *bareLiveKit) { l.redis, l.node = true, "ND_2" }, 0},
		"a server that names no node": {func(l *bareLiveKit) { l.node = "" }, 0},
		"long ago":                    {func(l *bareLiveKit) { l.node = "ND_2" }, 11 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, p := inClass(t)
				defer func() { w.stop() }()
				w.loseAll()
				w.vanish("class")
				w.appear("class", "RM_2")
				time.Sleep(c.after)
				w.set(func(l *bareLiveKit) { c.set(l); l.cut = false })
				p.poll(time.Minute)
				w.want("RM_1 part 1 sealed COMPLETE room_replaced", "RM_2 part 1 open")
				w.check("RM_1", "RM_2")
				w.closeRoom("class")
				time.Sleep(time.Hour)
				w.want("RM_1 part 1 sealed COMPLETE room_replaced",
					"RM_2 part 1 sealed COMPLETE room_deleted")
			})
		})
	}
}

// Also after a kill of the service, a run continues the session only if the server was restarted
// too, and both not long ago.
func TestContinue_Killed(t *testing.T) {
	for name, c := range map[string]struct {
		restarted bool
		after     time.Duration
		continues bool
	}{
		"both at once":             {true, 10 * time.Second, true},
		"the service alone":        {false, 10 * time.Second, false},
		"the service for too long": {true, 20 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newLiveKitWorld(t).withKey(nil)
				mem := durabletest.NewCrashFS(0, 0)
				w.dir, w.fs = "/data", mem
				p := &poller{w: w, announced: map[string]bool{}}
				w.start()
				w.appear("class", "RM_1")
				p.poll(5 * time.Minute)
				w.kill(mem)
				if c.restarted {
					w.restart()
				}
				w.vanish("class")
				w.appear("class", "RM_2")
				time.Sleep(c.after)
				w.start()
				defer func() { w.stop() }()
				clear(p.announced)
				p.poll(time.Minute)
				if c.continues {
					w.want("RM_1 part 1 open")
				} else {
					w.want("RM_1 part 1 sealed COMPLETE room_replaced", "RM_2 part 1 open")
				}
				w.check("RM_1", "RM_2")
			})
		})
	}
}

// A run that continues a session is durable before anything of it is recorded.
func TestContinue_ThenKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newLiveKitWorld(t).withKey(nil)
		mem := durabletest.NewCrashFS(0, 0)
		w.dir, w.fs = "/data", mem
		p := &poller{w: w, announced: map[string]bool{}}
		w.start()
		w.appear("class", "RM_1")
		p.poll(time.Minute)
		w.restart()
		w.appear("class", "RM_2")
		p.poll(10 * time.Second)
		w.kill(mem)
		w.start()
		defer func() { w.stop() }()
		clear(p.announced)
		p.poll(time.Minute)
		w.want("RM_1 part 1 open")
		w.check("RM_1", "RM_2", "RM_2")
	})
}

// With Redis, a run keeps its sid when a node is killed.
func TestNodeIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := inClass(t)
		defer func() { w.stop() }()
		w.set(func(l *bareLiveKit) { l.redis = true })
		w.restart()
		p.poll(time.Minute)
		w.want("RM_1 part 1 open")
		w.check("RM_1", "RM_1")
	})
}

// While it is unknown whether a run continues the session, its announcement is answered with
// ErrLater, and nothing is recorded under its name.
func TestUndecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := inClass(t)
		defer func() { w.stop() }()
		w.set(func(l *bareLiveKit) { l.unknown = errors.New("fake: not now") })
		w.restart()
		w.appear("class", "RM_2")
		p.poll(time.Minute)
		w.want("RM_1 part 1 open")
		if p.announced["RM_2"] || p.later < 50 {
			t.Errorf("announced %v, %d times to be repeated", p.announced, p.later)
		}
		began := time.Now()
		if _, err := w.ctl.Start(t.Context(), controller.StartOptions{
			Room: "class",
		}); !errors.Is(err, session.ErrLater) || time.Since(began) > 11*time.Second {
			t.Errorf("Start: %v, after %v", err, time.Since(began))
		}
		w.set(func(l *bareLiveKit) { l.unknown, l.empty["RM_2"] = nil, true })
		p.poll(time.Minute) // nobody is in the room
		w.want("RM_1 part 1 open")
		w.check("RM_1")
		w.set(func(l *bareLiveKit) { l.empty["RM_2"] = false })
		p.poll(time.Minute)
		w.want("RM_1 part 1 open")
		w.check("RM_1", "RM_2")
	})
	synctest.Test(t, func(t *testing.T) { // until the window is over
		w, p := inClass(t)
		defer func() { w.stop() }()
		w.set(func(l *bareLiveKit) { l.unknown = errors.New("fake: never") })
		w.restart()
		w.appear("class", "RM_2")
		p.poll(11 * time.Minute)
		w.want("RM_1 part 1 sealed COMPLETE room_replaced", "RM_2 part 1 open")
		w.check("RM_1", "RM_2")
	})
}

// The recorder never recreates a room that no participant recreates.
func TestRoomStaysAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := inClass(t)
		defer func() { w.stop() }()
		w.loseAll()
		w.vanish("class")
		time.Sleep(time.Minute)
		w.set(func(l *bareLiveKit) { l.cut = false })
		p.poll(8 * time.Minute)
		w.want("RM_1 part 1 open")
		p.poll(3 * time.Minute)
		w.want("RM_1 part 1 sealed COMPLETE room_missing")
		w.check("RM_1")
	})
}

// The recorder does not wait for a run that ends before the join, and does not mistake its
// successor for it.
func TestRunIsOverBeforeTheJoin(t *testing.T) {
	for name, next := range map[string]string{"no room": "", "another run": "RM_2"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newLiveKitWorld(t).withKey(nil)
				w.start()
				defer func() { w.stop() }()
				want := "RM_1 part 1 sealed ABORTED room_missing"
				if next != "" {
					w.appear("class", next)
					want = "RM_1 part 1 sealed ABORTED room_replaced"
				}
				for _, backlog := range []bool{false, true} {
					if err := w.handler.Announce(t.Context(), session.Announcement{
						SessionID: "RM_1", Room: "class", ReceivedAt: time.Now(), Backlog: backlog,
					}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(10 * time.Second)
					w.want(want)
				}
				time.Sleep(time.Hour)
				w.want(want)
				w.check()
			})
		})
	}
}

// While the LiveKit server cannot be reached, no next part begins, because the room may have closed
// meanwhile.
func TestServerDownAtStart(t *testing.T) {
	for name, open := range map[string]bool{"the room is there": true, "it has closed": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, p := inClass(t)
				defer func() { w.stop() }()
				w.stop()
				w.set(func(l *bareLiveKit) { l.cut = true })
				w.start()
				time.Sleep(30 * time.Second)
				sealed := "RM_1 part 1 sealed COMPLETE service_stopped"
				w.want(sealed)
				if !open {
					w.vanish("class")
				}
				w.set(func(l *bareLiveKit) { l.cut = false })
				p.poll(time.Minute)
				if open {
					w.want(sealed, "RM_1 part 2 open")
					return
				}
				w.want(sealed)
			})
		})
	}
}

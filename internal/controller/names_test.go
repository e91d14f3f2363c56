package controller_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/session"
)

// named checks the room of the recording of s1, in which we are, and that it is durable.
func (w *world) named() {
	w.t.Helper()
	synctest.Wait()
	w.want("s1 part 1 open")
	info := w.spool.Recordings()[0].Info()
	if info.RoomName != "room-s1" || !strings.Contains(info.KeyPrefix, "/room-s1/") ||
		strings.Contains(info.KeyPrefix, "forged") {
		w.t.Errorf("room %q, delivered to %q", info.RoomName, info.KeyPrefix)
	}
	list := w.ctl.Snapshot().Recorders
	if len(list) != 1 || !list[0].Connected || list[0].Info.RoomName != "room-s1" {
		w.t.Errorf("recorders: %+v", list)
	}
}

// An announcement with a wrong room, which every device of a project can send, neither keeps the
// session from being recorded nor leaves a trace: the platform knows the room.
func TestForgedRoom(t *testing.T) {
	for _, noList := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.registry.set("s1", "Started")
			w.start()
			defer func() { w.stop() }()
			if noList { // only the list can be had
				w.registry.mu.Lock()
				w.registry.detailsFail = true
				w.registry.mu.Unlock()
			}
			w.src.announceRoom(t, "s1", "forged")
			w.named()
			if n := w.registry.count("session"); n != 1 {
				t.Errorf("%d questions for the room", n)
			}
		})
	}
}

// The true announcement corrects a recording at once also while the platform stalls that was asked
// for the room.
func TestForgedRoom_WhileThePlatformStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.set("s1", "Started")
		w.registry.detailsTake = 5 * time.Minute
		w.start()
		defer func() { w.stop() }()
		w.src.announceRoom(t, "s1", "forged")
		time.Sleep(time.Second)
		w.src.announce(t, "s1")
		time.Sleep(time.Second)
		w.named()
	})
}

// Where the platform cannot name the room (LiveKit without Redis), the true announcement and the
// operator correct a recording that waits for it, at once; so does a restart with either.
func TestForgedRoom_Corrected(t *testing.T) {
	for _, c := range []struct {
		name    string
		restart bool
		correct func(*world)
	}{
		{"by the announcement", false, func(w *world) { w.src.announce(w.t, "s1") }},
		{"by the announcement after a restart", true, func(w *world) { w.src.announce(w.t, "s1") }},
		{"by the operator", false, func(w *world) {
			w.registry.mu.Lock()
			w.registry.noRedis = false
			w.registry.mu.Unlock()
			if _, err := w.ctl.Record(w.t.Context(), "s1"); err != nil {
				w.t.Error(err)
			}
		}},
		{"by the platform, later", false, func(w *world) {
			w.registry.mu.Lock()
			w.registry.noRedis = false
			w.registry.mu.Unlock()
			time.Sleep(10 * time.Minute)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.registry.noRedis = true
				w.registry.set("s1", "Started")
				w.start()
				w.src.announceRoom(t, "s1", "forged")
				w.src.announceRoom(t, "s1", "forged too")
				synctest.Wait()
				if c.restart {
					w.stop()
					w.start()
				}
				defer func() { w.stop() }()
				time.Sleep(time.Hour)
				w.want("s1 part 1 open")
				if n := w.registry.count("token"); n > 100 {
					t.Errorf("%d tokens were asked for in an hour", n)
				}
				c.correct(w)
				w.named()
			})
		})
	}
}

// The true announcement first, while the API is away; a forged one does not take its place.
func TestForgedRoom_Second(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.set("s1", "Started")
		w.start()
		defer func() { w.stop() }()
		w.registry.mu.Lock()
		w.registry.down = 3
		w.registry.mu.Unlock()
		w.src.announce(t, "s1")
		w.src.announceRoom(t, "s1", "forged")
		time.Sleep(time.Minute)
		w.named()
		// Nothing that is announced reaches a recording that is in its room.
		for i := range 50 {
			w.src.announceRoom(t, "s1", fmt.Sprintf("forged %d", i))
		}
		time.Sleep(time.Minute)
		w.named()
		if n := w.room.joins("s1"); n != 1 {
			t.Errorf("%d joins", n)
		}
	})
}

// With a key of LiveKit we make the token ourselves, and it leads into whatever room was announced.
// Another session's is left at once, and is not the end of ours.
func TestForgedRoom_OwnToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.set("s1", "Started")
		w.registry.set("s2", "Started")
		w.joinToken = func(room, _ string) (string, error) {
			return strings.TrimPrefix(room,
				"room-"), nil
		}
		w.start()
		defer func() { w.stop() }()
		w.src.announceRoom(t, "s1", "room-s2")
		time.Sleep(time.Minute)
		w.named()
		if n := w.room.joins("s2"); n != 1 {
			t.Errorf("%d joins of the other session's room", n)
		}
	})
}

// The session ends before its room is known: the recording ends, too.
func TestForgedRoom_SessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.noRedis = true
		w.registry.set("s1", "Started")
		w.start()
		defer func() { w.stop() }()
		w.src.announceRoom(t, "s1", "forged")
		time.Sleep(time.Minute)
		w.want("s1 part 1 open")
		w.registry.set("s1", "Stopped")
		time.Sleep(10 * time.Minute)
		w.want("s1 part 1 sealed ABORTED session_ended")
	})
}

// A session that the platform does not know is not waited for.
func TestForgedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer func() { w.stop() }()
		w.src.announce(t, "s1")
		w.want("s1 part 1 sealed ABORTED session_ended")
		if _, err := w.ctl.Record(t.Context(), "s1"); !errors.Is(err, session.ErrUnknown) {
			t.Errorf("record: %v", err)
		}
	})
}

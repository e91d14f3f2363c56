package controller_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
)

// ownToken makes a token for the room of a session of these tests.
func ownToken(room, _ string) (string, error) { return strings.TrimPrefix(room, "room-"), nil }

// With a key of LiveKit a session is recorded also when SyncFlow gives no token, as happens from
// the fifth one on.
func TestSessionIsRecordedWithoutSyncFlow(t *testing.T) {
	for name, c := range map[string]struct {
		key   func(room, identity string) (string, error)
		joins int
	}{"with a key": {ownToken, 1}, "without": {nil, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.joinToken = c.key
				w.registry.set("s1", "Started")
				w.start()
				defer w.stop()
				w.registry.fallSilent(true)
				w.src.announce(t, "s1")
				time.Sleep(time.Second)
				if n := w.room.joins("s1"); n != c.joins {
					t.Errorf("%d joins in the first second, want %d", n, c.joins)
				}
			})
		})
	}
}

// After a planned restart a session goes on although SyncFlow answers nothing at all.
func TestSessionGoesOnWithoutSyncFlow(t *testing.T) {
	for name, c := range map[string]struct {
		key   func(room, identity string) (string, error)
		joins int
	}{"with a key": {ownToken, 1}, "without": {nil, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.joinToken = c.key
				sessions := []string{"s1", "s2", "s3", "s4", "s5"}
				for _, id := range sessions {
					w.registry.set(id, "Started")
				}
				w.start()
				for _, id := range sessions {
					w.src.announce(t, id)
				}
				time.Sleep(2 * time.Minute)
				w.stop()
				w.registry.fallSilent(true)
				w.start()
				defer func() { w.stop() }()
				time.Sleep(5 * time.Second)
				for _, id := range sessions {
					if n := w.room.joins(id); n != 1+c.joins {
						t.Errorf("%s: %d joins, want %d", id, n, 1+c.joins)
					}
				}
			})
		})
	}
}

// What was recorded until the service was stopped goes on first. A silent SyncFlow keeps a question
// waiting for minutes, and those about breaks that are not over would come before it.
func TestSessionGoesOnBeforeBreaksAreAskedAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.joinToken = ownToken
		w.start()
		for _, id := range []string{"break1", "break2", "s1"} {
			w.registry.set(id, "Started")
			w.src.announce(t, id)
		}
		time.Sleep(2 * time.Minute)
		for _, id := range []string{"break1", "break2"} {
			w.registry.everybodyLeaves(id)
			w.room.end(t, id, room.ReasonRoomClosed)
		}
		time.Sleep(10 * time.Minute)
		w.stop()
		w.registry.fallSilent(true)
		w.start()
		defer func() { w.stop() }()
		time.Sleep(5 * time.Second)
		if n := w.room.joins("s1"); n != 2 {
			t.Errorf("%d joins, want 2", n)
		}
	})
}

// An announcement that names the room of another session leads there with a key of our own;
// SyncFlow knows better, and is asked before anything is given up.
func TestWrongRoomWithAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.joinToken = ownToken
		w.registry.set("s1", "Started")
		w.registry.set("s2", "Started")
		w.start()
		defer w.stop()
		if err := w.src.Announce(session.Announcement{
			SessionID: "s1", Room: "room-s2", ReceivedAt: time.Now(),
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		w.want("s1 part 1 open")
		if n := w.room.joins("s1"); n != 1 {
			t.Errorf("%d joins of the room of s1", n)
		}
	})
}

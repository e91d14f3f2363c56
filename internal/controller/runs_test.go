package controller_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// A session whose end was missed counts as started for ever. It causes no warning and its room is
// not recreated; once a participant is in the room, it is a session like any other.
func TestZombies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.set("s1", "Started")
		w.registry.everybodyLeaves("s1")
		w.start()
		defer func() { w.stop() }()
		if got := w.ctl.Snapshot().Unrequested; len(got) != 0 {
			t.Errorf("pointed out: %v", got)
		}
		before := w.registry.count("state")
		w.registry.comeBack("s1")
		time.Sleep(5*time.Minute + time.Second)
		if got := w.ctl.Snapshot().Unrequested; len(got) != 1 {
			t.Errorf("pointed out: %v, want s1", got)
		}
		w.registry.everybodyLeaves("s1")
		time.Sleep(5 * time.Minute)
		if got := w.ctl.Snapshot().Unrequested; len(got) != 0 {
			t.Errorf("still pointed out: %v", got)
		}
		if n := w.registry.count("state") - before; n != 0 {
			t.Errorf("%d requests for states that the list contains", n)
		}
	})
}

// A session whose end was missed has lent its room's name to the next one: who is there is there
// for that.
func TestNameOfARoomIsUsedAgain(t *testing.T) {
	for _, all := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.all = all
			w.begun()
			defer func() { w.stop() }()
			w.breakBegins()
			time.Sleep(30 * time.Second)
			w.registry.mu.Lock()
			w.registry.sessions["s2"] = fakeSession{
				session.Session{ID: "s2", Room: "room-s1"}, "Started",
			}
			w.registry.mu.Unlock()
			w.src.announceRoom(t, "s2", "room-s1")
			synctest.Wait()
			w.registry.comeBack("s1") // so it seems
			time.Sleep(20 * time.Minute)
			w.want("s1 part 1 sealed COMPLETE room_closed", "s2 part 1 open")
			if got := w.ctl.Snapshot().Unrequested; len(got) != 0 {
				t.Errorf("pointed out: %v", got)
			}
		})
	}
}

// With RECORD_SESSIONS=all a session that began without anybody is recorded when the first one
// comes.
func TestRecordAllWaitsForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.all = true
		w.start()
		defer func() { w.stop() }()
		w.registry.set("s1", "Started")
		w.registry.mu.Lock()
		s := w.registry.sessions["s1"]
		s.StartedAt = time.Now()
		w.registry.sessions["s1"] = s
		w.registry.mu.Unlock()
		w.registry.everybodyLeaves("s1")
		time.Sleep(10 * time.Minute)
		w.want()
		w.registry.comeBack("s1")
		time.Sleep(16 * time.Second)
		w.want("s1 part 1 open")
	})
}

// SyncFlow took back what it had said: a session that counts as started, with somebody in its room,
// is recorded further.
func TestPlatformTakesItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.set("s1", "Stopped")
		w.start()
		defer func() { w.stop() }()
		w.src.announce(t, "s1")
		w.want("s1 part 1 sealed ABORTED session_ended")
		time.Sleep(time.Minute)
		w.registry.set("s1", "Started")
		time.Sleep(5 * time.Minute)
		w.want("s1 part 1 sealed ABORTED session_ended", "s1 part 2 open")
		w.follows("session_ended")
	})
}

// An operator can have a session recorded again as long as the platform says that it runs, whether
// or not somebody is in its room just now.
func TestRecordAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.noRedis = true // SyncFlow cannot tell the session's details then
		w.begun()
		defer func() { w.stop() }()
		w.breakBegins()
		if _, err := w.ctl.Record(t.Context(), "s1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.want("s1 part 1 sealed COMPLETE room_closed", "s1 part 2 open")
		w.registry.comeBack("s1")
		time.Sleep(5 * time.Second)
		if n := w.room.joins("s1"); n != 2 {
			t.Errorf("%d joins, want 2", n)
		}
		w.registry.set("s1", "Stopped")
		w.room.closeRoom(t, "s1")
		synctest.Wait()
		if _, err := w.ctl.Record(t.Context(), "s1"); !errors.Is(err,
			session.ErrEnded) {
			t.Errorf("record a session that is over: %v", err)
		}
	})
}

// Two open recordings of one session come of a fault only; both are brought to their end.
func TestSecondOpenRecording(t *testing.T) {
	for reason, want := range map[room.Reason][2]string{
		room.ReasonRoomClosed: {"COMPLETE room_closed", "ABORTED session_ended"},
		room.ReasonParticipantRemoved: {
			"ABORTED participant_removed",
			"ABORTED participant_removed",
		},
	} {
		t.Run(string(reason), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				for i := range 2 {
					_, err := w.spool.Create(spool.Info{
						SessionID: "s1", RoomName: "room-s1",
						ProjectID: project, CreatedUnixNS: int64(i + 1),
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				w.stop()
				w.registry.set("s1", "Started")
				w.start()
				defer func() { w.stop() }()
				w.want("s1 part 1 open", "s1 part 1 open")
				if reason == room.ReasonRoomClosed {
					w.registry.set("s1", "Stopped")
				}
				w.room.end(t, "s1", reason)
				w.want("s1 part 1 sealed "+want[0], "s1 part 1 sealed "+want[1])
				if n := w.room.joins("s1"); n != 1 {
					t.Errorf("%d joins, want 1", n)
				}
			})
		})
	}
}

package controller_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/syncflow"
)

// begun starts the service, announces s1 and waits for its recorder in the room.
func (w *world) begun() {
	w.t.Helper()
	w.api.set("s1", "Started")
	w.start()
	w.src.announce(w.t, "s1")
	synctest.Wait()
	time.Sleep(5 * time.Minute) // a lesson
}

// breakBegins lets everybody leave the room of s1, which then closes.
func (w *world) breakBegins() {
	w.t.Helper()
	w.api.everybodyLeaves("s1")
	w.room.end(w.t, "s1", room.ReasonRoomClosed)
	synctest.Wait()
}

// outage returns what the n-th recording says about the time before it.
func (w *world) outage(n int) (cause string, since int64) {
	w.t.Helper()
	for f, err := range w.spool.Recordings()[n].Frames() {
		if err != nil {
			w.t.Fatal(err)
		}
		if f.Type != spool.FrameEvent {
			continue
		}
		ev, err := spool.DecodeEvent(f.Payload)
		if err != nil {
			w.t.Fatal(err)
		}
		if ev.Kind == textegress.KindOutageStarted {
			return ev.Cause, ev.SinceUnixNS
		}
	}
	return "", 0
}

// follows checks that the second recording is the part after the first, and what it says of the
// time between.
func (w *world) follows(cause string) {
	w.t.Helper()
	list := w.spool.Recordings()
	if len(list) < 2 {
		w.t.Errorf("%d recordings, want two parts", len(list))
		return
	}
	sealed, _ := list[0].Sealed()
	info := list[1].Info()
	if info.Previous != list[0].ID() || info.PreviousEndedUnixNS != sealed.EndedUnixNS || info.PreviousReason != sealed.Reason || info.RoomName != "room-s1" {
		w.t.Errorf("part 2 is %+v, after %s, which ended at %d", info, list[0].ID(), sealed.EndedUnixNS)
	}
	if got, since := w.outage(1); got != cause || since != sealed.EndedUnixNS {
		w.t.Errorf("the time between is an outage %q since %d, want %q since %d", got, since, cause, sealed.EndedUnixNS)
	}
}

// Everybody leaves, the room closes, people come back: the session goes on, and so does its
// recording. While nobody is there, we bring no room back.
func TestBreak(t *testing.T) {
	for name, set := range map[string]func(*world){
		"announced":           func(*world) {},
		"RECORD_SESSIONS=all": func(w *world) { w.all = true },
		"without Redis":       func(w *world) { w.api.noRedis = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				set(w)
				w.begun()
				defer func() { w.stop() }()
				w.breakBegins()
				w.want("s1 part 1 sealed COMPLETE room_closed")
				before := w.api.count("participants")
				time.Sleep(20 * time.Minute)
				w.want("s1 part 1 sealed COMPLETE room_closed")
				if n := w.api.count("participants") - before; n < 60 || n > 90 {
					t.Errorf("asked %d times in 20 minutes, want every 15 s", n)
				}
				w.api.comeBack("s1")
				time.Sleep(16 * time.Second)
				w.want("s1 part 1 sealed COMPLETE room_closed", "s1 part 2 open")
				w.follows("room_closed")
				if n := w.room.joins("s1"); n != 2 {
					t.Errorf("%d joins, want 2", n)
				}
				w.api.set("s1", "Stopped")
				w.room.closeRoom(t, "s1")
				w.want("s1 part 1 sealed COMPLETE room_closed", "s1 part 2 sealed COMPLETE room_deleted")
			})
		})
	}
}

// A break may be longer than a restart of the service, and the first part may have been delivered
// and removed meanwhile.
func TestBreak_Restart(t *testing.T) {
	for _, c := range []struct {
		length  time.Duration
		noRedis bool
		within  time.Duration // people are recorded again within this time
	}{
		{5 * time.Minute, false, 16 * time.Second},
		{5 * time.Minute, true, 16 * time.Second},
		{3 * time.Hour, false, 5*time.Minute + time.Second},
		{3 * time.Hour, true, 5*time.Minute + time.Second},
	} {
		t.Run(fmt.Sprintf("%v, without Redis: %v", c.length, c.noRedis), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.api.noRedis = c.noRedis
				w.begun()
				w.breakBegins()
				part := w.spool.Recordings()[0]
				for _, do := range []func() error{
					func() error { return part.WriteExport([]byte("e")) },
					func() error { return part.WriteUploaded([]byte("u")) },
					part.RemoveData,
				} {
					if err := do(); err != nil {
						t.Fatal(err)
					}
				}
				w.stop()
				time.Sleep(c.length)
				w.start()
				defer func() { w.stop() }()
				time.Sleep(time.Minute)
				w.want("s1 part 1 removed COMPLETE room_closed")
				w.api.comeBack("s1")
				time.Sleep(c.within)
				w.want("s1 part 1 removed COMPLETE room_closed", "s1 part 2 open")
				w.follows("room_closed")
			})
		})
	}
}

// After an hour a session that may never come back is asked about only when the list is looked at.
func TestBreak_Long(t *testing.T) {
	for _, noRedis := range []bool{false, true} {
		t.Run(fmt.Sprintf("without Redis: %v", noRedis), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.api.noRedis = noRedis
				w.begun()
				defer func() { w.stop() }()
				w.breakBegins()
				time.Sleep(61 * time.Minute)
				before := w.api.count("participants")
				time.Sleep(time.Hour)
				if n := w.api.count("participants") - before; n > 12 {
					t.Errorf("asked %d times in the second hour", n)
				}
				w.api.comeBack("s1")
				time.Sleep(5*time.Minute + time.Second)
				w.want("s1 part 1 sealed COMPLETE room_closed", "s1 part 2 open")
			})
		})
	}
}

// A session that SyncFlow has stopped is asked about once, and never again.
func TestEndIsAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begun()
		defer func() { w.stop() }()
		before := w.api.count("participants")
		// SyncFlow deletes the room first, and says a moment later that the session is over. In that
		// moment it may still know who was there.
		w.room.closeRoom(t, "s1")
		time.Sleep(2 * time.Second)
		w.api.set("s1", "Stopped")
		time.Sleep(3 * time.Hour)
		w.want("s1 part 1 sealed COMPLETE room_deleted")
		if n := w.api.count("participants") - before; n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
	})
}

// Somebody deletes the room and the session goes on without anybody: we do not make the room again.
func TestDeletedRoomStaysDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begun()
		defer func() { w.stop() }()
		w.api.everybodyLeaves("s1")
		w.room.closeRoom(t, "s1")
		time.Sleep(2 * time.Hour)
		w.want("s1 part 1 sealed COMPLETE room_deleted")
	})
}

// A second announcement of a session that has a break is a reason to ask at once, also long after;
// it is none to bring the room back.
func TestBreak_AnnouncedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begun()
		defer func() { w.stop() }()
		w.breakBegins()
		time.Sleep(2 * time.Hour)
		w.src.announceRoom(t, "s1", "another room")
		time.Sleep(time.Minute)
		w.want("s1 part 1 sealed COMPLETE room_closed")
		w.api.comeBack("s1")
		w.src.announceRoom(t, "s1", "another room")
		w.want("s1 part 1 sealed COMPLETE room_closed", "s1 part 2 open")
		w.follows("room_closed")
	})
}

// sealGate holds the sealing of recordings back while it is shut.
type sealGate struct {
	durable.OS

	gate chan struct{}
}

func (f *sealGate) Create(op, name string) (durable.File, error) {
	if op == "seal" {
		<-f.gate
	}
	return f.OS.Create(op, name)
}

// While a recording is being sealed, the session may be announced again, and an operator may ask for
// it: neither is answered with the recording that ends.
func TestBreak_WhileSealing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		gate := &sealGate{gate: make(chan struct{})}
		w.fs = gate
		w.begun()
		defer func() { w.stop() }()
		w.room.end(t, "s1", room.ReasonRoomClosed) // and people are back at once
		synctest.Wait()
		w.src.announce(t, "s1")
		first := w.spool.Recordings()[0].ID()
		answer := make(chan string, 1)
		go func() {
			id, err := w.ctl.Record(t.Context(), "s1")
			if err != nil {
				t.Error(err)
			}
			answer <- id
		}()
		synctest.Wait()
		w.want("s1 part 1 open")
		close(gate.gate)
		if id := <-answer; id == first {
			t.Error("the operator was shown the recording that had ended")
		}
		w.want("s1 part 1 sealed COMPLETE room_closed", "s1 part 2 open")
	})
}

// An announcement that comes while the recording is being sealed is not lost.
func TestAnnouncedWhileSealing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		gate := &sealGate{gate: make(chan struct{})}
		w.fs = gate
		w.begun()
		defer func() { w.stop() }()
		w.room.end(t, "s1", room.ReasonRoomClosed)
		synctest.Wait()
		w.src.announce(t, "s1")
		close(gate.gate)
		time.Sleep(6 * time.Second)
		w.want("s1 part 1 sealed COMPLETE room_closed", "s1 part 2 open")
	})
}

// An answer of the platform speaks of the time before it: when a part has begun and ended since, no
// further one begins because of it.
func TestAnswerThatComesLate(t *testing.T) {
	for reason, want := range map[room.Reason]string{
		room.ReasonRoomClosed: "COMPLETE room_closed", room.ReasonParticipantRemoved: "ABORTED participant_removed",
	} {
		t.Run(string(reason), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.begun()
				defer func() { w.stop() }()
				w.breakBegins()
				w.api.comeBack("s1")
				hold := make(chan struct{})
				held := false
				w.api.setHook(func(name, _ string) {
					if name == "participants" && !held {
						held = true
						<-hold
					}
				})
				time.Sleep(16 * time.Second)
				synctest.Wait()
				if !held {
					t.Fatal("nobody was asked")
				}
				if _, err := w.ctl.Record(t.Context(), "s1"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				w.api.everybodyLeaves("s1")
				w.room.end(t, "s1", reason)
				synctest.Wait()
				close(hold)
				time.Sleep(time.Minute)
				w.want("s1 part 1 sealed COMPLETE room_closed", "s1 part 2 sealed "+want)
			})
		})
	}
}

// The list speaks of the time before it, too.
func TestListThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.all = true
		w.begun()
		defer func() { w.stop() }()
		hold := make(chan struct{})
		w.api.setHook(func(name, _ string) {
			if name == "sessions" {
				<-hold
			}
		})
		time.Sleep(5 * time.Minute)
		w.api.set("s1", "Stopped")
		w.room.closeRoom(t, "s1")
		synctest.Wait()
		w.api.setHook(nil)
		close(hold)
		time.Sleep(time.Hour)
		w.want("s1 part 1 sealed COMPLETE room_deleted")
	})
}

// After a restart the sessions that we recorded until then go on before anything else is asked: on
// some servers the list fails as long as a session runs, and takes its time for it.
func TestPartsGoOnFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begun()
		w.stop()
		w.api.mu.Lock()
		w.api.order = nil
		w.api.mu.Unlock()
		w.api.setHook(func(name, _ string) {
			if name == "sessions" {
				time.Sleep(time.Minute)
			}
		})
		w.start()
		defer func() { w.stop() }()
		w.want("s1 part 1 sealed COMPLETE service_stopped", "s1 part 2 open")
		w.api.mu.Lock()
		defer w.api.mu.Unlock()
		if p, s := slices.Index(w.api.order, "participants"), slices.Index(w.api.order, "sessions"); p < 0 || s >= 0 && s < p {
			t.Errorf("asked in this order: %v", w.api.order)
		}
	})
}

// While the API cannot be reached, it is asked again within seconds, and the class goes on when it
// is back.
func TestPartsGoOnWhenTheAPIIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begun()
		w.stop()
		w.api.mu.Lock()
		w.api.down = 1 << 20
		w.api.mu.Unlock()
		w.start()
		defer func() { w.stop() }()
		time.Sleep(10 * time.Minute)
		w.want("s1 part 1 sealed COMPLETE service_stopped")
		w.api.mu.Lock()
		w.api.down = 0
		w.api.mu.Unlock()
		time.Sleep(16 * time.Second)
		w.want("s1 part 1 sealed COMPLETE service_stopped", "s1 part 2 open")
	})
}

// Many sessions that are asked about, on an API that is slow: one question at a time, with as long a
// rest, and the list is looked at all the same.
func TestWatchIsGentle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const n = 40
		w.start()
		defer func() { w.stop() }()
		for i := range n {
			id := fmt.Sprintf("s%d", i)
			w.api.set(id, "Started")
			w.src.announce(t, id)
		}
		time.Sleep(5 * time.Minute)
		var at, busy atomic.Int64
		w.api.setHook(func(string, string) {
			if n := at.Add(1); n > 1 {
				t.Errorf("%d questions at once", n)
			}
			time.Sleep(2 * time.Second)
			busy.Add(int64(2 * time.Second))
			at.Add(-1)
		})
		for i := range n {
			id := fmt.Sprintf("s%d", i)
			w.api.everybodyLeaves(id)
			w.room.end(t, id, room.ReasonRoomClosed)
		}
		lists := w.api.count("sessions")
		began := time.Now()
		time.Sleep(30 * time.Minute)
		if n := w.api.count("sessions") - lists; n < 5 || n > 7 {
			t.Errorf("the list was looked at %d times in 30 minutes", n)
		}
		if spent, all := time.Duration(busy.Load()), time.Since(began); spent > all*6/10 {
			t.Errorf("the API was kept busy for %v of %v", spent, all)
		}
	})
}

// Whoever throws us out again and again makes few recordings.
func TestShortPartsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begun()
		defer func() { w.stop() }()
		for range 3600 {
			time.Sleep(time.Second)
			if w.ctl.Snapshot().Recorders != nil {
				w.room.end(t, "s1", room.ReasonRoomDeleted)
			}
		}
		if n := len(w.spool.Recordings()); n < 5 || n > 20 {
			t.Errorf("%d recordings in an hour", n)
		}
	})
}

// A session counts as started for ever when its end was missed. Nobody is warned of it and its room
// is not brought back; when somebody is in it, it is a session like any other.
func TestZombies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.api.set("s1", "Started")
		w.api.everybodyLeaves("s1")
		w.start()
		defer func() { w.stop() }()
		if got := w.ctl.Snapshot().Unrequested; len(got) != 0 {
			t.Errorf("pointed out: %v", got)
		}
		before := w.api.count("participants")
		w.api.comeBack("s1")
		time.Sleep(5*time.Minute + time.Second)
		if got := w.ctl.Snapshot().Unrequested; len(got) != 1 {
			t.Errorf("pointed out: %v, want s1", got)
		}
		w.api.everybodyLeaves("s1")
		time.Sleep(5 * time.Minute)
		if got := w.ctl.Snapshot().Unrequested; len(got) != 0 {
			t.Errorf("still pointed out: %v", got)
		}
		if n := w.api.count("participants") - before; n != 0 {
			t.Errorf("%d questions for what the list tells", n)
		}
	})
}

// A session whose end was missed has lent its room's name to the next one: who is there is there for
// that.
func TestNameOfARoomIsUsedAgain(t *testing.T) {
	for _, all := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.all = all
			w.begun()
			defer func() { w.stop() }()
			w.breakBegins()
			time.Sleep(30 * time.Second)
			w.api.mu.Lock()
			w.api.sessions["s2"] = syncflow.Session{ID: "s2", Name: "class", RoomName: "room-s1", Status: "Started"}
			w.api.mu.Unlock()
			w.src.announceRoom(t, "s2", "room-s1")
			synctest.Wait()
			w.api.comeBack("s1") // so it seems
			time.Sleep(20 * time.Minute)
			w.want("s1 part 1 sealed COMPLETE room_closed", "s2 part 1 open")
			if got := w.ctl.Snapshot().Unrequested; len(got) != 0 {
				t.Errorf("pointed out: %v", got)
			}
		})
	}
}

// With RECORD_SESSIONS=all a session that began without anybody is recorded when the first one comes.
func TestRecordAllWaitsForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.all = true
		w.start()
		defer func() { w.stop() }()
		w.api.set("s1", "Started")
		w.api.mu.Lock()
		s := w.api.sessions["s1"]
		s.StartedAt.Time = time.Now()
		w.api.sessions["s1"] = s
		w.api.mu.Unlock()
		w.api.everybodyLeaves("s1")
		time.Sleep(10 * time.Minute)
		w.want()
		w.api.comeBack("s1")
		time.Sleep(16 * time.Second)
		w.want("s1 part 1 open")
	})
}

// SyncFlow took back what it had said: a session that counts as started, with somebody in its room,
// is recorded further.
func TestPlatformTakesItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.api.set("s1", "Stopped")
		w.start()
		defer func() { w.stop() }()
		w.src.announce(t, "s1")
		w.want("s1 part 1 sealed ABORTED session_ended")
		time.Sleep(time.Minute)
		w.api.set("s1", "Started")
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
		w.api.noRedis = true // SyncFlow cannot tell the session's details then
		w.begun()
		defer func() { w.stop() }()
		w.breakBegins()
		if _, err := w.ctl.Record(t.Context(), "s1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.want("s1 part 1 sealed COMPLETE room_closed", "s1 part 2 open")
		w.api.comeBack("s1")
		time.Sleep(5 * time.Second)
		if n := w.room.joins("s1"); n != 2 {
			t.Errorf("%d joins, want 2", n)
		}
		w.api.set("s1", "Stopped")
		w.room.closeRoom(t, "s1")
		synctest.Wait()
		if _, err := w.ctl.Record(t.Context(), "s1"); !errors.Is(err, syncflow.ErrSessionNotActive) {
			t.Errorf("record a session that is over: %v", err)
		}
	})
}

// Two open recordings of one session come of a fault only; both are brought to their end.
func TestSecondOpenRecording(t *testing.T) {
	for reason, want := range map[room.Reason][2]string{
		room.ReasonRoomClosed:         {"COMPLETE room_closed", "ABORTED session_ended"},
		room.ReasonParticipantRemoved: {"ABORTED participant_removed", "ABORTED participant_removed"},
	} {
		t.Run(string(reason), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				for i := range 2 {
					_, err := w.spool.Create(spool.Info{SessionID: "s1", RoomName: "room-s1", ProjectID: project, CreatedUnixNS: int64(i + 1)})
					if err != nil {
						t.Fatal(err)
					}
				}
				w.stop()
				w.api.set("s1", "Started")
				w.start()
				defer func() { w.stop() }()
				w.want("s1 part 1 open", "s1 part 1 open")
				if reason == room.ReasonRoomClosed {
					w.api.set("s1", "Stopped")
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

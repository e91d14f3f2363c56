package controller_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/segment"
)

// begun starts the service, announces s1 and waits for its recorder in the room.
func (w *world) begun() {
	w.t.Helper()
	w.registry.set("s1", "Started")
	w.start()
	w.src.announce(w.t, "s1")
	synctest.Wait()
	time.Sleep(5 * time.Minute) // a lesson
}

// breakBegins lets everybody leave the room of s1, which then closes.
func (w *world) breakBegins() {
	w.t.Helper()
	w.registry.everybodyLeaves("s1")
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
		if f.Type != segment.FrameEvent {
			continue
		}
		ev, err := segment.DecodeEvent(f.Payload)
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
	if info.Previous != list[0].ID() || info.PreviousEndedUnixNS != sealed.EndedUnixNS ||
		info.PreviousReason != sealed.Reason || info.RoomName != "room-s1" {
		w.t.Errorf("part 2 is %+v, after %s, which ended at %d", info, list[0].ID(),
			sealed.EndedUnixNS)
	}
	if got, since := w.outage(1); got != cause || since != sealed.EndedUnixNS {
		w.t.Errorf("the time between is an outage %q since %d, want %q since %d", got, since, cause,
			sealed.EndedUnixNS)
	}
}

// Everybody leaves, the room closes, people come back: the session goes on, and so does its
// recording. While nobody is there, we bring no room back.
func TestBreak(t *testing.T) {
	for name, set := range settings {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				set(w)
				w.begun()
				defer func() { w.stop() }()
				w.breakBegins()
				w.want("s1 part 1 sealed COMPLETE room_closed")
				before := w.registry.count("state")
				time.Sleep(20 * time.Minute)
				w.want("s1 part 1 sealed COMPLETE room_closed")
				if n := w.registry.count("state") - before; n < 60 || n > 90 {
					t.Errorf("asked %d times in 20 minutes, want every 15 s", n)
				}
				w.registry.comeBack("s1")
				time.Sleep(16 * time.Second)
				w.want("s1 part 1 sealed COMPLETE room_closed", "s1 part 2 open")
				w.follows("room_closed")
				if n := w.room.joins("s1"); n != 2 {
					t.Errorf("%d joins, want 2", n)
				}
				w.registry.set("s1", "Stopped")
				w.room.closeRoom(t, "s1")
				w.want("s1 part 1 sealed COMPLETE room_closed",
					"s1 part 2 sealed COMPLETE room_deleted")
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
				w.registry.noRedis = c.noRedis
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
				w.registry.comeBack("s1")
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
				w.registry.noRedis = noRedis
				w.begun()
				defer func() { w.stop() }()
				w.breakBegins()
				time.Sleep(61 * time.Minute)
				before := w.registry.count("state")
				time.Sleep(time.Hour)
				if n := w.registry.count("state") - before; n > 12 {
					t.Errorf("asked %d times in the second hour", n)
				}
				w.registry.comeBack("s1")
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
		before := w.registry.count("state")
		// SyncFlow deletes the room first, and says a moment later that the session is over. In
		// that moment it may still know who was there.
		w.room.closeRoom(t, "s1")
		time.Sleep(2 * time.Second)
		w.registry.set("s1", "Stopped")
		time.Sleep(3 * time.Hour)
		w.want("s1 part 1 sealed COMPLETE room_deleted")
		if n := w.registry.count("state") - before; n != 1 {
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
		w.registry.everybodyLeaves("s1")
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
		w.registry.comeBack("s1")
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

// While a recording is being sealed, the session may be announced again, and an operator may ask
// for it: neither is answered with the recording that ends.
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
		room.ReasonRoomClosed:         "COMPLETE room_closed",
		room.ReasonParticipantRemoved: "ABORTED participant_removed",
	} {
		t.Run(string(reason), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.begun()
				defer func() { w.stop() }()
				w.breakBegins()
				w.registry.comeBack("s1")
				hold := make(chan struct{})
				held := false
				w.registry.setHook(func(name, _ string) {
					if name == "state" && !held {
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
				w.registry.everybodyLeaves("s1")
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
		w.registry.setHook(func(name, _ string) {
			if name == "sessions" {
				<-hold
			}
		})
		time.Sleep(5 * time.Minute)
		w.registry.set("s1", "Stopped")
		w.room.closeRoom(t, "s1")
		synctest.Wait()
		w.registry.setHook(nil)
		close(hold)
		time.Sleep(time.Hour)
		w.want("s1 part 1 sealed COMPLETE room_deleted")
	})
}

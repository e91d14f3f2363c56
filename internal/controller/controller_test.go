package controller_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/session"
)

func TestAnnouncedSessionIsRecordedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.set("s1", "Started")
		w.start()
		defer w.stop()
		w.src.announce(t, "s1")
		w.src.announce(t, "s1") // the group stood twice in the request
		synctest.Wait()
		if n := w.room.joins("s1"); n != 1 {
			t.Errorf("%d joins, want 1", n)
		}
		w.want("s1 part 1 open")
		w.registry.set("s1", "Stopped")
		w.room.closeRoom(t, "s1")
		w.want("s1 part 1 sealed COMPLETE room_deleted")
		w.src.announce(t, "s1") // redelivered after the end
		w.want("s1 part 1 sealed COMPLETE room_deleted")
	})
}

// A broker delivers an announcement again while the first delivery is still being handled, and
// several sources hear of one session at once.
func TestAnnouncedManyTimesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.set("s1", "Started")
		w.start()
		defer w.stop()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				err := w.src.Handler.Announce(t.Context(), session.Announcement{
					SessionID: "s1", Room: "room-s1", Source: "rabbitmq", ReceivedAt: time.Now(),
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		w.want("s1 part 1 open")
	})
}

func TestAnnouncedAndEndedBeforeWeCouldJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.set("s1", "Stopped")
		w.start()
		defer w.stop()
		w.src.announce(t, "s1")
		w.want("s1 part 1 sealed ABORTED session_ended")
		if n := w.room.joins("s1"); n != 0 {
			t.Errorf("%d joins: a join makes the room of an ended session again", n)
		}
	})
}

func TestRestartContinuesAsASecondPart(t *testing.T) {
	for _, noRedis := range []bool{false, true} {
		t.Run(fmt.Sprintf("without Redis: %v", noRedis), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.registry.noRedis = noRedis
				w.registry.set("s1", "Started")
				w.start()
				w.src.announce(t, "s1")
				synctest.Wait()
				w.stop()
				w.start()
				defer func() { w.stop() }()
				w.want("s1 part 1 sealed COMPLETE service_stopped", "s1 part 2 open")
				w.registry.set("s1", "Stopped")
				w.room.closeRoom(t, "s1")
				w.want("s1 part 1 sealed COMPLETE service_stopped",
					"s1 part 2 sealed COMPLETE room_deleted")
				second := w.spool.Recordings()[1].Info()
				if first := w.spool.Recordings()[0]; second.Previous != first.ID() ||
					second.PreviousEndedUnixNS == 0 {
					t.Errorf("part 2 names %q (ended %d) as the one before, want %q",
						second.Previous, second.PreviousEndedUnixNS, first.ID())
				}
			})
		})
	}
}

// Whether a session runs is asked with the gentlest question: for details of a session the API
// needs two of its few database connections at once, so that a recorder of four sessions stalls it
// for everybody.
func TestStateIsAskedGently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 4 {
			w.registry.set(fmt.Sprintf("s%d", i), "Started")
		}
		w.start()
		for i := range 4 {
			w.src.announce(t, fmt.Sprintf("s%d", i))
		}
		synctest.Wait()
		w.stop()
		w.start()
		defer func() { w.stop() }()
		synctest.Wait()
		if n := w.room.joins("s3"); n != 2 {
			t.Errorf("%d joins, want one before and one after the restart", n)
		}
		w.registry.mu.Lock()
		defer w.registry.mu.Unlock()
		if w.registry.calls["session"] != 0 || w.registry.calls["state"] == 0 {
			t.Errorf("asked %v, want the state only", w.registry.calls)
		}
	})
}

// TestPseudonymsGoOnInTheNextPart: a sid that is in both parts would give away who is who.
func TestPseudonymsGoOnInTheNextPart(t *testing.T) {
	for _, c := range []struct{ before, after, want string }{
		{"k1", "", "k1"},
		{"k1", "k2", "k2"},
		{"", "k2", "k2"},
		{"", "", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.pseudonyms = c.before
			w.registry.set("s1", "Started")
			w.start()
			w.src.announce(t, "s1")
			synctest.Wait()
			w.stop()
			w.pseudonyms = c.after
			w.start()
			defer func() { w.stop() }()
			w.want("s1 part 1 sealed COMPLETE service_stopped", "s1 part 2 open")
			first, second := w.spool.Recordings()[0].Info(), w.spool.Recordings()[1].Info()
			if first.Pseudonyms != (c.before != "") || first.PseudonymKey != c.before ||
				second.Pseudonyms != (c.want != "") || second.PseudonymKey != c.want {
				t.Errorf("%+v: part 1 %v %q, part 2 %v %q", c, first.Pseudonyms, first.PseudonymKey,
					second.Pseudonyms, second.PseudonymKey)
			}
		})
	}
}

// An announcement that waited in the queue while we were down finds the session
// sealed by the stop: it is the second part.
func TestQueuedAnnouncementAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.set("s1", "Started")
		w.start()
		w.src.announce(t, "s1")
		synctest.Wait()
		w.stop()
		w.registry.set("s1", "Stopped")
		w.start()
		defer func() { w.stop() }()
		w.want("s1 part 1 sealed COMPLETE service_stopped")
	})
}

func TestUnannouncedSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.set("s1", "Started")
		w.registry.set("s2", "Stopped")
		w.start()
		w.want()
		got := w.ctl.Snapshot().Unrequested
		if len(got) != 1 || got[0].SessionID != "s1" {
			t.Errorf("pointed out: %v, want s1 alone", got)
		}
		if _, err := w.ctl.Record(t.Context(), "s1"); err != nil {
			t.Errorf("record s1 on request: %v", err)
		}
		w.want("s1 part 1 open")
		if got := w.ctl.Snapshot().Unrequested; len(got) != 0 {
			t.Errorf("still pointed out: %v", got)
		}
		if _, err := w.ctl.Record(t.Context(), "s2"); !errors.Is(err,
			session.ErrEnded) {
			t.Errorf("record s2: %v, want ErrSessionNotActive", err)
		}
		if _, err := w.ctl.Record(t.Context(), "s3"); !errors.Is(err, session.ErrUnknown) {
			t.Errorf("record s3: %v, want ErrNotFound", err)
		}
		w.stop()
	})
}

func TestRecordAllTakesWhatLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.all = true
		w.registry.set("s1", "Started")
		w.registry.set("zombie", "Started")
		w.registry.roomless["zombie"] = true
		w.start()
		defer w.stop()
		w.want("s1 part 1 open")
		if n := w.room.joins("zombie"); n != 0 {
			t.Errorf("%d joins of a session whose room is gone", n)
		}
		w.registry.set("s2", "Started")
		time.Sleep(6 * time.Minute) // fake time: the next look at the list
		w.want("s1 part 1 open", "s2 part 1 open")
	})
}

// The broker's announcements wait until the project could be read; the service
// tries for as long as it takes.
func TestAPIDownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.set("s1", "Started")
		w.registry.down = 7
		w.start()
		defer w.stop()
		if s := w.ctl.Snapshot(); s.State != controller.StateRetrying || s.Error == "" {
			t.Errorf("state %s (%q), want retrying and why", s.State, s.Error)
		}
		w.src.announce(t, "s1")
		w.want("s1 part 1 open")
		if s := w.ctl.Snapshot(); s.State != controller.StateRunning || s.Error != "" {
			t.Errorf("state %s (%q), want running", s.State, s.Error)
		}
	})
}

// A panic in one recorder is that session's trouble alone, and it goes on.
func TestOneSessionsPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.set("s1", "Started")
		w.registry.set("s2", "Started")
		w.room.panics["s1"] = 2
		w.start()
		defer w.stop()
		w.src.announce(t, "s1")
		w.src.announce(t, "s2")
		time.Sleep(time.Minute) // fake time
		w.want("s1 part 1 open", "s2 part 1 open")
		for _, r := range w.ctl.Snapshot().Recorders {
			if !r.Connected || r.Status != textegress.StatusActive {
				t.Errorf("%s: connected %v, %s; want it in the room", r.Info.SessionID, r.Connected,
					r.Status)
			}
		}
	})
}

// Nothing is begun once the service stops: the announcement goes back to the
// queue, for the next start or another instance.
func TestNothingBeginsWhileStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.set("s1", "Started")
		w.start()
		w.stop()
		if _, err := w.ctl.Record(t.Context(), "s1"); !errors.Is(err, controller.ErrStopping) {
			t.Errorf("record: %v, want ErrStopping", err)
		}
	})
}

// An idle project asks the API for next to nothing.
func TestLightOnTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.registry.set("s1", "Started")
		w.start()
		defer w.stop()
		w.src.announce(t, "s1")
		time.Sleep(time.Hour)
		w.registry.mu.Lock()
		defer w.registry.mu.Unlock()
		total := 0
		for _, n := range w.registry.calls {
			total += n
		}
		// Project, device, token, and the list at the start and every five minutes.
		if total > 4+12+1 {
			t.Errorf("%d requests in an hour: %v", total, w.registry.calls)
		}
	})
}

// meetingFS lets the directories of two recordings be made only at the same time.
type meetingFS struct {
	durable.OS

	here chan struct{}
}

func (f *meetingFS) Mkdir(op, name string) error {
	if op == "create" {
		select {
		case f.here <- struct{}{}:
		case <-f.here:
		}
	}
	return f.OS.Mkdir(op, name)
}

// A slow disk makes sessions that are announced together wait once, not one after the other; and a
// session that is asked for from two sides at once gets one recording.
func TestSessionsBeginSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fs = &meetingFS{here: make(chan struct{})}
		for _, id := range []string{"s1", "s2"} {
			w.registry.set(id, "Started")
		}
		w.start()
		defer func() { w.stop() }()
		var wg sync.WaitGroup
		ids := make(chan string, 6)
		for range 3 {
			for _, id := range []string{"s1", "s2"} {
				wg.Go(func() {
					egress, err := w.ctl.Record(t.Context(), id)
					if err != nil {
						t.Error(err)
					}
					ids <- egress
				})
			}
		}
		wg.Wait() // for ever, if one waited for the other
		synctest.Wait()
		w.want("s1 part 1 open", "s2 part 1 open")
		seen := map[string]int{}
		for range cap(ids) {
			seen[<-ids]++
		}
		if len(seen) != 2 {
			t.Errorf("egress ids and how often they were answered: %v", seen)
		}
	})
}

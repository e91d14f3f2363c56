package controller_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/room"
)

// After a restart the sessions that we recorded until then go on before anything else is asked: on
// some servers the list fails as long as a session runs, and takes its time for it.
func TestPartsGoOnFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begun()
		w.stop()
		w.registry.mu.Lock()
		w.registry.order = nil
		w.registry.mu.Unlock()
		w.registry.setHook(func(name, _ string) {
			if name == "sessions" {
				time.Sleep(time.Minute)
			}
		})
		w.start()
		defer func() { w.stop() }()
		w.want("s1 part 1 sealed COMPLETE service_stopped", "s1 part 2 open")
		w.registry.mu.Lock()
		defer w.registry.mu.Unlock()
		if p, s := slices.Index(w.registry.order, "state"),
			slices.Index(w.registry.order, "sessions"); p < 0 || s >= 0 && s < p {
			t.Errorf("asked in this order: %v", w.registry.order)
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
		w.registry.mu.Lock()
		w.registry.down = 1 << 20
		w.registry.mu.Unlock()
		w.start()
		defer func() { w.stop() }()
		time.Sleep(10 * time.Minute)
		w.want("s1 part 1 sealed COMPLETE service_stopped")
		w.registry.mu.Lock()
		w.registry.down = 0
		w.registry.mu.Unlock()
		time.Sleep(16 * time.Second)
		w.want("s1 part 1 sealed COMPLETE service_stopped", "s1 part 2 open")
	})
}

// Many sessions that are asked about, on an API that is slow: one question at a time, with as long
// a rest, and the list is looked at all the same.
func TestWatchIsGentle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const n = 40
		w.start()
		defer func() { w.stop() }()
		for i := range n {
			id := fmt.Sprintf("s%d", i)
			w.registry.set(id, "Started")
			w.src.announce(t, id)
		}
		time.Sleep(5 * time.Minute)
		var at, busy atomic.Int64
		w.registry.setHook(func(string, string) {
			if n := at.Add(1); n > 1 {
				t.Errorf("%d questions at once", n)
			}
			time.Sleep(2 * time.Second)
			busy.Add(int64(2 * time.Second))
			at.Add(-1)
		})
		for i := range n {
			id := fmt.Sprintf("s%d", i)
			w.registry.everybodyLeaves(id)
			w.room.end(t, id, room.ReasonRoomClosed)
		}
		lists := w.registry.count("sessions")
		began := time.Now()
		time.Sleep(30 * time.Minute)
		if n := w.registry.count("sessions") - lists; n < 5 || n > 7 {
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

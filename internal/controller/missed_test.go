package controller_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/session"
)

// begin lets a session begin at a time of our clock.
func (w *world) begin(id string, at time.Time) {
	w.registry.set(id, "Started")
	w.registry.mu.Lock()
	defer w.registry.mu.Unlock()
	s := w.registry.sessions[id]
	s.StartedAt = at.Add(w.registry.ahead).Truncate(time.Second) // as SyncFlow gives it
	w.registry.sessions[id] = s
}

// gap tells the controller of a time in which announcements may have been lost. The channel yields
// its answer.
func (w *world) gap(from, to time.Time) <-chan error {
	answer := w.src.Resync(session.Gap{From: from, To: to})
	synctest.Wait()
	return answer
}

// sources says where the recordings come from, by session.
func (w *world) sources() []string {
	var out []string
	for _, r := range w.spool.Recordings() {
		out = append(out, r.Info().SessionID+" "+r.Info().Source)
	}
	slices.Sort(out)
	return out
}

func (w *world) recorded(want ...string) {
	w.t.Helper()
	synctest.Wait()
	if got := w.sources(); !slices.Equal(got, want) {
		w.t.Errorf("recorded: %q, want %q", got, want)
	}
}

// TestMissed: sessions that began while announcements were lost count as announced, by SyncFlow's
// clock too; others do not, nor does one whose room nobody is in, until somebody is.
func TestMissed(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -90 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.registry.ahead = ahead
			w.start()
			defer func() { w.stop() }()
			now := time.Now()
			w.begin("before", now)
			time.Sleep(time.Minute)
			from := time.Now()
			w.begin("first", from)
			time.Sleep(time.Minute)
			w.begin("announced", time.Now())
			w.begin("empty", time.Now())
			w.registry.mu.Lock()
			w.registry.roomless["empty"] = true
			w.registry.mu.Unlock()
			time.Sleep(time.Minute)
			to := time.Now()
			w.begin("last", to)
			w.src.announce(t, "announced")
			select {
			case err := <-w.gap(from, to):
				if err != nil {
					t.Error(err)
				}
			default:
				t.Error("the gap is not settled")
			}
			w.recorded("announced rabbitmq", "first missed", "last missed")
			if got := w.ctl.Snapshot().Unrequested; len(got) != 1 || got[0].SessionID != "before" {
				t.Errorf("pointed out: %v, want the one from before", got)
			}
			w.registry.mu.Lock()
			w.registry.roomless["empty"] = false
			w.registry.mu.Unlock()
			time.Sleep(10 * time.Minute)
			w.begin("after", time.Now())
			time.Sleep(10 * time.Minute)
			w.recorded("announced rabbitmq", "empty missed", "first missed", "last missed")
		})
	}
}

// TestMissed_ListFails: a gap is settled when the list could be had, and not before; it is asked
// for soon.
func TestMissed_ListFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer func() { w.stop() }()
		w.begin("s1", time.Now())
		w.registry.mu.Lock()
		w.registry.noRedis = true
		w.registry.mu.Unlock()
		answer := w.gap(time.Now(), time.Now())
		time.Sleep(time.Hour)
		select {
		case err := <-answer:
			t.Fatalf("settled without the list: %v", err)
		default:
		}
		w.recorded()
		w.registry.mu.Lock()
		w.registry.noRedis = false
		w.registry.mu.Unlock()
		time.Sleep(time.Minute)
		if err := <-answer; err != nil {
			t.Error(err)
		}
		w.recorded("s1 missed")
	})
}

// TestMissed_LeftMeanwhile: between the list and the question who is there everybody has left. The
// first one to come back begins the recording, not the next list after that.
func TestMissed_LeftMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer func() { w.stop() }()
		from := time.Now()
		w.begin("s1", from)
		time.Sleep(time.Minute)
		w.registry.setHook(func(name, _ string) {
			if name == "sessions" {
				w.registry.everybodyLeaves("s1")
			}
		})
		if err := <-w.gap(from, time.Now()); err != nil {
			t.Fatal(err)
		}
		w.registry.setHook(nil)
		time.Sleep(time.Minute)
		w.recorded()
		w.registry.comeBack("s1")
		time.Sleep(16 * time.Second)
		w.recorded("s1 missed")
	})
}

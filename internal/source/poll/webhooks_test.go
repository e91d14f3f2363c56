package poll_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// count returns the number of lists in the next minute.
func (w *world) count() int {
	w.after(0, func() { w.lists = nil })
	w.after(time.Minute, nil)
	return len(w.lists)
}

func (w *world) often(want bool) {
	w.t.Helper()
	n := w.count()
	if want && (n < 58 || n > 62) || !want && (n < 3 || n > 5) {
		w.t.Errorf("%d lists in a minute, often: %v", n, want)
	}
}

// Rooms are listed less often from the first webhook on, and often again when no webhook announces
// a new room.
func TestWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, running("RM_1"))
		w.often(true)
		w.after(0, func() { w.seen = time.Now() })
		w.after(interval, nil)
		w.often(false)
		var pauses []time.Duration
		w.after(0, func() { w.lists = nil })
		w.after(time.Hour, nil)
		for i := range w.lists[1:] {
			pauses = append(pauses, w.lists[i+1].Sub(w.lists[i]))
		}
		if a, b := slices.Min(pauses), slices.Max(pauses); a < 12*time.Second ||
			b > 18*time.Second || b-a < time.Second {
			t.Errorf("pauses from %v to %v", a, b)
		}
		add := func(id string, known bool) func() {
			return func() {
				w.sessions = append(w.sessions, running(id))
				w.known[id] = known
			}
		}
		w.after(0, add("RM_2", true))
		w.after(time.Minute, nil)
		w.often(false)
		// Wake causes a list at once.
		w.after(0, func() { w.lists = nil })
		w.Wake()
		w.after(0, nil)
		if len(w.lists) != 1 {
			t.Errorf("%d lists", len(w.lists))
		}
		// A webhook is lost; receiving another one does not restore the reliance.
		w.after(0, add("RM_3", false))
		w.after(40*time.Second, func() { w.seen = time.Now() })
		w.often(true)
		w.after(0, add("RM_4", false))
		w.often(true)
		if n := strings.Count(w.log.String(), "do not arrive"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, w.log.String())
		}
		w.after(0, add("RM_5", true))
		w.after(2*interval, nil)
		w.often(false)
		// Rooms that opened before or during an outage prove nothing about webhooks.
		w.after(0, func() { w.err = errors.New("away") })
		w.after(time.Minute, func() { w.err = nil; add("RM_6", false)() })
		w.after(time.Minute, nil)
		w.often(false)
	})
}

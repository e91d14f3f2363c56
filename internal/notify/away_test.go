package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	lk "github.com/livekit/protocol/livekit"
)

// TestReceiverAway: a receiver that refuses or stalls for a day or less, while the service restarts
// and recordings end and are delivered, gets every line in order, and then the events of the end.
func TestReceiverAway(t *testing.T) {
	refused := func(context.Context, string, *lk.WebhookEvent) (int, error) {
		return 0, errors.New("connection refused")
	}
	for name, c := range map[string]struct {
		answer answer
		hours  int
	}{
		"404": {status(404), 24}, "503": {status(503), 2}, "stalled": {hang, 2},
		"network": {refused, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newMessageWorld(t)
				w.start()
				w.begin("DE_0")
				w.lines.say("DE_0", "", numbered(1, 10)...)
				settle(10 * time.Second)
				w.web.set(c.answer)
				w.lines.say("DE_0", "", numbered(11, 20)...)
				settle(time.Minute)
				w.lines.say("DE_0", "", numbered(21, 30)...)
				w.seal("DE_0")
				w.deliver("DE_0")
				var ids []string
				for i := range 20 {
					id := fmt.Sprintf("DE_%d", i+1)
					ids = append(ids, id)
					w.begin(id)
					w.lines.say(id, "", numbered(1, 30+i%2*500)...)
					settle(time.Minute)
					w.seal(id)
					w.deliver(id)
				}
				settle(time.Duration(c.hours) * time.Hour / 2)
				w.restart()
				settle(time.Duration(c.hours) * time.Hour / 2)
				rec, _ := w.spool.Recording("DE_7")
				if !w.n.HoldsData(rec) || !w.n.Holds(rec) {
					t.Error("the data is not held")
				}
				reasons := strings.Join(w.n.NotReady(), "\n")
				if !strings.Contains(reasons, "project 0: messages of 21 recordings wait for the "+
					"webhook at a.example.org, the oldest since ") ||
					strings.Contains(reasons, "sesame") {
					t.Error(reasons)
				}
				if w.lines.open > messageConcurrency {
					t.Errorf("%d readers", w.lines.open)
				}
				if n := len(w.web.batches); n > c.hours*60*4+200 {
					t.Errorf("%d requests in %d hours", n, c.hours)
				}
				w.web.set(nil)
				settle(time.Minute)
				w.wantMessages(urlA, "DE_0", numbered(1, 30)...)
				for i, id := range ids {
					w.wantMessages(urlA, id, numbered(1, 30+i%2*500)...)
					if got := w.web.got(urlA, false); !slices.Contains(got, id+" COMPLETE") {
						t.Errorf("no end of %s", id)
					}
				}
				w.web.check()
				w.checkOrder()
				if w.n.HoldsData(rec) || w.n.waitingFeeds() != 0 || len(w.n.NotReady()) != 0 {
					t.Error("still waiting")
				}
				if strings.Contains(w.log(), "given up") || strings.Contains(w.log(), "said 1") {
					t.Error(w.log())
				}
			})
		})
	}
}

// TestRepeatedBatch: a batch that was not accepted is sent again with the same id and bytes,
// without the lines that came meanwhile.
func TestRepeatedBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMessageWorld(t)
		w.start()
		w.begin("DE_1")
		w.web.set(status(503))
		for i := range 5 {
			w.lines.say("DE_1", "", numbered(3*i+1, 3*i+3)...)
			settle(2 * time.Second)
		}
		w.web.set(nil)
		settle(time.Minute)
		w.wantMessages(urlA, "DE_1", numbered(1, 15)...)
		first, repeats := w.web.batches[0], 0
		for _, b := range w.web.batches {
			if b.got.ID == first.got.ID && b.body == first.body {
				repeats++
			}
		}
		if n := len(w.web.batches); n < 3 || repeats != n-1 || len(first.got.Lines) != 3 {
			t.Errorf("%d of %d batches are the first one", repeats, n)
		}
	})
}

// checkOrder checks that the end of a recording was reported after its last batch, and that batches
// with the same id have the same bytes.
func (w *world) checkOrder() {
	w.t.Helper()
	w.web.mu.Lock()
	defer w.web.mu.Unlock()
	bodies := map[string]string{}
	for _, b := range w.web.batches {
		if before, ok := bodies[b.got.ID]; ok && before != b.body {
			w.t.Errorf("%.100s and %.100s", before, b.body)
		}
		bodies[b.got.ID] = b.body
		if slices.Contains(b.ended, b.got.EgressID) {
			w.t.Errorf("a batch of %s came after its end", b.got.EgressID)
		}
	}
}

// TestMessagesGone: 410 ends the messages of this recording, and the event of the end is sent.
func TestMessagesGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMessageWorld(t)
		w.start()
		w.begin("DE_1")
		w.web.set(func(_ context.Context, _ string, e *lk.WebhookEvent) (int, error) {
			if e.Event == eventMessages {
				return http.StatusGone, nil
			}
			return 200, nil
		})
		w.lines.say("DE_1", "", "said")
		settle(time.Hour)
		w.lines.say("DE_1", "", "more")
		settle(time.Hour)
		if len(w.web.batches) != 1 {
			t.Errorf("%d requests", len(w.web.batches))
		}
		w.wantCursors("DE_1.A.given_up")
		w.seal("DE_1")
		w.deliver("DE_1")
		w.wantGot(urlA, true, whole("DE_1")...)
		if !strings.Contains(w.log(), "410 Gone") {
			t.Error(w.log())
		}
		w.web.set(nil)
		w.begin("DE_2")
		w.lines.say("DE_2", "", "said")
		settle(time.Minute)
		w.wantMessages(urlA, "DE_2", "said")
	})
}

// TestMessagesMaxAge: what a receiver has not accepted within MAX_AGE after the end of the
// recording is given up, not before; until then the data is held, unless it is gone anyway.
func TestMessagesMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMessageWorld(t)
		w.project.Subscriptions[0].MaxAge = 24 * time.Hour
		w.start()
		w.begin("DE_1")
		w.web.set(status(500))
		w.lines.say("DE_1", "", "said")
		settle(48 * time.Hour) // an open recording does not expire
		w.wantCursors("DE_1.A.json")
		w.seal("DE_1")
		w.deliver("DE_1")
		rec, _ := w.spool.Recording("DE_1")
		settle(23 * time.Hour)
		if !w.n.HoldsData(rec) {
			t.Error("not held for 24 hours")
		}
		w.restart()
		rec, _ = w.spool.Recording("DE_1")
		settle(26 * time.Hour)
		w.wantCursors("DE_1.A.given_up")
		if w.n.HoldsData(rec) {
			t.Error("held")
		}
		if !strings.Contains(w.log(), "accepted_up_to_n=0") {
			t.Error(w.log())
		}
	})
}

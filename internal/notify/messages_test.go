package notify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/pattern"
	"github.com/syncflow/textegress/internal/spool"
)

// newMessageWorld returns a world whose receiver A gets everything, including messages.
func newMessageWorld(t *testing.T) *world {
	w := newWorld(t)
	w.lines = newFakeLines()
	w.project.Subscriptions[0].Events = []string{
		EventStarted, EventUpdated, EventEnded, EventMessage,
	}
	return w
}

// begin creates a recording and joins its room.
func (w *world) begin(id string) {
	w.t.Helper()
	w.advanceTo(id, "joined")
}

// seal ends a recording.
func (w *world) seal(id string) {
	w.t.Helper()
	w.lines.end(id)
	w.advanceTo(id, spool.StateSealed)
}

func (w *world) deliver(id string) { w.t.Helper(); w.advanceTo(id, spool.StateUploaded) }

func (w *world) advanceTo(id string, state spool.State) {
	w.t.Helper()
	for {
		if rec, ok := w.spool.Recording(id); ok && rec.State() == state {
			break
		}
		_, created := w.spool.Recording(id)
		if _, err := next(w.spool, id); err != nil {
			w.t.Fatal(err)
		}
		if state == "joined" && created {
			break
		}
	}
	w.n.Wake()
	settle(3 * time.Second)
}

func (w *world) wantCursors(want ...string) {
	w.t.Helper()
	entries, err := w.disk.ReadDir("test", "/data/webhooks/messages")
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.Replace(e.Name(), messagesID("p", urlA), "A", 1))
	}
	if !slices.Equal(names, want) {
		w.t.Errorf("cursors %q, want %q", names, want)
	}
}

// TestMessages: the lines of an open recording are sent in batches, in order, signed like events,
// less than a second after they are durable. The event of the end follows the last batch.
func TestMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMessageWorld(t)
		w.start()
		w.begin("DE_1")
		w.lines.say("DE_1", "chat", "a <b> & \u2028 c", "d")
		settle(999 * time.Millisecond)
		w.wantMessages(urlA, "DE_1", "a <b> & \u2028 c", "d")
		w.lines.say("DE_1", "chat", numbered(1, 1200)...)
		settle(999 * time.Millisecond)
		want := append([]string{"a <b> & \u2028 c", "d"}, numbered(1, 1200)...)
		w.wantMessages(urlA, "DE_1", want...)
		w.wantCursors("DE_1.A.json")
		w.lines.say("DE_1", "chat", "bye")
		w.seal("DE_1")
		w.wantCursors("DE_1.A.sent")
		w.deliver("DE_1")
		w.wantMessages(urlA, "DE_1", append(want, "bye")...)
		w.wantGot(urlA, true, whole("DE_1")...)
		if len(w.web.batches) != 5 {
			t.Errorf("%d batches", len(w.web.batches))
		}
		for i, b := range w.web.batches {
			g := b.got
			if g.RoomName != "class 1" || g.SessionID != "s-DE_1" || g.Version != "1" ||
				!strings.HasPrefix(g.ID, "EV_") || g.ReplacesVersion != "" ||
				len(g.Lines) > maxBatchLines || g.LastN-g.FirstN+1 != int64(len(g.Lines)) {
				t.Errorf("%.200s", b.body)
			}
			if i > 0 && g.FirstN != w.web.batches[i-1].got.LastN+1 {
				t.Errorf("batch %d begins with %d", i, g.FirstN)
			}
		}
		if w.lines.open != 0 || w.n.waitingFeeds() != 0 {
			t.Errorf("%d readers, %d waiting", w.lines.open, w.n.waitingFeeds())
		}
		w.restart()
		settle(time.Hour)
		if len(w.web.batches) != 5 {
			t.Error("sent again after a restart")
		}
	})
}

// TestMessagesOnly: messages are sent only where the settings say so, and events are not.
func TestMessagesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMessageWorld(t)
		w.project.Subscriptions[0].Events = []string{EventMessage}
		w.project.Subscriptions = append(w.project.Subscriptions, Subscription{URL: urlB, Key: key})
		w.start()
		w.begin("DE_1")
		w.lines.say("DE_1", "", "said")
		w.seal("DE_1")
		w.deliver("DE_1")
		w.wantMessages(urlA, "DE_1", "said")
		w.wantMessages(urlB, "DE_1")
		w.wantGot(urlA, true)
		w.wantGot(urlB, true, whole("DE_1")...)
	})
}

// TestTopics: a list of topics chooses among messages. The numbers of batches say that nothing else
// is missing, and lines about outages are always sent.
func TestTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMessageWorld(t)
		var topics []pattern.Pattern
		for _, s := range []string{"move*", "lk.chat"} {
			p, err := pattern.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			topics = append(topics, p)
		}
		w.project.Subscriptions[0].Topics = topics
		w.start()
		w.begin("DE_1")
		w.lines.change("DE_1", func(r *fakeRecording) {
			r.add(Line{Kind: textegress.KindRecordingStarted}, "started")
			r.add(Line{Kind: textegress.KindParticipantJoined}, "Alice")
			r.add(Line{Kind: textegress.KindData, Topic: "moves"}, "e4")
			r.add(Line{Kind: textegress.KindTextStream, Topic: "lk.chat"}, "good move")
			r.add(Line{Kind: textegress.KindData, Topic: "lk.cha"}, "other")
			r.add(Line{Kind: textegress.KindChat}, "legacy")
			r.add(Line{Kind: textegress.KindData}, "no topic")
			r.add(Line{Kind: textegress.KindEncrypted, Topic: "moves"}, "?")
			r.add(Line{Kind: textegress.KindOutageStarted}, "outage")
		})
		settle(time.Second)
		for range 20 {
			w.lines.say("DE_1", "other", "other")
			settle(time.Second)
		}
		want := []string{"started", "e4", "good move", "legacy", "outage"}
		w.wantMessages(urlA, "DE_1", want...)
		w.n.mu.Lock()
		f := w.n.receivers[messagesID("p", urlA)].feeds["DE_1"]
		w.n.mu.Unlock()
		if f.saved.N < 20 || f.saved.SentN != 9 {
			t.Errorf("cursor %+v", f.saved)
		}
		w.restart()
		settle(time.Second)
		w.lines.say("DE_1", "moves", "e5")
		settle(time.Second)
		w.wantMessages(urlA, "DE_1", append(want, "e5")...)
		last := w.web.batches[len(w.web.batches)-1].got
		if last.FirstN != 10 || last.LastN != 30 || len(w.web.batches) != 2 {
			t.Errorf("%d to %d, %d batches", last.FirstN, last.LastN, len(w.web.batches))
		}
		w.seal("DE_1")
		w.wantCursors("DE_1.A.sent")
	})
}

// TestBatchSize: a batch keeps within its limits; a line that is larger is sent alone.
func TestBatchSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMessageWorld(t)
		w.start()
		w.begin("DE_1")
		var texts []string
		for i := range 40 {
			texts = append(texts, fmt.Sprint(i, strings.Repeat("x", 20_000)))
		}
		texts = append(texts, strings.Repeat("y", 600_000), "z")
		w.lines.say("DE_1", "", texts...)
		settle(time.Second)
		w.wantMessages(urlA, "DE_1", texts...)
		for _, b := range w.web.batches {
			if len(b.body) > maxBatchBytes+1000 && len(b.got.Lines) > 1 {
				t.Errorf("%d bytes in %d lines", len(b.body), len(b.got.Lines))
			}
		}
		if n := len(w.web.batches); n < 5 || n > 7 {
			t.Errorf("%d batches", n)
		}
	})
}

// TestSmallReceiver: a receiver that refuses large bodies gets smaller ones.
func TestSmallReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMessageWorld(t)
		w.project.Subscriptions[0].Events = []string{EventMessage}
		w.web.refuseLarger = 100_000
		w.start()
		w.begin("DE_1")
		var texts []string
		for i := range 40 {
			texts = append(texts, fmt.Sprint(i, strings.Repeat("x", 20_000)))
		}
		w.lines.say("DE_1", "", texts...)
		settle(time.Minute)
		w.wantMessages(urlA, "DE_1", texts...)
	})
}

// TestVersion: when the version of the lines changes, all are sent again with the new numbers, and
// the first batch says so.
func TestVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMessageWorld(t)
		w.start()
		w.begin("DE_1")
		w.lines.say("DE_1", "", numbered(1, 5)...)
		settle(time.Second)
		w.shutDown()
		w.lines.version = "2"
		w.lines.say("DE_1", "", numbered(6, 510)...)
		w.start()
		settle(time.Second)
		var got []string
		for _, b := range w.web.batches {
			got = append(got, fmt.Sprint(b.got.Version, " ", b.got.ReplacesVersion, " ",
				b.got.FirstN, "-", b.got.LastN))
		}
		if want := []string{"1  1-5", "2 1 1-500", "2  501-510"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestSubscribeToMessages: a receiver that is new in the settings gets all lines of the recordings
// that are not delivered yet, none of those that were delivered. One that the settings name again
// gets the lines since.
func TestSubscribeToMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMessageWorld(t)
		events := w.project.Subscriptions[0].Events
		w.project.Subscriptions[0].Events = nil
		w.start()
		for _, id := range []string{"DE_1", "DE_2", "DE_3"} {
			w.begin(id)
			w.lines.say(id, "", "before")
		}
		w.seal("DE_1")
		w.deliver("DE_1")
		w.seal("DE_2")
		w.configure(func(p *Project) { p.Subscriptions[0].Events = events })
		settle(3 * time.Second)
		w.wantMessages(urlA, "DE_1")
		w.wantMessages(urlA, "DE_2", "before")
		w.wantMessages(urlA, "DE_3", "before")
		w.configure(func(p *Project) { p.Subscriptions[0].Events = nil })
		settle(3 * time.Second)
		w.lines.say("DE_3", "", "meanwhile")
		settle(time.Minute)
		w.wantMessages(urlA, "DE_3", "before")
		if w.lines.open != 0 {
			t.Errorf("%d readers", w.lines.open)
		}
		rec, _ := w.spool.Recording("DE_3")
		if w.n.HoldsData(rec) {
			t.Error("held for nobody")
		}
		w.configure(func(p *Project) { p.Subscriptions[0].Events = events })
		settle(time.Minute)
		w.wantMessages(urlA, "DE_3", "before", "meanwhile")
		w.seal("DE_3")
		w.deliver("DE_3")
		if got := w.web.got(urlA, true); len(got) != 11 || got[10] != "DE_3 COMPLETE" {
			t.Errorf("events %q", got)
		}
	})
}

package standalone

import (
	"net/http"
	"testing"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/stack"
)

// talk joins a run that is being recorded, speaks, and deletes the room.
func (w *world) talk(room *livekit.Room) {
	w.t.Helper()
	w.recording(room)
	l := w.join(w.LiveKit, room, "learner-1")
	w.say(l, 10)
	w.awaitPackets(room.Sid, 10)
	w.delete(room)
}

// sent waits until LiveKit has sent a webhook of a run, and returns it.
func (w *world) sent(event, sid string) stack.Hook {
	w.t.Helper()
	var found stack.Hook
	check(w.t, stack.Poll(testContext(w.t), func() bool {
		for _, h := range w.Webhooks.Seen() {
			if h.Event.Event == event && h.Event.Room.Sid == sid {
				found = h
				return true
			}
		}
		return false
	}))
	return found
}

// A webhook starts a recording without polling, also if it is repeated or late.
func TestWebhooks(t *testing.T) {
	w := record(t, servers, pollNever, pollNeverBesideWebhooks)
	w.Webhooks.To(w.r)
	var rooms []*livekit.Room
	for name, through := range map[string]stack.Interception{
		"plain": nil, "repeated": stack.RepeatHooks(5),
	} {
		w.Webhooks.Through(through)
		room := w.open("webhooks "+name, "")
		w.talk(room)
		rooms = append(rooms, room)
	}
	// The first attempts fail; LiveKit retries.
	fails := 2
	w.Webhooks.Through(func(h stack.Hook, forward func(stack.Hook) int) int {
		if fails--; fails >= 0 {
			return http.StatusServiceUnavailable
		}
		return forward(h)
	})
	room := w.open("webhooks refused", "")
	w.talk(room)
	for _, room := range append(rooms, room) {
		ended(t, w.delivered(room.Sid, 1)[0], 1, textegress.StatusComplete, "room_deleted")
	}
	w.faithful()
}

// Webhooks that are lost for good only delay a recording: the search finds the room.
func TestWebhooksLost(t *testing.T) {
	w := record(t, servers, pollFast, "POLL_INTERVAL_WITH_WEBHOOKS=1s")
	w.Webhooks.To(w.r)
	first := w.open("lost 1", "") // from here on the search is slower
	w.talk(first)
	w.Webhooks.Through(stack.SwallowHooks)
	second := w.open("lost 2", "")
	w.talk(second)
	w.delivered(first.Sid, 1)
	w.delivered(second.Sid, 1)
	w.faithful()
}

// Webhooks of an earlier run come when the next run is open: after its end, in the wrong order,
// again after a restart, and with new event ids. None of them records the new run as the old one.
func TestWebhooksOfAnotherRun(t *testing.T) {
	w := record(t, servers, pollNever, pollNeverBesideWebhooks)
	ctx := testContext(t)
	w.Webhooks.To(w.r)
	first := w.open("replayed", "")
	w.talk(first)
	started := w.sent("room_started", first.Sid)
	w.sent("room_finished", first.Sid)
	w.delivered(first.Sid, 1)

	// Reversed: the end of a run that was never announced, then its begin.
	through, release := stack.ReverseHooks()
	w.Webhooks.Through(through)
	missed := w.open("replayed", "")
	w.sent("room_started", missed.Sid)
	w.delete(missed)
	w.sent("room_finished", missed.Sid)
	w.Webhooks.Through(nil)
	third := w.open("replayed", "")
	w.recording(third)
	release()

	l := w.join(w.LiveKit, third, "learner-1")
	w.say(l, 10)
	again := must(stack.NewHook(w.LiveKit.APIKey, w.LiveKit.APISecret, "room_started", first))(t)
	for _, h := range []stack.Hook{started, again} {
		if status := w.Webhooks.Send(ctx, h); status != http.StatusOK {
			t.Errorf("a replayed webhook: status %d, want 200", status)
		}
	}
	check(t, w.r.Kill())
	check(t, w.r.Start(ctx))
	w.recording(third)
	for _, h := range []stack.Hook{started, again} {
		if status := w.Webhooks.Send(ctx, h); status != http.StatusOK {
			t.Errorf("a webhook replayed after a restart: status %d, want 200", status)
		}
	}
	w.say(l, 10)
	w.awaitPackets(third.Sid, 20)
	w.delete(third)
	ended(t, w.delivered(third.Sid, 1)[0], 1, textegress.StatusComplete, "room_deleted")
	if n := w.recordings(first.Sid); n != 1 {
		t.Errorf("%d recordings of the first run, want 1", n)
	}
	if room := must(w.LiveKit.Room(ctx, "replayed"))(t); room != nil {
		t.Errorf("the room exists again, as %s", room.Sid)
	}
	w.faithful()
}

// A webhook with another secret, with another body than was signed, or unsigned is refused and
// records nothing; so is a true one whose run does not exist.
func TestWebhooksForged(t *testing.T) {
	w := record(t, servers, pollNever, pollNeverBesideWebhooks)
	ctx := testContext(t)
	w.Webhooks.To(w.r)
	w.Webhooks.Through(stack.SwallowHooks)
	room := w.open("forged", "")
	key, secret := w.LiveKit.APIKey, w.LiveKit.APISecret
	good := must(stack.NewHook(key, secret, "room_started", room))(t)
	other := must(stack.NewHook(key, secret, "room_started",
		&livekit.Room{Sid: "RM_none", Name: "none"}))(t)
	for name, h := range map[string]stack.Hook{
		"another secret": must(stack.NewHook(key, "another-secret-0123456789abcdef012345",
			"room_started", room))(t),
		"another key": must(stack.NewHook("other", secret, "room_started", room))(t),
		"another body": {
			ContentType: good.ContentType, Authorization: other.Authorization, Body: good.Body,
		},
		"unsigned": {ContentType: good.ContentType, Body: good.Body},
	} {
		if status := w.Webhooks.Send(ctx, h); status != http.StatusUnauthorized {
			t.Errorf("%s: status %d, want 401", name, status)
		}
	}
	w.Webhooks.Send(ctx, other)
	if n := len(must(w.r.Status(ctx))(t).Recordings); n > 1 || w.recordings(room.Sid) != 0 {
		t.Errorf("forged webhooks made %d recordings", n)
	}
	if room := must(w.LiveKit.Room(ctx, "none"))(t); room != nil {
		t.Error("the room that a webhook named was created")
	}
	if status := w.Webhooks.Send(ctx, good); status != http.StatusOK {
		t.Errorf("a true webhook: status %d, want 200", status)
	}
	w.talk(room)
	w.delivered(room.Sid, 1)
	w.faithful()
}

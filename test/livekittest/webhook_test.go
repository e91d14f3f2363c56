package livekittest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	lkproto "github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/test/stack"
)

// sent returns the webhooks of an event that LiveKit has sent about a run of a room.
func sent(event, sid string) []stack.Hook {
	return slices.DeleteFunc(servers.Webhooks.Seen(), func(h stack.Hook) bool {
		return h.Event.Event != event || h.Event.Room.GetSid() != sid
	})
}

// A webhook announces a room at once; a room that is not to be recorded is not announced.
func TestWebhooks(t *testing.T) {
	l := listen(t, "hook-*", false, true)
	began := time.Now()
	person, sid := enter(t, "hook-1", "alice")
	a := l.hears(sid)
	t.Logf("announced %v after the join began", a.ReceivedAt.Sub(began).Round(time.Millisecond))
	if a.Room != "hook-1" || a.Source != "webhook" || !a.Fresh() {
		t.Errorf("%+v", a)
	}
	if l.hooks.Seen().IsZero() || !l.hooks.Knows(sid) {
		t.Error("the webhook was not seen")
	}
	_, other := enter(t, "other", "alice")
	eventually(t, "a webhook announces the other room", func() bool { return l.hooks.Knows(other) })
	out := create(t, "hook-2", `{"textegress":{"record":false}}`)
	eventually(t, "a webhook announces that room", func() bool { return l.hooks.Knows(out) })
	in := create(t, "wanted-hook", `{"textegress":{"record":true,"topics":["chat"]}}`)
	if a := l.hears(in); !slices.Equal(a.Limits.Topics, []string{"chat"}) {
		t.Errorf("%+v", a)
	}
	person.Disconnect()
	eventually(t, "the end of the room is reported", func() bool {
		return len(sent(livekit.EventRoomFinished, sid)) > 0
	})
	if len(l.announced(other)) > 0 || len(l.announced(out)) > 0 {
		t.Errorf("%+v", l.accepted)
	}
}

// Webhooks are repeated, lost until LiveKit retries, or arrive in the wrong order: each open run of
// a room is announced, and no closed one.
func TestWebhooksInDisorder(t *testing.T) {
	l := listen(t, "disorder-*", false, true)
	servers.Webhooks.Through(stack.RepeatHooks(3))
	sid := create(t, "disorder-1", "")
	l.hears(sid)
	l.mu.Lock()
	l.refuse = 2
	l.mu.Unlock()
	servers.Webhooks.Through(nil)
	second := create(t, "disorder-2", "")
	l.hears(second)
	if n := len(sent(livekit.EventRoomStarted, second)); n != 3 {
		t.Errorf("LiveKit has sent the webhook %d times, want 3", n)
	}
	through, release := stack.ReverseHooks()
	servers.Webhooks.Through(through)
	over := create(t, "disorder-3", "")
	if err := servers.LiveKit.DeleteRoom(t.Context(), "disorder-3"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "LiveKit has sent both", func() bool {
		return len(sent(livekit.EventRoomFinished, over)) > 0
	})
	release()
	servers.Webhooks.Through(nil)
	eventually(t, "both have arrived", func() bool { return l.hooks.Knows(over) })
	third := create(t, "disorder-3", "")
	l.hears(third)
	if len(l.announced(over)) > 0 || len(l.announced(sid)) != 1 || len(l.announced(second)) != 1 {
		t.Errorf("%+v", l.accepted)
	}
}

// Forged webhooks are refused, replayed ones do nothing.
func TestForgedWebhooks(t *testing.T) {
	l := listen(t, "forged-*", false, true)
	sid := create(t, "forged-1", "")
	l.hears(sid)
	eventually(t, "LiveKit has sent it", func() bool {
		return len(sent(livekit.EventRoomStarted, sid)) > 0
	})
	real := sent(livekit.EventRoomStarted, sid)[0]
	changed, unsigned := real, real
	changed.Body = []byte(strings.Replace(string(real.Body), "forged-1", "forged-2", 1))
	unsigned.Authorization = ""
	hook := func(key, secret string) stack.Hook {
		h, err := stack.NewHook(key, secret, livekit.EventRoomStarted,
			&lkproto.Room{Sid: sid, Name: "forged-1"})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	large := hook(servers.LiveKit.APIKey, servers.LiveKit.APISecret)
	large.Body = append(large.Body, make([]byte, 1<<20)...)
	elsewhere, err := stack.NewHook(servers.LiveKit.APIKey, servers.LiveKit.APISecret,
		livekit.EventRoomStarted, &lkproto.Room{Sid: "RM_elsewhere", Name: "forged-1"})
	if err != nil {
		t.Fatal(err)
	}
	otherSecret, otherKey := hook(servers.LiveKit.APIKey, "another"), hook("APIother",
		servers.LiveKit.APISecret)
	for name, c := range map[string]struct {
		hook stack.Hook
		want int
	}{
		"changed":                       {changed, http.StatusUnauthorized},
		"unsigned":                      {unsigned, http.StatusUnauthorized},
		"another secret":                {otherSecret, http.StatusUnauthorized},
		"another key":                   {otherKey, http.StatusUnauthorized},
		"large":                         {large, http.StatusRequestEntityTooLarge},
		"replayed":                      {real, http.StatusOK},
		"of a server with the same key": {elsewhere, http.StatusOK},
	} {
		if got := servers.Webhooks.Send(t.Context(), c.hook); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if len(l.accepted) != 1 {
		t.Errorf("%+v", l.accepted)
	}
}

// The join of a recorder does not cause a recording.
func TestWebhookOfOurselves(t *testing.T) {
	listen(t, "ourselves-*", false, true)
	sid := create(t, "ourselves-1", "")
	token, err := key().JoinToken("ourselves-1", "textegress-ourselves")
	if err != nil {
		t.Fatal(err)
	}
	client, err := room.NewClient(room.Options{})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := client.Join(t.Context(), room.JoinOptions{
		URL: servers.LiveKit.URL, Token: token, Handler: quiet{},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Leave(context.WithoutCancel(t.Context()))
	eventually(t, "LiveKit reports our join", func() bool {
		return len(sent(livekit.EventParticipantJoined, sid)) > 0
	})
	e, err := livekit.ParseWebhook(sent(livekit.EventParticipantJoined, sid)[0].Body)
	if err != nil || !e.Recorder || e.Room.SID != sid {
		t.Errorf("%+v, %v", e, err)
	}
	_, _ = enter(t, "ourselves-1", "alice")
	eventually(t, "LiveKit reports the join of a person", func() bool {
		return len(sent(livekit.EventParticipantJoined, sid)) > 1
	})
	e, err = livekit.ParseWebhook(sent(livekit.EventParticipantJoined, sid)[1].Body)
	if err != nil || e.Recorder || e.Room.SID != sid {
		t.Errorf("%+v, %v", e, err)
	}
}

// quiet ignores all packets and events.
type quiet struct{}

func (quiet) Joined(room.Info) error                 { return nil }
func (quiet) Packet(room.Channel, time.Time, []byte) {}
func (quiet) Event(room.Event)                       {}

// With webhooks the rooms are listed less often, until a webhook is lost.
func TestWebhooksBesidePolling(t *testing.T) {
	l := listen(t, "beside-*", true, true)
	first := create(t, "beside-1", "")
	if a := l.hears(first); a.SessionID != first {
		t.Errorf("%+v", a)
	}
	eventually(t, "both have announced it", func() bool { return len(l.announced(first)) > 1 })
	servers.Webhooks.Through(stack.SwallowHooks)
	_, lost := enter(t, "beside-2", "alice")
	if a := l.hears(lost); a.Source != "poll" {
		t.Errorf("%+v", a)
	}
}

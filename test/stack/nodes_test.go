package stack

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/webhook"

	"github.com/syncflow/textegress/test/classroom"
)

// startAlone starts a stack without SyncFlow. Without Redis, which several nodes need, the test is
// skipped; in continuous integration it must be there.
func startAlone(t *testing.T, o Options) *Stack {
	t.Helper()
	o.NoSyncFlow, o.NoS3 = true, true
	s, err := Start(t.Context(), o)
	if errors.Is(err, ErrNoRedis) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A room is on the node that was asked for, and participants reach it through the other one. After
// the death of its node it is made again on the other one, with the same sid, because the sid is in
// Redis.
func TestNodes(t *testing.T) {
	s := startAlone(t, Options{Nodes: 2})
	ctx := t.Context()
	id, err := s.Nodes[1].NodeID()
	if err != nil {
		t.Fatal(err)
	}
	room, err := s.Nodes[0].RoomService().CreateRoom(ctx, &livekit.CreateRoomRequest{
		Name:   "two nodes",
		NodeId: id,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := join(t, s.Nodes[0], room); got != id {
		t.Errorf("the room is on node %s, want %s", got, id)
	}
	if err := s.Nodes[1].Kill(); err != nil {
		t.Fatal(err)
	}
	own, err := s.Nodes[0].NodeID()
	if err != nil {
		t.Fatal(err)
	}
	// For some seconds, the other node does not know that this one is dead.
	if got := join(t, s.Nodes[0], room); got != own {
		t.Errorf("after the death of its node the room is on node %s, want %s", got, own)
	}
	if err := s.Nodes[1].Start(ctx); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Nodes[1].NodeID(); err != nil || again == id {
		t.Errorf("the node has the id %s again (%v)", again, err)
	}
}

// join joins a room until it succeeds, checks its sid, and returns the node that the room is on.
func join(t *testing.T, l *LiveKit, room *livekit.Room) string {
	t.Helper()
	learner := classroom.Enroll("alice", func(ctx context.Context) (string, string, error) {
		return l.Class(room.Name).Tokens(ctx, "alice")
	})
	var err error
	eventually(t, "joining", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err = learner.Join(ctx)
		return err == nil
	})
	defer learner.Vanish()
	if sid := learner.Room().SID(); sid != room.Sid {
		t.Errorf("the room has the sid %s, want %s", sid, room.Sid)
	}
	return learner.Room().ServerInfo().NodeId
}

// LiveKit's webhooks come through the proxy, in every way that a test asks for, and a hook made
// here is one that LiveKit's own receiver accepts.
func TestWebhooks(t *testing.T) {
	s := startAlone(t, Options{Webhooks: true})
	keys := auth.NewSimpleKeyProvider(s.LiveKit.APIKey, s.LiveKit.APISecret)
	var mu sync.Mutex
	var got []string
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := webhook.ReceiveWebhookEvent(r, keys)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, e.Event+" "+e.Room.Name)
	}))
	defer receiver.Close()
	open := func(name string) {
		t.Helper()
		if _, err := s.LiveKit.CreateRoom(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	end := func(name string) {
		t.Helper()
		if err := s.LiveKit.DeleteRoom(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	received := func(want ...string) {
		t.Helper()
		eventually(t, "hooks are received", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(got) >= len(want)
		})
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(got, want) {
			t.Errorf("received %q, want %q", got, want)
		}
		got = nil
	}
	s.Webhooks.To(&Recorder{URL: receiver.URL})
	open("one")
	received("room_started one")
	s.Webhooks.Through(RepeatHooks(2))
	open("two")
	received("room_started two", "room_started two")
	through, release := ReverseHooks()
	s.Webhooks.Through(through)
	before := len(s.Webhooks.Seen())
	open("three")
	end("three")
	eventually(t, "LiveKit has sent both", func() bool {
		return len(s.Webhooks.Seen()) == before+2
	})
	release()
	received("room_finished three", "room_started three")
	s.Webhooks.Through(SwallowHooks)
	end("one")
	eventually(t, "LiveKit has sent one more", func() bool {
		return len(s.Webhooks.Seen()) == before+3
	})
	room := &livekit.Room{Name: "four"}
	for secret, want := range map[string]int{
		s.LiveKit.APISecret: http.StatusOK, "another": http.StatusUnauthorized,
	} {
		h, err := NewHook(s.LiveKit.APIKey, secret, "room_started", room)
		if err != nil {
			t.Fatal(err)
		}
		if status := s.Webhooks.Send(t.Context(), h); status != want {
			t.Errorf("a hook of our own, signed with %q: status %d, want %d", secret, status, want)
		}
	}
	received("room_started four")
}

package roomtest

import (
	"errors"
	"testing"
	"time"

	ours "github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/test/stack"
)

// TestProbe: real servers that have /rtc/v1 refuse us there for want of a token.
func TestProbe(t *testing.T) {
	c, err := room.NewClient(room.Options{})
	if err != nil {
		t.Fatal(err)
	}
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		if err := c.Probe(t.Context(), l.URL); err != nil {
			t.Error(err)
		}
	})
}

// TestRooms: a room is made with a key of the server, joined with a token of that key, and deleted.
func TestRooms(t *testing.T) {
	c, err := room.NewClient(room.Options{})
	if err != nil {
		t.Fatal(err)
	}
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		key := ours.Key{ID: l.APIKey, Secret: l.APISecret}
		rooms, err := ours.NewRooms(l.URL, key)
		if err != nil {
			t.Fatal(err)
		}
		if err := rooms.Create(t.Context(), "made", time.Minute); err != nil {
			t.Fatal(err)
		}
		token, err := key.JoinToken("made", "bot")
		if err != nil {
			t.Fatal(err)
		}
		conn, err := c.Join(t.Context(), room.JoinOptions{
			URL: l.URL, Token: token,
			Handler: ignore{},
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]bool{"made": true, "never made": false} {
			if there, err := key.RoomExists(t.Context(), l.URL, name); there != want || err != nil {
				t.Errorf("room %q: %v, %v", name, there, err)
			}
		}
		if err := rooms.Delete(t.Context(), "made"); err != nil {
			t.Error(err)
		}
		select {
		case <-conn.Done():
		case <-t.Context().Done():
		}
		if r := conn.End().Reason; r != room.ReasonRoomDeleted {
			t.Errorf("ended: %s", r)
		}
		key.Secret += "x"
		if rooms, err = ours.NewRooms(l.URL, key); err != nil {
			t.Fatal(err)
		}
		if err := rooms.Create(t.Context(), "made", time.Minute); !errors.Is(err,
			ours.ErrKeyRefused) {
			t.Errorf("with a wrong secret: %v", err)
		}
	})
}

type ignore struct{}

func (ignore) Joined(room.Info) error                 { return nil }
func (ignore) Packet(room.Channel, time.Time, []byte) {}
func (ignore) Event(room.Event)                       {}

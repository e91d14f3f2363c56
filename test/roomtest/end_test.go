package roomtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"

	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/test/stack"
)

// A recorder does not hold the room open: when the others have left, the server closes it.
func TestRoomClosed(t *testing.T) {
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		conn, r := record(t, newClient(t), l, "", "closing", "recorder")
		s := enter(t, l, "closing", "sender")
		s.send(true, []byte("last words"))
		eventually(t, "the message", func() bool { return r.count(room.Reliable) == 1 })
		s.Disconnect()
		if e := await(t, conn); e.Reason != room.ReasonRoomClosed {
			t.Errorf("end %v", e)
		}
		noRoom(t, l, "closing")
	})
}

// A deleted room is always recognised as such, under traffic too, and stays deleted: with
// auto_create, any attempt to come back would make it again.
func TestRoomDeleted(t *testing.T) {
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		c := newClient(t)
		for i := range 10 {
			name := fmt.Sprintf("deleted-%d", i)
			p := newProxy(t, l.URL)
			conn, r := record(t, c, l, p.url, name, "recorder")
			// The sender is a SendData call, because a participant would come back and make the
			// room.
			eventually(t, "the message", func() bool {
				if err := l.SendData(context.Background(), name, "topic", true,
					make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
				return r.count(room.Reliable) > 0
			})
			if err := l.DeleteRoom(context.Background(), name); err != nil {
				t.Fatal(err)
			}
			if e := await(t, conn); e.Reason != room.ReasonRoomDeleted {
				t.Errorf("room %d: end %v", i, e)
			}
			if n := p.connections(); n != 1 {
				t.Errorf("room %d: %d connections to the server", i, n)
			}
			noRoom(t, l, name)
		}
	})
}

func TestParticipantRemoved(t *testing.T) {
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		conn, _ := record(t, newClient(t), l, "", "removal", "recorder")
		if err := l.RemoveParticipant(context.Background(), "removal", "recorder"); err != nil {
			t.Fatal(err)
		}
		if e := await(t, conn); e.Reason != room.ReasonParticipantRemoved {
			t.Errorf("end %v", e)
		}
	})
}

func TestDuplicateIdentity(t *testing.T) {
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		c := newClient(t)
		first, _ := record(t, c, l, "", "twins", "recorder")
		second, _ := record(t, c, l, "", "twins", "recorder")
		if e := await(t, first); e.Reason != room.ReasonDuplicateIdentity {
			t.Errorf("end of the first %v", e)
		}
		select {
		case <-second.Done():
			t.Errorf("end of the second %v", second.End())
		default:
		}
	})
}

// A server that is told to end says so, if it finds the time: LiveKit closes its sockets at the
// same moment. What may not happen is that we take it for the end of the room, or wait.
func TestServerShutdown(t *testing.T) {
	t.Parallel()
	for _, v := range versions {
		t.Run(v, func(t *testing.T) {
			l := own(t, v)
			conn, _ := record(t, newClient(t), l, "", "shutdown", "recorder")
			stopped := make(chan error, 1)
			go func() { stopped <- l.Stop(context.Background()) }()
			if e := await(t, conn); e.Reason != room.ReasonServerShutdown &&
				e.Reason != room.ReasonConnectionLost {
				t.Errorf("end %v", e)
			}
			t.Log(conn.End())
			if err := <-stopped; err != nil {
				t.Error(err)
			}
		})
	}
}

// A killed server is noticed long before ICE would, whether it stays away or comes back without our
// room; and we do not make the room there.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	for _, v := range versions {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s restart=%v", v, restart), func(t *testing.T) {
				t.Parallel()
				l := own(t, v)
				conn, _ := record(t, newClient(t), l, "", "killed", "recorder")
				begin := time.Now()
				if err := l.Kill(); err != nil {
					t.Fatal(err)
				}
				if restart {
					if err := l.Start(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
				e := await(t, conn)
				t.Logf("%v after %v", e, time.Since(begin).Round(100*time.Millisecond))
				if e.Reason != room.ReasonConnectionLost {
					t.Errorf("end %v", e)
				}
				if restart {
					noRoom(t, l, "killed")
				}
			})
		}
	}
}

// Errors of joining, as real servers make them.
func TestJoinErrors(t *testing.T) {
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		c := newClient(t)
		try := func(token string) *room.JoinError {
			t.Helper()
			_, err := c.Join(context.Background(), room.JoinOptions{
				URL: l.URL, Token: token,
				Handler: &recording{},
			})
			je, ok := errors.AsType[*room.JoinError](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			return je
		}
		forged, err := auth.NewAccessToken(l.APIKey, "another secret").SetIdentity(
			"recorder").SetVideoGrant(stack.RecorderGrants("errors")).ToJWT()
		if err != nil {
			t.Fatal(err)
		}
		// LiveKit repeats a bad token in its answer.
		if je := try(forged); !je.Unauthorized() || strings.Contains(je.Error(), "eyJ") ||
			!strings.Contains(je.Body, "…") {
			t.Errorf("forged token: %v", je)
		}
		if je := try("nonsense"); !je.Unauthorized() {
			t.Errorf("no token: %v", je)
		}
		noRoom(t, l, "errors")
	})
}

func TestNoAutoCreate(t *testing.T) {
	for _, v := range versions {
		t.Run(v, func(t *testing.T) {
			o := options(v)
			o.NoAutoCreate = true
			l, err := stack.StartLiveKit(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			token, err := l.Token("recorder", stack.RecorderGrants("absent"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = newClient(t).Join(t.Context(), room.JoinOptions{
				URL: l.URL, Token: token,
				Handler: &recording{},
			})
			if je, ok := errors.AsType[*room.JoinError](err); !ok || !je.RoomNotFound() {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Whoever does not want the room after all leaves no ghost in it.
func TestRefusedByHandler(t *testing.T) {
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		token, err := l.Token("recorder", stack.RecorderGrants("refused"))
		if err != nil {
			t.Fatal(err)
		}
		sentinel := errors.New("no")
		_, err = newClient(t).Join(t.Context(), room.JoinOptions{
			URL: l.URL, Token: token,
			Handler: refusing{sentinel},
		})
		if !errors.Is(err, sentinel) {
			t.Errorf("got %v", err)
		}
		nobody(t, l, "refused")
	})
}

type refusing struct{ err error }

func (r refusing) Joined(room.Info) error               { return r.err }
func (refusing) Packet(room.Channel, time.Time, []byte) {}
func (refusing) Event(room.Event)                       {}

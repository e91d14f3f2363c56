package roomtest

import (
	"context"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	lkproto "github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/test/stack"
)

// seat is the token of a hidden participant.
type seat struct {
	name             string
	recorder, egress bool // the permission, the kind
	own              bool // made with internal/livekit
}

// seats are the tokens whose holders take no seat.
var seats = []seat{
	{name: "recorder", recorder: true},
	{name: "egress", egress: true},
	{name: "recorder and egress", recorder: true, egress: true},
	{name: "ours", own: true},
}

// A recorder with a token of ours takes no seat and keeps no room open: a person still finds a
// place in a room for one, and the room closes when that person has left. A hidden participant that
// is neither a recorder nor an egress does both.
func TestSeats(t *testing.T) {
	onEach(t, func(t *testing.T, l *stack.LiveKit) {
		const taken = "seats-taken"
		createForOne(t, l, taken, 1)
		sit(t, l, taken, tokenOf(t, l, taken, seat{}))
		token, err := l.Token("alice", stack.Grants(taken))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := newClient(t).Join(t.Context(), room.JoinOptions{
			URL: l.URL, Token: token, Handler: &recording{},
		})
		if err == nil {
			conn.Leave(t.Context())
			t.Error("a person found a place beside a hidden participant")
		}
		for _, seat := range seats {
			t.Run(seat.name, func(t *testing.T) { takesNoSeat(t, l, seat) })
		}
		// Without its hidden participant, it would have closed before those.
		r, err := l.Room(t.Context(), taken)
		if err != nil || r == nil || r.ActiveRecording {
			t.Errorf("the room of a hidden participant: %v, %v", r, err)
		}
	})
}

func takesNoSeat(t *testing.T, l *stack.LiveKit, seat seat) {
	name := "seats-" + seat.name
	createForOne(t, l, name, 60)
	conn := sit(t, l, name, tokenOf(t, l, name, seat))
	eventually(t, "the room counts as being recorded", func() bool {
		r, err := l.Room(t.Context(), name)
		if err != nil || r == nil || r.NumParticipants != 0 {
			t.Fatalf("%v, %v", r, err)
		}
		return r.ActiveRecording
	})
	if seat.own {
		listedAsEgress(t, l, name)
	}
	enter(t, l, name, "alice").Disconnect()
	if end := await(t, conn); end.Reason != room.ReasonRoomClosed {
		t.Errorf("%+v", end)
	}
	noRoom(t, l, name)
}

// createForOne creates a room for one participant. It closes the given number of seconds after its
// creation if nobody joins, and a second after the last one has left.
func createForOne(t *testing.T, l *stack.LiveKit, name string, seconds uint32) {
	t.Helper()
	if _, err := l.RoomService().CreateRoom(t.Context(), &lkproto.CreateRoomRequest{
		Name: name, MaxParticipants: 1, EmptyTimeout: seconds, DepartureTimeout: 1,
	}); err != nil {
		t.Fatal(err)
	}
}

func tokenOf(t *testing.T, l *stack.LiveKit, name string, seat seat) string {
	t.Helper()
	if seat.own {
		key := livekit.Key{ID: l.APIKey, Secret: l.APISecret}
		token, err := key.JoinToken(name, "textegress-seat")
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	grants := stack.RecorderGrants(name)
	grants.Recorder = seat.recorder
	access := auth.NewAccessToken(l.APIKey, l.APISecret).SetIdentity("seat").
		SetVideoGrant(grants).SetValidFor(time.Hour)
	if seat.egress {
		access.SetKind(lkproto.ParticipantInfo_EGRESS)
	}
	token, err := access.ToJWT()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// sit joins a room with a token.
func sit(t *testing.T, l *stack.LiveKit, name, token string) *room.Conn {
	t.Helper()
	conn, err := newClient(t).Join(context.WithoutCancel(t.Context()), room.JoinOptions{
		URL: l.URL, Token: token, Handler: &recording{},
	})
	if err != nil {
		t.Fatalf("join %s: %v", name, err)
	}
	t.Cleanup(func() { conn.Leave(context.WithoutCancel(t.Context())) })
	return conn
}

func listedAsEgress(t *testing.T, l *stack.LiveKit, name string) {
	t.Helper()
	list, err := l.Participants(t.Context(), name)
	if err != nil || len(list) != 1 || list[0].Kind != lkproto.ParticipantInfo_EGRESS ||
		!list[0].Permission.GetHidden() || list[0].Permission.GetCanPublish() ||
		list[0].Permission.GetCanPublishData() {
		t.Errorf("%v, %v", list, err)
	}
}

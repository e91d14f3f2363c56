package standalone

import (
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/stack"
)

// Three settings: every room is recorded and delivered to ./recordings. The recorder takes no seat.
func TestFirstUse(t *testing.T) {
	t.Run("1.13.5", func(t *testing.T) { firstUse(t, servers) })
	t.Run("1.11.0", func(t *testing.T) {
		firstUse(t, startAlone(t, stack.Options{
			LiveKit: stack.LiveKitOptions{Version: "1.11.0"},
		}))
	})
}

func firstUse(t *testing.T, s *stack.Stack) {
	w := record(t, s)
	room := w.open("first use / 1", "")
	w.recording(room)
	alice := w.join(w.LiveKit, room, "learner-1")
	w.say(alice, 20)
	if n := len(alice.Room().GetRemoteParticipants()); n != 0 {
		t.Errorf("a learner sees %d others", n)
	}
	if info := must(w.LiveKit.Room(testContext(t), room.Name))(t); !info.ActiveRecording {
		t.Error("LiveKit does not say that the room is being recorded")
	}
	for _, p := range must(w.LiveKit.Participants(testContext(t), room.Name))(t) {
		if p.Identity == alice.Identity {
			continue
		}
		if !strings.HasPrefix(p.Identity, "textegress-") || p.Kind != livekit.ParticipantInfo_EGRESS ||
			p.Permission.CanPublish || p.Permission.CanPublishData || !p.Permission.Hidden {
			t.Errorf("the recorder is a participant %v, with the rights %v", p.Kind, p.Permission)
		}
	}
	check(t, alice.Leave(testContext(t))) // LiveKit closes the room after a second
	d := w.delivered(room.Sid, 1)[0]
	ended(t, d, 1, textegress.StatusComplete, "room_closed")
	want := "livekit/" + textegress.EscapeName(room.Name) + "/data-egress/" +
		d.Manifest().EgressID + "/"
	if d.Key != want {
		t.Errorf("delivered to %q, want %q", d.Key, want)
	}
	w.faithful()
}

// A room that is opened again under its name is another session, also with the same participants.
func TestRunsOfOneRoom(t *testing.T) {
	w := record(t, servers, pollFast)
	ctx := testContext(t)
	var sids []string
	for n := range 4 {
		room := w.open("again", "")
		w.recording(room)
		alice := w.join(w.LiveKit, room, "learner-1")
		w.say(alice, 10)
		if n%2 == 0 {
			check(t, alice.Leave(ctx))
			w.delivered(room.Sid, 1)
		} else {
			// The next run begins while the recorder ends this one.
			w.awaitPackets(room.Sid, 10)
			alice.Vanish()
			w.delete(room)
		}
		sids = append(sids, room.Sid)
	}
	for n, sid := range sids {
		reason := "room_closed"
		if n%2 == 1 {
			reason = "room_deleted"
		}
		ended(t, w.delivered(sid, 1)[0], 1, textegress.StatusComplete, reason)
	}
	w.faithful()
}

// LiveKit's API fails while a room ends and is opened again. The room's own connection reports the
// end; the new run is found when the API works again.
func TestAPIDownAtTheEnd(t *testing.T) {
	w := record(t, servers, pollFast)
	first := w.open("api down", "")
	w.recording(first)
	alice := w.join(w.LiveKit, first, "learner-1")
	w.say(alice, 10)
	w.awaitPackets(first.Sid, 10)
	w.Gate.CloseAPI()
	defer w.Gate.OpenAPI()
	w.delete(first)
	second := w.open("api down", "")
	w.searched()
	if n := w.recordings(second.Sid); n != 0 {
		t.Errorf("%d recordings of a run that was not announced", n)
	}
	w.Gate.OpenAPI()
	w.recording(second)
	again := w.join(w.LiveKit, second, "learner-1")
	w.say(again, 10)
	w.awaitPackets(second.Sid, 10)
	w.delete(second)
	for _, room := range []*livekit.Room{first, second} {
		ended(t, w.delivered(room.Sid, 1)[0], 1, textegress.StatusComplete, "room_deleted")
	}
	w.faithful()
}

// The recorder dies with kill -9 and misses the end of a room and the begin of its next run.
func TestKilledBetweenRuns(t *testing.T) {
	w := record(t, servers, pollFast)
	ctx := testContext(t)
	first := w.open("killed", "")
	w.recording(first)
	alice := w.join(w.LiveKit, first, "learner-1")
	w.say(alice, 10)
	w.awaitPackets(first.Sid, 10)
	check(t, w.r.Kill())
	alice.Vanish()
	w.delete(first)
	second := w.open("killed", "")
	check(t, w.r.Start(ctx))
	w.recording(second)
	again := w.join(w.LiveKit, second, "learner-1")
	w.say(again, 10)
	w.awaitPackets(second.Sid, 10)
	w.delete(second)
	ended(t, w.delivered(second.Sid, 1)[0], 1, textegress.StatusComplete, "room_deleted")
	if d := w.delivered(first.Sid, 1)[0]; len(d.Manifest().Session.RoomSIDs) != 1 {
		t.Errorf("the first run names the rooms %v", d.Manifest().Session.RoomSIDs)
	}
	w.faithful()
}

// A LiveKit server without Redis crashes and restarts; the learners recreate the room, under
// another sid. It is the same class, and the recording continues.
func TestServerCrash(t *testing.T) {
	s := startAlone(t, stack.Options{})
	w := record(t, s, pollFast)
	ctx := testContext(t)
	room := w.open("crash", "")
	w.recording(room)
	before := w.join(s.LiveKit, room, "learner-1")
	w.say(before, 10)
	w.awaitPackets(room.Sid, 10)
	check(t, s.LiveKit.Kill())
	before.Vanish()
	check(t, s.LiveKit.Start(ctx))
	// Its messages belong to the session of the first room.
	after := w.join(s.LiveKit, room, "learner-1")
	if sid := after.Room().SID(); sid == room.Sid {
		t.Fatalf("LiveKit has kept the sid %s without Redis", sid)
	}
	w.rejoined(room.Sid, 1)
	w.say(after, 10)
	w.awaitPackets(room.Sid, 20)
	check(t, after.Leave(ctx))
	check(t, w.r.Until(ctx, "the session is delivered", func(st stack.RecorderStatus) bool {
		for _, rec := range st.Recordings {
			if rec.State != "uploaded" {
				return false
			}
		}
		return len(st.Recordings) > 0
	}))
	w.faithful()
	sids := map[string]bool{}
	for _, d := range must(w.r.DeliveredLocally(""))(t) {
		if m := d.Manifest(); m.Session.ID != room.Sid {
			t.Errorf("a recording of session %s, want %s only", m.Session.ID, room.Sid)
		}
		for _, sid := range d.Manifest().Session.RoomSIDs {
			sids[sid] = true
		}
	}
	if len(sids) != 2 || !sids[room.Sid] || !sids[after.Room().SID()] {
		t.Errorf("the session names the rooms %v, want both", sids)
	}
}

// One of two nodes crashes. LiveKit recreates the room on the other one, with the same sid.
func TestNodeCrash(t *testing.T) {
	s := startAlone(t, stack.Options{Nodes: 2})
	w := record(t, s, pollFast)
	ctx := testContext(t)
	id := must(s.Nodes[1].NodeID())(t)
	room := must(s.LiveKit.RoomService().CreateRoom(ctx, &livekit.CreateRoomRequest{
		Name: "two nodes", NodeId: id, EmptyTimeout: 300,
	}))(t)
	w.recording(room)
	before := w.join(s.LiveKit, room, "learner-1")
	w.say(before, 10)
	w.awaitPackets(room.Sid, 10)
	check(t, s.Nodes[1].Kill())
	before.Vanish()
	after := w.join(s.LiveKit, room, "learner-1")
	if sid := after.Room().SID(); sid != room.Sid {
		t.Fatalf("LiveKit has made the room again as %s, not as %s", sid, room.Sid)
	}
	w.rejoined(room.Sid, 1)
	w.say(after, 10)
	w.awaitPackets(room.Sid, 20)
	check(t, after.Leave(ctx))
	w.delivered(room.Sid, 1)
	w.faithful()
	// The room closes on a node, and its next run is on the other one: another session.
	check(t, s.Nodes[1].Start(ctx))
	next := must(s.LiveKit.RoomService().CreateRoom(ctx, &livekit.CreateRoomRequest{
		Name: "two nodes", NodeId: must(s.Nodes[1].NodeID())(t), EmptyTimeout: 300,
	}))(t)
	w.recording(next)
	last := w.join(s.LiveKit, next, "learner-1")
	w.say(last, 10)
	check(t, last.Leave(ctx))
	ended(t, w.delivered(next.Sid, 1)[0], 1, textegress.StatusComplete, "room_closed")
	w.faithful()
}

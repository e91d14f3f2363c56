package standalone

import (
	"testing"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
)

// The patterns decide, unless the metadata of the room overrides them.
func TestChoiceOfRooms(t *testing.T) {
	w := record(t, servers, pollFast, "RECORD_ROOMS=!class-private*,class-*")
	with := func(text string) string { return `{"course":7,"textegress":{` + text + `}}` }
	none := []*livekit.Room{
		w.open("class-private-1", ""), w.open("other", ""),
		w.open("class-out", with(`"record":false`)),
		w.open("textegress-check-1", with(`"record":true`)),
	}
	some := []*livekit.Room{
		w.open("class-1", ""), w.open("class-text", "not JSON"),
		w.open("other-in", with(`"record":true`)),
		w.open("class-private-in", with(`"record":true`)),
	}
	w.recording(some...)
	w.searched()
	for _, room := range none {
		if n := w.recordings(room.Sid); n != 0 {
			t.Errorf("room %q is recorded", room.Name)
		}
		w.delete(room)
	}
	for _, room := range some {
		w.talk(room)
		w.delivered(room.Sid, 1)
	}
	w.faithful()
}

// Metadata narrows a recording to topics, which its manifest states.
func TestTopicsByMetadata(t *testing.T) {
	w := record(t, servers, pollFast)
	ctx := testContext(t)
	room := w.open("topics", `{"textegress":{"record":true,"topics":["log"]}}`)
	w.recording(room)
	l := w.join(w.LiveKit, room, "learner-1")
	w.say(l, 10)
	other := w.join(w.LiveKit, room, "learner-2")
	check(t, other.Send(ctx, "chat", []byte("not for the record"), true))
	check(t, other.Drain(ctx))
	w.say(l, 10)
	w.awaitPackets(room.Sid, 20)
	check(t, other.Leave(ctx))
	w.delete(room)
	d := w.delivered(room.Sid, 1)[0]
	if s := d.Manifest().Selection; s == nil {
		t.Error("the manifest does not state the selection")
	}
	delete(w.spoken[room.Sid], "learner-2")
	w.faithful()
}

// The room's creator opts out during a class, and opts in again.
func TestWithdrawnByMetadata(t *testing.T) {
	w := record(t, servers, pollFast)
	ctx := testContext(t)
	set := func(room *livekit.Room, metadata string) {
		t.Helper()
		must(w.LiveKit.RoomService().UpdateRoomMetadata(ctx,
			&livekit.UpdateRoomMetadataRequest{Room: room.Name, Metadata: metadata}))(t)
	}
	room := w.open("withdrawn", "")
	w.recording(room)
	l := w.join(w.LiveKit, room, "learner-1")
	w.say(l, 10)
	w.awaitPackets(room.Sid, 10)
	set(room, `{"textegress":{"record":false}}`)
	ended(t, w.delivered(room.Sid, 1)[0], 1, textegress.StatusComplete, "opted_out")
	silent := w.join(w.LiveKit, room, "learner-2")
	w.say(silent, 10)
	delete(w.spoken[room.Sid], "learner-2")
	w.searched()
	if n := w.recordings(room.Sid); n != 1 {
		t.Errorf("%d recordings of a room that is not to be recorded, want the first part", n)
	}
	set(room, `{"textegress":{"record":true}}`)
	w.recording(room)
	w.say(l, 10)
	w.awaitPackets(room.Sid, 10)
	w.delete(room)
	ended(t, w.delivered(room.Sid, 2)[1], 2, textegress.StatusComplete, "room_deleted")
	w.faithful()
}

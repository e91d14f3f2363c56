package livekit

import (
	"testing"

	lkproto "github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// FuzzDecodeRooms: every answer decodes to rooms with sids, or to an error. If LiveKit's own
// decoder accepts an answer, both results are equal.
func FuzzDecodeRooms(f *testing.F) {
	for _, list := range []*lkproto.ListRoomsResponse{
		{},
		{Rooms: []*lkproto.Room{{Sid: "RM_1", Name: "a", NumParticipants: 2, Metadata: "m"}}},
		{Rooms: []*lkproto.Room{{Sid: "RM_1"}, {
			Sid: "RM_2", CreationTime: 1, CreationTimeMs: 2,
			ActiveRecording: true, Version: &lkproto.TimedVersion{UnixMicro: 1},
		}}},
	} {
		b, err := proto.Marshal(list)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rooms, err := decodeRooms(b)
		var want lkproto.ListRoomsResponse
		if err != nil || proto.Unmarshal(b, &want) != nil {
			return
		}
		if len(rooms) != len(want.Rooms) {
			t.Fatalf("%d rooms, want %d", len(rooms), len(want.Rooms))
		}
		for i, r := range rooms {
			w := want.Rooms[i]
			if r.SID == "" || r.SID != w.Sid || r.Name != w.Name || r.Metadata != w.Metadata ||
				r.Participants != int(w.NumParticipants) || r.ActiveRecording != w.ActiveRecording {
				t.Errorf("%+v, want %v", r, w)
			}
		}
	})
}

// FuzzParseWebhook: every body parses to an event with an id, or to an error.
func FuzzParseWebhook(f *testing.F) {
	for _, e := range []*lkproto.WebhookEvent{
		{Id: "EV_1", Event: "room_started", Room: &lkproto.Room{Sid: "RM_1", CreationTime: 1}},
		{Id: "EV_2", Event: "participant_joined", Participant: &lkproto.ParticipantInfo{
			Kind:       lkproto.ParticipantInfo_EGRESS,
			Permission: &lkproto.ParticipantPermission{Hidden: true},
		}},
	} {
		b, err := protojson.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := ParseWebhook(b); err == nil && (e.ID == "" || e.Name == "") {
			t.Errorf("%+v", e)
		}
	})
}

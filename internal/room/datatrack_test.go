package room

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
)

// Name and handle of a data track come in two messages, in any order.
func TestDataTracks(t *testing.T) {
	publisher := func(sid, name string) []*livekit.ParticipantInfo {
		return []*livekit.ParticipantInfo{{
			Sid: "PA_a", Identity: "alice",
			DataTracks: []*livekit.DataTrackInfo{{Sid: sid, Name: name, PubHandle: 9}},
		}}
	}
	handles := func(handle uint32,
		sid string,
	) map[uint32]*livekit.DataTrackSubscriberHandles_PublishedDataTrack {
		return map[uint32]*livekit.DataTrackSubscriberHandles_PublishedDataTrack{
			handle: {PublisherIdentity: "alice", PublisherSid: "PA_a", TrackSid: sid},
		}
	}
	track := func(handle uint16, sid, name string) []Event {
		return []Event{{Type: DataTrackSubscribed, Track: Track{
			Handle: handle, SID: sid,
			Name: name, Identity: "alice", ParticipantSID: "PA_a",
		}}}
	}
	d := newDataTracks(publisher("DTR_1", "positions"))
	for i, step := range []struct{ got, want []Event }{
		{d.subscribed(handles(7, "DTR_1")), track(7, "DTR_1", "positions")},
		{d.subscribed(handles(7, "DTR_1")), nil}, // the list is told whole at every change
		{d.update(publisher("DTR_1", "positions")), nil},
		{d.subscribed(handles(8, "DTR_2")), track(8, "DTR_2", "")},
		{d.update(publisher("DTR_2", "gaze")), track(8, "DTR_2", "gaze")},
		{d.update(publisher("DTR_2", "gaze")), nil},
		// the handle is another track's now
		{d.subscribed(handles(8, "DTR_3")), track(8, "DTR_3", "")},
	} {
		if diff := cmp.Diff(step.want, step.got); diff != "" {
			t.Errorf("step %d: %s", i, diff)
		}
	}
}

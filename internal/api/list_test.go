package api_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twitchtv/twirp"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/dataegress"
)

func ids(items []*livekit.EgressInfo) []string {
	var list []string
	for _, e := range items {
		list = append(list, e.GetEgressId())
	}
	return list
}

// TestPages: every recording is on exactly one page, in LiveKit's order, even if other recordings
// begin between the requests.
func TestPages(t *testing.T) {
	w := newWorld(t)
	var want []string
	for i := range 250 {
		want = append(want, w.start(keyA, "a", fmt.Sprint("room ", i)).GetEgressId())
	}
	ctx := w.as(keyA, all)
	var got []string
	var sizes []int
	req := &dataegress.ListDataEgressRequest{}
	for {
		page, err := w.ours().ListDataEgress(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(page.GetItems()))
		got = slices.Concat(ids(page.GetItems()), got)
		if page.GetNextPageToken() == nil {
			break
		}
		req.PageToken = page.GetNextPageToken()
		w.start(keyA, "a", fmt.Sprint("another ", len(sizes)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{100, 100, 50}, sizes); diff != "" {
		t.Error(diff)
	}
	for _, token := range []string{"x", "!", "eA", "MTIz"} {
		_, err := w.ours().ListDataEgress(ctx, &dataegress.ListDataEgressRequest{
			PageToken: &livekit.TokenPagination{Token: token},
		})
		wantError(t, token, err, twirp.InvalidArgument, "page_token")
	}
}

// TestListEgress: LiveKit's method returns the same recordings in the same order on one page, and
// has the same filters.
func TestListEgress(t *testing.T) {
	w := newWorld(t)
	var all250 []string
	for i := range 250 {
		e := w.start(keyA, "a", fmt.Sprint("room ", i/2))
		all250 = append(all250, e.GetEgressId())
		if i != 249 {
			w.service.Deliver("a", e.GetEgressId())
		}
	}
	ctx := w.as(keyA, all)
	for what, tt := range map[string]struct {
		req  *livekit.ListEgressRequest
		want []string
	}{
		"all":          {&livekit.ListEgressRequest{}, all250},
		"room":         {&livekit.ListEgressRequest{RoomName: "room 7"}, all250[14:16]},
		"other room":   {&livekit.ListEgressRequest{RoomName: "room"}, nil},
		"id":           {&livekit.ListEgressRequest{EgressId: all250[3]}, all250[3:4]},
		"active":       {&livekit.ListEgressRequest{Active: true}, all250[249:]},
		"ended, by id": {&livekit.ListEgressRequest{EgressId: all250[3], Active: true}, nil},
	} {
		list, err := w.livekits().ListEgress(ctx, tt.req)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if diff := cmp.Diff(tt.want, ids(list.GetItems())); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	_, err := w.livekits().ListEgress(ctx, &livekit.ListEgressRequest{EgressId: "EG_x"})
	wantError(t, "unknown", err, twirp.NotFound, "EG_x")
}

// TestStopEgress: LiveKit's method rejects a recording that has ended, as a LiveKit server does.
func TestStopEgress(t *testing.T) {
	w := newWorld(t)
	ctx := w.as(keyA, all)
	id := w.start(keyA, "a", "room").GetEgressId()
	for range 2 {
		e, err := w.livekits().StopEgress(ctx, &livekit.StopEgressRequest{EgressId: id})
		if err != nil || e.GetStatus() != livekit.EgressStatus_EGRESS_ENDING {
			t.Errorf("stop: %v, %v", e, err)
		}
	}
	w.service.Deliver("a", id)
	_, err := w.livekits().StopEgress(ctx, &livekit.StopEgressRequest{EgressId: id})
	wantError(t, "ended", err, twirp.FailedPrecondition, "EGRESS_COMPLETE cannot be stopped")
	_, err = w.livekits().StopEgress(ctx, &livekit.StopEgressRequest{EgressId: "EG_x"})
	wantError(t, "unknown", err, twirp.NotFound, "EG_x")
	_, err = w.livekits().StopEgress(ctx, &livekit.StopEgressRequest{})
	wantError(t, "no id", err, twirp.InvalidArgument, "egress_id")
}

// TestUnimplemented: the errors of LiveKit's other methods name our method.
func TestUnimplemented(t *testing.T) {
	w := newWorld(t)
	ctx, c := w.as(keyA, all), w.livekits()
	errs := map[string]error{}
	_, errs["StartEgress"] = c.StartEgress(ctx, &livekit.StartEgressRequest{})
	_, errs["UpdateLayout"] = c.UpdateLayout(ctx, &livekit.UpdateLayoutRequest{})
	_, errs["UpdateStream"] = c.UpdateStream(ctx, &livekit.UpdateStreamRequest{})
	_, errs["StartRoomCompositeEgress"] = c.StartRoomCompositeEgress(ctx,
		&livekit.RoomCompositeEgressRequest{})
	_, errs["StartWebEgress"] = c.StartWebEgress(ctx, &livekit.WebEgressRequest{})
	_, errs["StartParticipantEgress"] = c.StartParticipantEgress(ctx,
		&livekit.ParticipantEgressRequest{})
	_, errs["StartTrackCompositeEgress"] = c.StartTrackCompositeEgress(ctx,
		&livekit.TrackCompositeEgressRequest{})
	_, errs["StartTrackEgress"] = c.StartTrackEgress(ctx, &livekit.TrackEgressRequest{})
	for what, err := range errs {
		wantError(t, what, err, twirp.Unimplemented, "textegress.DataEgress/StartDataEgress")
	}
}

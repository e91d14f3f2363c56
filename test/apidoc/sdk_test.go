package apidoc

import (
	"errors"
	"testing"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/twitchtv/twirp"

	"github.com/syncflow/textegress/internal/api"
)

// TestEgressClient: the client of LiveKit's Go SDK lists, stops, and understands what is refused.
func TestEgressClient(t *testing.T) {
	x := newTarget(t)
	e, err := x.service.Start(t.Context(), project, api.Start{Room: room})
	if err != nil {
		t.Fatal(err)
	}
	client := lksdk.NewEgressClient(x.url, key.ID, key.Secret)
	list, err := client.ListEgress(t.Context(), &livekit.ListEgressRequest{RoomName: room})
	if err != nil || len(list.GetItems()) != 1 ||
		list.GetItems()[0].GetEgressId() != e.GetEgressId() {
		t.Errorf("list: %v, %v", list, err)
	}
	stop := &livekit.StopEgressRequest{EgressId: e.GetEgressId()}
	stopped, err := client.StopEgress(t.Context(), stop)
	if err != nil || stopped.GetStatus() != livekit.EgressStatus_EGRESS_ENDING {
		t.Errorf("stop: %v, %v", stopped, err)
	}
	_, err = client.StopEgress(t.Context(), stop)
	wantCode(t, "second stop", err, twirp.FailedPrecondition)
	_, err = client.StopEgress(t.Context(), &livekit.StopEgressRequest{EgressId: "EG_x"})
	wantCode(t, "unknown recording", err, twirp.NotFound)
	_, err = client.StartRoomCompositeEgress(t.Context(),
		&livekit.RoomCompositeEgressRequest{RoomName: room})
	wantCode(t, "sound and video", err, twirp.Unimplemented)
	_, err = lksdk.NewEgressClient(x.url, key.ID, "another secret").ListEgress(t.Context(),
		&livekit.ListEgressRequest{})
	wantCode(t, "another secret", err, twirp.Unauthenticated)
}

// wantCode fails unless err is a twirp error with a code.
func wantCode(t *testing.T, what string, err error, code twirp.ErrorCode) {
	t.Helper()
	var e twirp.Error
	if !errors.As(err, &e) || e.Code() != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

package apidoc

import (
	"errors"
	"testing"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/twitchtv/twirp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/client"
	"github.com/syncflow/textegress/dataegress"
)

// TestEgressClient: the client of LiveKit's Go SDK lists, stops, and receives the error codes.
func TestEgressClient(t *testing.T) {
	x := newTarget(t)
	ctx := testContext(t)
	id := x.start()
	l := servers.LiveKit
	c := lksdk.NewEgressClient(x.url, l.APIKey, l.APISecret)
	list, err := c.ListEgress(ctx, &livekit.ListEgressRequest{RoomName: room})
	if err != nil || len(list.GetItems()) != 1 || list.GetItems()[0].GetEgressId() != id ||
		list.GetItems()[0].GetStatus() != livekit.EgressStatus_EGRESS_ACTIVE {
		t.Errorf("list: %v, %v", list, err)
	}
	before, err := x.client.Statement(ctx, id)
	if err != nil || before.GetFinal() || before.GetPackets() > 2*said ||
		before.GetStatus() != livekit.EgressStatus_EGRESS_ACTIVE {
		t.Errorf("statement of what is under way: %v, %v", before, err)
	}
	stop := &livekit.StopEgressRequest{EgressId: id}
	stopped, err := c.StopEgress(ctx, stop)
	if err != nil || stopped.GetStatus() != livekit.EgressStatus_EGRESS_ENDING {
		t.Errorf("stop: %v, %v", stopped, err)
	}
	x.complete(id, textegress.TailLeft, "other", topic)
	_, err = c.StopEgress(ctx, stop)
	wantCode(t, "second stop", err, twirp.FailedPrecondition)
	if _, err := x.client.Stop(ctx, id); err != nil {
		t.Errorf("StopDataEgress, repeated: %v", err)
	}
	_, err = c.StopEgress(ctx, &livekit.StopEgressRequest{EgressId: "EG_x"})
	wantCode(t, "unknown recording", err, twirp.NotFound)
	_, err = c.StartRoomCompositeEgress(ctx, &livekit.RoomCompositeEgressRequest{RoomName: room})
	wantCode(t, "sound and video", err, twirp.Unimplemented)
	_, err = lksdk.NewEgressClient(x.url, l.APIKey, "another secret").ListEgress(ctx,
		&livekit.ListEgressRequest{})
	wantCode(t, "another secret", err, twirp.Unauthenticated)
}

// TestRefused: a rejected request starts no recording, and creates no room.
func TestRefused(t *testing.T) {
	x := newTarget(t)
	ctx := testContext(t)
	l := servers.LiveKit
	request := &dataegress.StartDataEgressRequest{RoomName: room}
	_, err := x.client.Start(ctx, &dataegress.StartDataEgressRequest{RoomName: "Biology 3"})
	wantCode(t, "a room that does not exist", err, twirp.FailedPrecondition)
	if r := must(l.Room(ctx, "Biology 3"))(t); r != nil {
		t.Errorf("a request created the room that it named: %v", r)
	}
	for what, foreign := range map[string]*client.Client{
		"another key":    must(client.New(x.url, "APIforeign", l.APISecret))(t),
		"another secret": must(client.New(x.url, l.APIKey, "a secret of another server"))(t),
	} {
		_, err := foreign.Start(ctx, request)
		wantCode(t, what, err, twirp.Unauthenticated)
	}
	elsewhere := must(client.New(x.url, l.APIKey, l.APISecret, client.WithRoom("Biology 3")))(t)
	_, err = elsewhere.Start(ctx, request)
	wantCode(t, "a token for another room", err, twirp.PermissionDenied)
	_, err = x.client.Start(ctx, &dataegress.StartDataEgressRequest{
		RoomName: room, Webhooks: []string{"https://hooks.example/"},
	})
	wantCode(t, "a webhook that no setting allows", err, twirp.InvalidArgument)
	if list := must(x.client.List(ctx, nil))(t); len(list) != 0 {
		t.Fatalf("recordings after what was refused: %v", list)
	}

	id := x.start()
	_, err = x.client.Start(ctx, &dataegress.StartDataEgressRequest{
		RoomName: room, Topics: []string{topic},
	})
	if e := wantCode(t, "another selection", err, twirp.AlreadyExists); e.Meta("egress_id") != id {
		t.Errorf("another selection: egress_id %q, want %q", e.Meta("egress_id"), id)
	}
	_, err = elsewhere.Stop(ctx, id)
	wantCode(t, "stop with a token for another room", err, twirp.NotFound)
	_, err = elsewhere.Statement(ctx, id)
	wantCode(t, "statement with a token for another room", err, twirp.NotFound)
	if list := must(elsewhere.List(ctx, nil))(t); len(list) != 0 {
		t.Errorf("a token for another room lists %v", list)
	}
	must(x.client.Stop(ctx, id))(t)
	x.complete(id, textegress.TailLeft, "other", topic)
}

// wantCode fails unless err is a twirp error with a code, and returns it.
func wantCode(t *testing.T, what string, err error, code twirp.ErrorCode) twirp.Error {
	t.Helper()
	var e twirp.Error
	if !errors.As(err, &e) || e.Code() != code {
		t.Fatalf("%s: %v, want %s", what, err, code)
	}
	return e
}

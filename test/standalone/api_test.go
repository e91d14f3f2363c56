package standalone

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/webhook"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/stack"
)

// call makes a request to textegress's own API in JSON, as curl would, and returns the status and
// the answer. room restricts the token; empty: all rooms.
func (w *world) call(method, room string, request map[string]any) (int, []byte) {
	w.t.Helper()
	token := must(auth.NewAccessToken(w.LiveKit.APIKey, w.LiveKit.APISecret).SetVideoGrant(
		&auth.VideoGrant{RoomRecord: true, Room: room}).SetValidFor(time.Minute).ToJWT())(w.t)
	body := must(json.Marshal(request))(w.t)
	req := must(http.NewRequestWithContext(testContext(w.t), http.MethodPost,
		w.r.URL+"/twirp/textegress.DataEgress/"+method, bytes.NewReader(body)))(w.t)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp := must(http.DefaultClient.Do(req))(w.t)
	defer resp.Body.Close()
	return resp.StatusCode, must(io.ReadAll(resp.Body))(w.t)
}

// start starts a recording through the API.
func (w *world) start(request map[string]any) *livekit.EgressInfo {
	w.t.Helper()
	status, body := w.call("StartDataEgress", "", request)
	if status != http.StatusOK {
		w.t.Fatalf("StartDataEgress: status %d: %s", status, body)
	}
	info := &livekit.EgressInfo{}
	check(w.t, protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(body, info))
	return info
}

// receiver receives completion webhooks with LiveKit's own receiver.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	got map[string][]string // by egress
}

func receive(t *testing.T, l *stack.LiveKit) *receiver {
	t.Helper()
	r := &receiver{got: map[string][]string{}}
	keys := auth.NewSimpleKeyProvider(l.APIKey, l.APISecret)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		e, err := webhook.ReceiveWebhookEvent(q, keys)
		if err != nil || e.EgressInfo == nil {
			t.Errorf("a webhook that LiveKit's receiver refuses: %v", err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		id := e.EgressInfo.EgressId
		r.got[id] = append(r.got[id], e.Event+" "+e.EgressInfo.Status.String())
	}))
	t.Cleanup(r.Close)
	return r
}

// await waits for the end of an egress, and returns what was received of it.
func (r *receiver) await(t *testing.T, egressID string) []string {
	t.Helper()
	var list []string
	check(t, stack.Poll(testContext(t), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		list = slices.Clone(r.got[egressID])
		return len(list) > 0 && strings.HasPrefix(list[len(list)-1], "egress_ended ")
	}))
	return list
}

// A room that no pattern matches is recorded on request: with a selection and a prefix, listed and
// stopped with LiveKit's own client, and not recorded again before another request.
func TestStartAndStop(t *testing.T) {
	hooks := receive(t, servers.LiveKit)
	w := record(t, servers, pollFast, "POLL_INTERVAL_WITH_WEBHOOKS=200ms", "RECORD_ROOMS=!*",
		"WEBHOOK_ALLOW_PRIVATE=true",
		"PROJECTS__0__WEBHOOKS__0__URL="+hooks.URL)
	ctx := testContext(t)
	w.Webhooks.To(w.r)
	egress := lksdk.NewEgressClient(w.r.URL, w.LiveKit.APIKey, w.LiveKit.APISecret)

	if status, body := w.call("StartDataEgress", "", map[string]any{"room_name": "no room"}); status ==
		http.StatusOK {
		t.Errorf("a room that does not exist: status %d: %s", status, body)
	}
	if room := must(w.LiveKit.Room(ctx, "no room"))(t); room != nil {
		t.Error("a request created the room that it named")
	}
	room := w.open("by request", "")
	if status, body := w.call("StartDataEgress", "another room", map[string]any{
		"room_name": room.Name,
	}); status != http.StatusForbidden && status != http.StatusUnauthorized {
		t.Errorf("with a token for another room: status %d: %s", status, body)
	}
	w.searched()
	if n := w.recordings(room.Sid); n != 0 {
		t.Errorf("%d recordings before the request", n)
	}
	request := map[string]any{
		"room_name": room.Name, "request_id": "lesson 7", "prefix": "course/week 3",
	}
	info := w.start(request)
	if again := w.start(request); again.EgressId != info.EgressId {
		t.Errorf("the repeated request started %s beside %s", again.EgressId, info.EgressId)
	}
	if info.RoomId != room.Sid || info.RoomName != room.Name {
		t.Errorf("the answer names room %q (%s), want %q (%s)", info.RoomName, info.RoomId,
			room.Name, room.Sid)
	}
	w.recording(room)
	l := w.join(w.LiveKit, room, "learner-1")
	w.say(l, 10)
	w.awaitPackets(room.Sid, 10)
	list := must(egress.ListEgress(ctx, &livekit.ListEgressRequest{
		RoomName: room.Name, Active: true,
	}))(t)
	if len(list.Items) != 1 || list.Items[0].EgressId != info.EgressId ||
		list.Items[0].Status != livekit.EgressStatus_EGRESS_ACTIVE {
		t.Errorf("ListEgress: %v", list.Items)
	}
	must(egress.StopEgress(ctx, &livekit.StopEgressRequest{EgressId: info.EgressId}))(t)
	first := w.delivered(room.Sid, 1)[0]
	ended(t, first, 1, textegress.StatusComplete, "stopped")
	want := "livekit/course/" + textegress.EscapeName("week 3") + "/"
	if !strings.HasPrefix(first.Key, want) {
		t.Errorf("delivered to %q, want below %q", first.Key, want)
	}
	if got := hooks.await(t, info.EgressId); got[0] != "egress_started EGRESS_ACTIVE" &&
		got[0] != "egress_started EGRESS_STARTING" || got[len(got)-1] !=
		"egress_ended EGRESS_COMPLETE" {
		t.Errorf("completion webhooks: %q", got)
	}

	// The stop holds: neither the search nor webhooks nor a restart undoes it.
	w.join(w.LiveKit, room, "learner-2").Vanish()
	check(t, w.r.Restart(ctx))
	w.searched()
	if n := w.recordings(room.Sid); n != 1 {
		t.Errorf("%d recordings after the stop, want 1", n)
	}
	second := w.start(map[string]any{
		"room_name": room.Name, "request_id": "lesson 7, continued", "topics": []string{"log"},
	})
	if second.EgressId == info.EgressId {
		t.Error("the second request continued the recording that was stopped")
	}
	w.recording(room)
	w.say(l, 10)
	check(t, l.Send(ctx, "chat", []byte("not for the record"), true))
	w.awaitPackets(room.Sid, 10)
	w.delete(room)
	ds := w.delivered(room.Sid, 2)
	ended(t, ds[1], 2, textegress.StatusComplete, "room_deleted")
	if ds[1].Manifest().Selection == nil {
		t.Error("the manifest does not state the selection of the request")
	}
	hooks.await(t, second.EgressId)
	got := 0
	for _, d := range ds {
		for m, err := range d.Messages() {
			check(t, err)
			if m.Kind == textegress.KindData {
				got++
			}
			if m.Topic == "chat" {
				t.Error("a topic that was not requested is recorded")
			}
		}
	}
	if got != 20 {
		t.Errorf("%d messages recorded, want 20", got)
	}
	list = must(egress.ListEgress(ctx, &livekit.ListEgressRequest{RoomName: room.Name}))(t)
	if len(list.Items) != 2 {
		t.Errorf("ListEgress lists %d recordings, want 2", len(list.Items))
	}
	if _, err := egress.StopEgress(context.WithoutCancel(ctx), &livekit.StopEgressRequest{
		EgressId: "EG_unknown",
	}); err == nil {
		t.Error("StopEgress of an unknown id succeeded")
	}
}

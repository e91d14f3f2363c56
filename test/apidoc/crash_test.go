package apidoc

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/webhook"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/dataegress"
	"github.com/syncflow/textegress/test/stack"
)

// hooks receives the webhooks that a request names; they are signed with the project's key.
type hooks struct {
	*httptest.Server
	mu  sync.Mutex
	ids map[string]bool
	got []string
}

func receive(t *testing.T) *hooks {
	t.Helper()
	h := &hooks{ids: map[string]bool{}}
	keys := auth.NewSimpleKeyProvider(servers.LiveKit.APIKey, servers.LiveKit.APISecret)
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := webhook.ReceiveWebhookEvent(r, keys)
		if err != nil {
			t.Errorf("LiveKit's receiver refuses a webhook: %v", err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.ids[e.GetId()] { // an event may be repeated, with its id
			h.ids[e.GetId()] = true
			h.got = append(h.got, e.GetEvent()+" "+e.GetEgressInfo().GetStatus().String())
		}
	}))
	t.Cleanup(h.Close)
	return h
}

// until waits for n events, and returns all.
func (h *hooks) until(t *testing.T, n int) (got []string) {
	t.Helper()
	if err := stack.Poll(testContext(t), func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		got = slices.Clone(h.got)
		return len(got) >= n
	}); err != nil {
		t.Fatalf("received %q: %v", got, err)
	}
	return got
}

// TestKilled: the process is killed right after its answer to a start, and again after its answer
// to a stop. Both requests take effect, and the webhooks of the request are sent.
func TestKilled(t *testing.T) {
	h := receive(t)
	x := newTarget(t, "WEBHOOK_HOSTS=127.0.0.1", "WEBHOOK_ALLOW_PRIVATE=true")
	ctx := testContext(t)
	request := &dataegress.StartDataEgressRequest{
		RoomName: room, RequestId: "lesson 7", Webhooks: []string{h.URL},
	}
	killed := func() {
		t.Helper()
		check(t, x.Kill())
		check(t, x.Start(ctx))
	}
	id := must(x.client.Start(ctx, request))(t).GetEgressId()
	killed()
	if again := must(x.client.Start(ctx, request))(t); again.GetEgressId() != id {
		t.Errorf("the repeated request started %s beside %s", again.GetEgressId(), id)
	}
	check(t, x.speak("other", topic))
	if e := must(x.client.Stop(ctx, id))(t); e.GetStatus() != livekit.EgressStatus_EGRESS_ENDING {
		t.Errorf("stopped: %v", e)
	}
	killed()
	x.complete(id, textegress.TailUnproved, "other", topic)
	if again := must(x.client.Start(ctx, request))(t); again.GetEgressId() != id {
		t.Errorf("the request, repeated after the stop, started %s", again.GetEgressId())
	}
	if list := must(x.client.List(ctx, nil))(t); len(list) != 1 {
		t.Errorf("recordings: %v", list)
	}
	want := []string{
		"egress_started EGRESS_STARTING", "egress_updated EGRESS_ACTIVE",
		"egress_updated EGRESS_ENDING", "egress_ended EGRESS_COMPLETE",
	}
	if d := cmp.Diff(want, h.until(t, len(want))); d != "" {
		t.Error(d)
	}
}

// TestStatement: while the store cannot be reached, the statement of a stopped recording has the
// figures of the recording, also after a restart. It is final once the recording is rendered.
func TestStatement(t *testing.T) {
	x := newTarget(t)
	ctx := testContext(t)
	id := x.start()
	servers.Proxies.S3.Close()
	t.Cleanup(func() { check(t, servers.Proxies.S3.Clear()) })
	must(x.client.Stop(ctx, id))(t)
	sealed := func() {
		t.Helper()
		var s *dataegress.Statement
		check(t, stack.Poll(ctx, func() bool {
			s = must(x.client.Statement(ctx, id))(t)
			return s.GetReason() != ""
		}))
		if s.GetFinal() || s.GetPackets() != 2*said || s.GetReason() != "stopped" ||
			s.GetStatus() != livekit.EgressStatus_EGRESS_ENDING || s.GetManifestLocation() != "" {
			t.Errorf("the statement before the delivery: %v", s)
		}
	}
	sealed()
	list := must(x.client.List(ctx, &dataegress.ListDataEgressRequest{Active: true}))(t)
	if len(list) != 1 || list[0].GetStatus() != livekit.EgressStatus_EGRESS_ENDING {
		t.Errorf("active before the delivery: %v", list)
	}
	check(t, x.Kill())
	check(t, x.Start(ctx))
	sealed()
	check(t, servers.Proxies.S3.Clear())
	x.complete(id, textegress.TailLeft, "other", topic)
}

package app_test

import (
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"
)

// hooks is a receiver of webhooks.
type hooks struct {
	mu       sync.Mutex
	statuses []livekit.EgressStatus
	bad      []string
}

func (h *hooks) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	e := &livekit.WebhookEvent{}
	if err == nil {
		err = protojson.Unmarshal(b, e)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || r.Header.Get("Authorization") == "" {
		h.bad = append(h.bad, string(b))
	}
	h.statuses = append(h.statuses, e.GetEgressInfo().GetStatus())
}

func (h *hooks) got() []livekit.EgressStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.statuses)
}

// TestWebhooks: a receiver in the settings gets all events of a recording.
func TestWebhooks(t *testing.T) {
	h := &hooks{}
	url := serve(t, h)
	w := newWorld(t)
	w.env(project(0, projectA, "DIRECTORY="+filepath.Join(w.dir, "out"),
		"WEBHOOKS__0__URL="+url, "WEBHOOKS__0__API_KEY=key",
		"WEBHOOKS__0__API_SECRET=a-secret-of-at-least-thirty-two-bytes"),
		"WEBHOOK_ALLOW_PRIVATE=true")
	w.start()
	c := w.record(projectA, 1)
	w.eventually("the start is reported", func() bool { return len(h.got()) >= 2 })
	w.send(c, "said")
	w.end(c, 1)
	w.eventually("the end is reported", func() bool { return len(h.got()) >= 4 })
	want := []livekit.EgressStatus{
		livekit.EgressStatus_EGRESS_STARTING, livekit.EgressStatus_EGRESS_ACTIVE,
		livekit.EgressStatus_EGRESS_ENDING, livekit.EgressStatus_EGRESS_COMPLETE,
	}
	if got := h.got(); !slices.Equal(got, want) || len(h.bad) > 0 {
		t.Errorf("%v, %q", got, h.bad)
	}
	if s := w.recording(1).State; s != "uploaded" {
		t.Errorf("the end was reported of a recording that is %s", s)
	}
}

package webhooktest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lk "github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

// inbox holds the events of one recording that a receiver has verified.
type inbox struct {
	name   string
	events <-chan *lk.WebhookEvent
	ids    map[string]bool
	got    []string
	last   *lk.EgressInfo
}

// until waits for an event with a status. An event that comes again, with its id, counts once.
func (i *inbox) until(t *testing.T, status lk.EgressStatus) {
	t.Helper()
	deadline := time.After(timeout)
	for i.last.GetStatus() != status || len(i.got) == 0 {
		select {
		case e := <-i.events:
			if i.ids[e.GetId()] {
				continue
			}
			i.ids[e.GetId()] = true
			i.got = append(i.got, e.GetEvent()+" "+e.GetEgressInfo().GetStatus().String())
			i.last = e.GetEgressInfo()
		case <-deadline:
			t.Fatalf("%s: only %q within %s", i.name, i.got, timeout)
		}
	}
}

// interrupted refuses every request while down is true, and reports each.
func interrupted(h http.Handler, down *atomic.Bool, refused chan<- struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			refused <- struct{}{}
			return
		}
		h.ServeHTTP(w, r)
	})
}

// TestService: the real binary sends all events of a recording to LiveKit's receivers, in order.
// When the recording is sealed, the store does not answer and one receiver is down; then the
// process is killed. Each receiver gets the event of the end after the delivery, none before it.
func TestService(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*timeout)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := stack.Start(ctx, stack.Options{NoSyncFlow: true, Proxies: true})
	must(err)
	defer func() { must(s.Stop(context.Background())) }()
	goEvents := make(chan *lk.WebhookEvent, 64)
	var down atomic.Bool
	refused := make(chan struct{}, 64)
	server := httptest.NewServer(interrupted(goReceiver(t, goEvents), &down, refused))
	defer server.Close()
	nodeURL, nodeEvents := nodeReceiver(t)
	goBox := &inbox{name: "Go", events: goEvents, ids: map[string]bool{}}
	nodeBox := &inbox{name: "Node.js", events: nodeEvents, ids: map[string]bool{}}
	boxes := []*inbox{goBox, nodeBox}
	all := func(status lk.EgressStatus) {
		t.Helper()
		for _, i := range boxes {
			i.until(t, status)
		}
	}
	settings := []string{"POLL_INTERVAL=200ms", "WEBHOOK_ALLOW_PRIVATE=true"}
	for n, url := range []string{server.URL, nodeURL} {
		k := fmt.Sprintf("PROJECTS__0__WEBHOOKS__%d__", n)
		settings = append(settings, k+"URL="+url, k+"API_KEY="+apiKey, k+"API_SECRET="+apiSecret)
	}
	r, err := s.StartRecorder(ctx, t.TempDir(), settings...)
	must(err)
	defer func() {
		must(r.Kill())
		if t.Failed() {
			t.Logf("the recorder's log:\n%s", r.LogTail(20000))
		}
		if strings.Contains(r.LogTail(1<<20), apiSecret) {
			t.Error("the log contains the secret of a webhook")
		}
	}()

	room, err := s.LiveKit.CreateRoom(ctx, "Biology 2")
	must(err)
	all(lk.EgressStatus_EGRESS_ACTIVE)
	l := classroom.Enroll("learner-1", func(ctx context.Context) (string, string, error) {
		return s.LiveKit.Class(room.GetName()).Tokens(ctx, "learner-1")
	})
	must(l.Join(ctx))
	must(l.Send(ctx, "lk.chat", []byte("said"), true))
	must(l.Drain(ctx))
	must(r.Until(ctx, "the message is recorded", func(st stack.RecorderStatus) bool {
		return len(st.Recordings) == 1 && st.Recordings[0].Packets == 1
	}))
	l.Vanish()

	s.Proxies.S3.Close()
	down.Store(true)
	must(s.LiveKit.DeleteRoom(ctx, room.GetName()))
	nodeBox.until(t, lk.EgressStatus_EGRESS_ENDING)
	select {
	case <-refused:
	case <-ctx.Done():
		t.Fatal("no request reports the end of the room to the receiver that is down")
	}
	must(r.Kill())
	down.Store(false)
	must(r.Spawn())
	goBox.until(t, lk.EgressStatus_EGRESS_ENDING)
	for _, i := range boxes {
		for len(i.events) > 0 {
			if e := <-i.events; !i.ids[e.GetId()] {
				t.Errorf("%s: before the delivery: %v", i.name, e)
			}
		}
	}
	must(s.Proxies.S3.Clear())
	all(lk.EgressStatus_EGRESS_COMPLETE)

	want := []string{
		"egress_started EGRESS_STARTING", "egress_updated EGRESS_ACTIVE",
		"egress_updated EGRESS_ENDING", "egress_ended EGRESS_COMPLETE",
	}
	delivered, err := s.Delivered(stack.Project{Bucket: stack.LiveKitBucket}, room.GetSid())
	must(err)
	if len(delivered) != 1 {
		t.Fatalf("%d recordings are delivered when the end was reported", len(delivered))
	}
	m := delivered[0].Manifest()
	for _, i := range boxes {
		if d := cmp.Diff(want, i.got); d != "" {
			t.Errorf("%s: %s", i.name, d)
		}
		at := "s3://" + stack.LiveKitBucket + "/" + delivered[0].Key + "manifest.json"
		if e := i.last; e.GetEgressId() != m.EgressID || e.GetRoomId() != room.GetSid() ||
			e.GetRoomName() != room.GetName() || e.GetManifestLocation() != at {
			t.Errorf("%s: %v", i.name, e)
		}
	}
}

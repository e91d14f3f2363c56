package webhooktest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/auth"
	lk "github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/webhook"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/notify"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
	"github.com/syncflow/textegress/test/stack"
)

const (
	apiKey    = "APIwebhook"
	apiSecret = "a-secret-of-at-least-thirty-two-bytes"
	timeout   = time.Minute
)

// TestGoReceiver: the receiver of LiveKit's Go module.
func TestGoReceiver(t *testing.T) {
	events := make(chan *lk.WebhookEvent, 16)
	server := httptest.NewServer(goReceiver(t, events))
	defer server.Close()
	check(t, server.URL, events)
}

func goReceiver(t *testing.T, events chan<- *lk.WebhookEvent) http.Handler {
	keys := auth.NewSimpleKeyProvider(apiKey, apiSecret)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := webhook.ReceiveWebhookEvent(r, keys)
		if err != nil {
			t.Log(err)
			http.Error(w, "not signed", http.StatusUnauthorized)
			return
		}
		events <- e
	})
}

// TestNodeReceiver: WebhookReceiver of livekit-server-sdk.
func TestNodeReceiver(t *testing.T) {
	url, events := nodeReceiver(t)
	check(t, url, events)
}

// nodeReceiver starts the receiver of livekit-server-sdk, and returns its address and what it has
// verified.
func nodeReceiver(t *testing.T) (string, <-chan *lk.WebhookEvent) {
	t.Helper()
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), filepath.Join(root, "scripts", "npm.sh"), "server")
	if b, err := install.CombinedOutput(); err != nil {
		t.Fatalf("scripts/npm.sh server: %v\n%s", err, b)
	}
	// Node looks for packages beside the program.
	program := filepath.Join(root, "build", "npm", "server", "receive.mjs")
	b, err := os.ReadFile(filepath.Join(root, "test", "clients", "apps", "server", "receive.mjs"))
	if err == nil {
		err = os.WriteFile(program, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	node := exec.CommandContext(ctx, "node", program, apiKey, apiSecret)
	node.Stderr = t.Output()
	out, err := node.StdoutPipe()
	if err == nil {
		err = node.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("no address: %v", lines.Err())
	}
	url := lines.Text()
	events := make(chan *lk.WebhookEvent, 64)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines.Scan() {
			e := &lk.WebhookEvent{}
			if err := protojson.Unmarshal(lines.Bytes(), e); err != nil {
				t.Error(err)
			}
			events <- e
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-read
		_ = node.Wait() // it was killed
	})
	return url, events
}

// check advances a recording from its start to its delivery, with one receiver that has the key and
// one that has another key, and checks the events that the first gets.
func check(t *testing.T, url string, events <-chan *lk.WebhookEvent) {
	t.Helper()
	s, err := spool.Open(filepath.Join(t.TempDir(), "data"), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n := notify.New(notify.Options{
		Spool: s, AllowPrivate: true,
		Projects: func() map[string]notify.Project {
			return map[string]notify.Project{"p": {Subscriptions: []notify.Subscription{
				{URL: url, Key: livekit.Key{ID: apiKey, Secret: apiSecret}},
				{URL: url + "?other=key", Key: livekit.Key{ID: apiKey, Secret: apiSecret + "!"}},
			}}}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = n.Run(ctx) }()
	defer func() { cancel(); <-done }()

	var got []string
	next := func() *lk.WebhookEvent {
		t.Helper()
		n.Wake()
		select {
		case e := <-events:
			got = append(got, e.Event+" "+e.EgressInfo.Status.String())
			return e
		case <-time.After(timeout):
			t.Fatalf("only %q within %s", got, timeout)
			return nil
		}
	}
	rec, err := s.Create(spool.Info{
		EgressID: "DE_1", SessionID: "RM_x", RoomName: "Klasse 1 <ä> 教室", ProjectID: "p",
		KeyPrefix: textegress.Prefix("P", "p", "class 1", "", "DE_1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	next()
	w, err := rec.Writer()
	if err != nil {
		t.Fatal(err)
	}
	b, err := segment.EncodeEvent(segment.Event{Kind: segment.KindJoined, RoomSID: "RM_x"})
	if err == nil {
		err = w.Append(segment.Frame{Type: segment.FrameEvent, UnixNS: 1, Payload: b})
	}
	if err != nil {
		t.Fatal(err)
	}
	next()
	if err := w.Seal(spool.Sealed{Status: textegress.StatusComplete}); err != nil {
		t.Fatal(err)
	}
	next()
	if err := deliver(rec); err != nil {
		t.Fatal(err)
	}
	e := next()
	want := []string{
		"egress_started EGRESS_STARTING", "egress_updated EGRESS_ACTIVE",
		"egress_updated EGRESS_ENDING", "egress_ended EGRESS_COMPLETE",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	i := e.EgressInfo
	if e.Id == "" || e.CreatedAt == 0 || i.EgressId != "DE_1" ||
		i.RoomName != "Klasse 1 <ä> 教室" || i.RoomId != "RM_x" || len(i.FileResults) != 1 || i.FileResults[0].Size != 2 ||
		i.ManifestLocation == "" || i.EndedAt < i.StartedAt {
		t.Errorf("%v", e)
	}
	// The receiver with another key has accepted nothing.
	for deadline := time.Now().Add(timeout); n.Pending() != 4; {
		if time.Now().After(deadline) {
			t.Fatalf("%d events wait, want 4", n.Pending())
		}
		_ = backoff.Sleep(t.Context(), 10*time.Millisecond)
	}
	select {
	case e := <-events:
		t.Errorf("once more: %v", e)
	default:
	}
}

// deliver writes the state files of a delivered recording.
func deliver(rec *spool.Recording) error {
	p := delivery.Plan{
		FormatVersion: 1, Revision: 1, Prefix: delivery.Prefix(rec.Info(), 1),
		Objects: []textegress.Object{{
			Key: textegress.ManifestName, Size: 2, SHA256: fmt.Sprintf("%064d", 0),
		}},
	}
	if err := p.Save(rec); err != nil {
		return err
	}
	b, err := json.Marshal(delivery.Uploaded{
		FormatVersion: 1, Revision: 1, Bucket: "directory /out", Prefix: p.Prefix,
		UploadedUnixNS: time.Now().UnixNano(),
	})
	if err != nil {
		return err
	}
	return rec.WriteUploaded(b)
}

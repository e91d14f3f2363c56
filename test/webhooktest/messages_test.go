package webhooktest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/webhook"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

// class receives the messages of one recording. It stands behind LiveKit's receiver for Go.
type class struct {
	t *testing.T

	mu     sync.Mutex
	moods  *rand.Rand // decides how a request fails
	broken bool       // some requests fail
	lines  []string   // by n - 1, as first accepted
	repeat int        // lines that came again
	ended  bool
	sample []byte // the body of the first batch, with its token
	token  string
}

func (c *class) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender was killed
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	keys := auth.NewSimpleKeyProvider(apiKey, apiSecret)
	e, err := webhook.ReceiveWebhookEvent(r, keys)
	if err != nil {
		c.t.Error(err)
		http.Error(w, "not signed", http.StatusUnauthorized)
		return
	}
	c.mu.Lock()
	mood := 0
	if c.broken {
		mood = c.moods.IntN(5)
	}
	if mood != 1 && mood != 2 {
		c.accept(e.GetEvent(), body, r.Header.Get("Authorization"))
	}
	c.mu.Unlock()
	switch mood {
	case 1:
		http.Error(w, "not now", http.StatusNotFound)
	case 2:
		panic(http.ErrAbortHandler) // the connection breaks
	case 3: // it has accepted the batch, and its answer is lost
		panic(http.ErrAbortHandler)
	}
}

// accept takes an event. mu is held.
func (c *class) accept(event string, body []byte, token string) {
	if event == webhook.EventEgressEnded {
		c.ended = true
		return
	}
	if event != "data_messages" {
		return
	}
	if c.sample == nil {
		c.sample, c.token = body, token
	}
	var b struct {
		FirstN int64             `json:"first_n"`
		LastN  int64             `json:"last_n"`
		Lines  []json.RawMessage `json:"lines"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		c.t.Error(err)
	}
	if b.FirstN > int64(len(c.lines))+1 || b.LastN-b.FirstN+1 != int64(len(b.Lines)) || c.ended {
		c.t.Errorf("lines %d to %d after %d; ended: %t", b.FirstN, b.LastN, len(c.lines), c.ended)
	}
	for i, raw := range b.Lines {
		switch n := b.FirstN + int64(i); {
		case n == int64(len(c.lines))+1:
			c.lines = append(c.lines, string(raw))
		case c.lines[n-1] != string(raw):
			c.t.Errorf("line %d came again as %s, was %s", n, raw, c.lines[n-1])
		default:
			c.repeat++
		}
	}
}

func (c *class) set(broken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = broken
}

// until waits until what has come fulfils a condition.
func (c *class) until(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		c.mu.Lock()
		done, count := ok(), len(c.lines)
		c.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not within %s; %d lines", what, timeout, count)
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // polling with a deadline
	}
}

func (c *class) has(text string) func() bool {
	return func() bool { return strings.Contains(strings.Join(c.lines, "\n"), text) }
}

// TestMessages: the real binary pushes a class to LiveKit's receivers while it is recorded. The
// receiver refuses, breaks connections and loses answers at random; the service is killed three
// times. Every line of events.jsonl comes, in order, before the event of the end.
func TestMessages(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*timeout)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := stack.Start(ctx, stack.Options{NoSyncFlow: true})
	must(err)
	defer func() { must(s.Stop(context.Background())) }()
	c := &class{t: t, moods: rand.New(rand.NewPCG(1, 2))}
	server := httptest.NewServer(c)
	defer server.Close()
	const hook = "PROJECTS__0__WEBHOOKS__0__"
	r, err := s.StartRecorder(ctx, t.TempDir(), "POLL_INTERVAL=200ms", "WEBHOOK_ALLOW_PRIVATE=true",
		hook+"URL="+server.URL, hook+"API_KEY="+apiKey, hook+"API_SECRET="+apiSecret,
		hook+"EVENTS=egress_ended,message")
	must(err)
	defer func() {
		must(r.Kill())
		if t.Failed() {
			t.Logf("the recorder's log:\n%s", r.LogTail(20000))
		}
		if log := r.LogTail(1 << 20); strings.Contains(log, "said") {
			t.Error("the log contains what was said")
		}
	}()
	room, err := s.LiveKit.CreateRoom(ctx, "Biology 3")
	must(err)
	recorded := func() {
		t.Helper()
		must(r.Until(ctx, "it is recorded", func(st stack.RecorderStatus) bool {
			return len(st.Recordings) == 1 && st.Recordings[0].Connected
		}))
	}
	recorded()
	l := classroom.Enroll("learner-1", func(ctx context.Context) (string, string, error) {
		return s.LiveKit.Class(room.GetName()).Tokens(ctx, "learner-1")
	})
	must(l.Join(ctx))
	say := func(round int) {
		t.Helper()
		for i := range 50 {
			must(l.Send(ctx, "moves", fmt.Appendf(nil, "said %d.%d.", round, i), true))
		}
		must(l.Drain(ctx))
	}
	say(0)
	c.until("the messages come while the class is recorded", c.has("said 0.49."))
	c.set(true)
	for round := 1; round <= 3; round++ {
		say(round)
		must(r.Kill())
		must(r.Spawn())
		recorded()
	}
	say(4)
	l.Vanish()
	must(s.LiveKit.DeleteRoom(ctx, room.GetName()))
	c.until("the end", func() bool { return c.ended })
	delivered, err := s.Delivered(stack.Project{Bucket: stack.LiveKitBucket}, room.GetSid())
	must(err)
	if len(delivered) != 1 {
		t.Fatalf("%d recordings", len(delivered))
	}
	want, err := os.ReadFile(filepath.Join(delivered[0].Dir, textegress.EventsName))
	must(err)
	if got := strings.Join(c.lines, "\n") + "\n"; got != string(want) {
		t.Errorf("pushed %d lines that are not those of events.jsonl:\n%s\n%s", len(c.lines), got,
			want)
	}
	for _, text := range []string{"said 0.0.", "said 4.49."} {
		if !c.has(text)() {
			t.Errorf("%q is missing", text)
		}
	}
	t.Logf("%d lines, %d repeated", len(c.lines), c.repeat)
	c.node()
}

// node hands the first batch to LiveKit's receiver for Node.js.
func (c *class) node() {
	c.t.Helper()
	url, events := nodeReceiver(c.t)
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, url,
		bytes.NewReader(c.sample))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", c.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		c.t.Fatalf("Node.js answers %s", res.Status)
	}
	if e := <-events; e.GetEvent() != "data_messages" || !strings.HasPrefix(e.GetId(), "EV_") {
		c.t.Errorf("Node.js gets %v", e)
	}
}

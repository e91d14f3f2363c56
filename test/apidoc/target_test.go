package apidoc

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/client"
	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

const (
	room  = "Biology 2" // of the examples
	topic = "lk.chat"   // of the examples that select one
	said  = 10          // messages of each topic
)

// target is the real binary beside a LiveKit server, with the room of the examples. It records only
// on request. Two topics are sent in the room.
type target struct {
	*stack.Recorder
	t      *testing.T
	url    string // of the API; what the examples are given
	sid    string // of the room
	client *client.Client
	sender *classroom.Learner
}

func newTarget(t *testing.T, extra ...string) *target {
	t.Helper()
	ctx := testContext(t)
	l := servers.LiveKit
	opened := must(l.RoomService().CreateRoom(ctx, &livekit.CreateRoomRequest{
		Name: room, EmptyTimeout: 300,
	}))(t)
	r := must(servers.StartRecorder(ctx, t.TempDir(), append(extra, "RECORD_ROOMS=!*",
		"POLL_INTERVAL=200ms")...))(t)
	x := &target{
		Recorder: r, t: t, url: r.URL, sid: opened.GetSid(),
		client: must(client.New(r.URL, l.APIKey, l.APISecret))(t),
		sender: classroom.Enroll("learner-1", func(ctx context.Context) (string, string, error) {
			return l.Class(room).Tokens(ctx, "learner-1")
		}),
	}
	t.Cleanup(x.close)
	check(t, x.sender.Join(ctx))
	return x
}

// close stops the recorder, which must succeed, and ends the run of the room.
func (x *target) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	check(x.t, x.Stop(ctx))
	if x.sender.Room() != nil {
		x.sender.Vanish()
	}
	l := servers.LiveKit
	check(x.t, l.DeleteRoom(ctx, room))
	// LiveKit answers before it has closed the room, and closing it would harm the next run.
	closed := regexp.MustCompile(`room closed.*"` + x.sid + `"`)
	check(x.t, stack.Poll(ctx, func() bool {
		return closed.Match(must(os.ReadFile(l.LogPath()))(x.t))
	}))
	if x.t.Failed() {
		x.t.Logf("the recorder's log:\n%s", x.LogTail(20000))
	}
	log := read(x.t, x.LogPath())
	for _, f := range []string{"eyJ", "learner-", "said", l.APISecret} {
		if strings.Contains(log, f) {
			x.t.Errorf("the log contains %q", f)
		}
	}
}

// speak waits until the recorder is in the room, and has messages of two topics sent. Those of the
// selected topics are received when it returns.
func (x *target) speak(topics ...string) error {
	ctx, cancel := context.WithTimeout(x.t.Context(), time.Minute)
	defer cancel()
	until := func(what string, packets uint64) error {
		return x.Until(ctx, what, func(st stack.RecorderStatus) bool {
			for _, rec := range st.Recordings {
				if rec.SessionID == x.sid && rec.Connected && rec.Packets >= packets {
					return true
				}
			}
			return false
		})
	}
	if err := until("the recorder is in the room", 0); err != nil {
		return err
	}
	for _, topic := range []string{"other", topic} {
		for n := range said {
			if err := x.sender.Send(ctx, topic, fmt.Appendf(nil, "said %d", n), true); err != nil {
				return err
			}
		}
	}
	if err := x.sender.Drain(ctx); err != nil {
		return err
	}
	return until("everything is recorded", uint64(said*len(topics)))
}

// speakBefore makes examples use a proxy, which holds the first call of a method until speak has
// returned: a user who starts and stops a recording takes more time than a program.
func (x *target) speakBefore(method string, topics ...string) {
	x.t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(must(url.Parse(x.URL))(x.t))
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/"+method) {
			once.Do(func() {
				if err := x.speak(topics...); err != nil {
					x.t.Error(err)
				}
			})
		}
		proxy.ServeHTTP(w, r)
	}))
	x.t.Cleanup(server.Close)
	x.url = server.URL
}

// command returns a command with the settings that the examples read.
func (x *target) command(dir, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(x.t.Context(), name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "TEXTEGRESS_URL="+x.url,
		"LIVEKIT_API_KEY="+servers.LiveKit.APIKey, "LIVEKIT_API_SECRET="+servers.LiveKit.APISecret)
	return c
}

// manifest returns where the manifest of a recording is.
func manifest(egressID string) string {
	return "s3://" + stack.LiveKitBucket + "/livekit/" + textegress.EscapeName(room) +
		"/data-egress/" + egressID + "/manifest.json"
}

// complete waits until a recording is delivered, and checks that it was stopped, that it contains
// the messages of the given topics only, and that the API's statement agrees.
func (x *target) complete(egressID, tail string, topics ...string) {
	t := x.t
	t.Helper()
	ctx := testContext(t)
	e := must(x.client.Wait(ctx, egressID))(t)
	if e.GetStatus() != livekit.EgressStatus_EGRESS_COMPLETE || e.GetRoomId() != x.sid ||
		e.GetManifestLocation() != manifest(egressID) || e.GetError() != "" ||
		e.GetEndedAt() < e.GetStartedAt() || len(e.GetFileResults()) == 0 {
		t.Errorf("delivered: %v", e)
	}
	s := must(x.client.Statement(ctx, egressID))(t)
	want := int64(said * len(topics))
	if !s.GetFinal() || s.GetStatus() != e.GetStatus() || s.GetReason() != "stopped" ||
		s.GetTail() != tail || s.GetPackets() != want ||
		s.GetMessages() != want || s.GetJoinedAt() == 0 || s.GetSelection() != (len(topics) == 1) ||
		s.GetManifestLocation() != e.GetManifestLocation() || s.GetSummary() != e.GetDetails() {
		t.Errorf("the statement: %v", s)
	}
	list := must(servers.AwaitDelivered(ctx, x.Recorder,
		stack.Project{Bucket: stack.LiveKitBucket}, x.sid, 1))(t)
	got := map[string]int{}
	for m, err := range list[0].Messages() {
		check(t, err)
		if m.Kind == textegress.KindData {
			got[m.Topic]++
		}
	}
	if len(got) != len(topics) {
		t.Errorf("recorded topics: %v", got)
	}
	for _, topic := range topics {
		if got[topic] != said {
			t.Errorf("%d messages of topic %s are recorded, want %d", got[topic], topic, said)
		}
	}
	stdout, stderr, code, err := x.CLI(ctx, "verify", list[0].Where())
	check(t, err)
	if code != 0 {
		t.Errorf("verify: exit code %d\n%s%s", code, stdout, stderr)
	}
}

// Package e2e tests the real binary on real servers: LiveKit, RabbitMQ, S3, and a SyncFlow stand-in
// that follows the contract.
package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

// stack is shared by all tests, which run one after the other; each starts a recorder of its own.
var servers *stack.Stack

func TestMain(m *testing.M) {
	os.Exit(func() int {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		var err error
		servers, err = stack.Start(ctx, stack.Options{
			Projects: 2, TLS: true,
			LiveKit: stack.LiveKitOptions{
				EmptyTimeout:     20 * time.Second,
				DepartureTimeout: 3 * time.Second,
			},
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer servers.Stop(context.Background())
		return m.Run()
	}())
}

// testContext bounds one test, so that a wait that never ends names itself.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// record starts a recorder in a folder of its own. At the end of the test it is stopped in order,
// which must succeed, and the faults of the stand-in are gone.
func record(t *testing.T, extra ...string) *stack.Recorder {
	t.Helper()
	r, err := servers.StartRecorder(testContext(t), t.TempDir(), extra...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Not the test's context, which has ended.
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		check(t, servers.SyncFlow.ResetControl(ctx))
		if r.Running() {
			check(t, r.Stop(ctx))
		}
		if t.Failed() {
			t.Logf("the recorder's log:\n%s", r.LogTail(20000))
		}
		leaks(t, r)
	})
	return r
}

// leaks looks for what must not be in a log: secrets, tokens, payloads.
func leaks(t *testing.T, r *stack.Recorder) {
	t.Helper()
	b, err := os.ReadFile(r.LogPath())
	check(t, err)
	forbidden := []string{"eyJ", "learner-", "payload", servers.S3.SecretKey}
	for _, p := range servers.SyncFlow.Projects {
		forbidden = append(forbidden, p.Secret)
	}
	for _, f := range forbidden {
		if i := strings.Index(string(b), f); i >= 0 {
			t.Errorf("the log contains %q: …%s…", f, b[max(0, i-100):min(len(b), i+100)])
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return v
	}
}

// begin creates a session that is announced to the device group, and waits until SyncFlow's own
// listener is in its room: if the session ended before that, the listener would create the room
// again.
//
// SyncFlow sets the metadata of the room just before its listener reads them. LiveKit answers
// before it has stored them, and if the listener is faster, it gives up for good. Then begin starts
// over.
func begin(t *testing.T, p stack.Project, name string) stack.Session {
	t.Helper()
	for range 5 {
		s := must(servers.SyncFlow.CreateSession(testContext(t), p, name, stack.DeviceGroup))(t)
		ctx, cancel := context.WithTimeout(testContext(t), 10*time.Second)
		err := stack.Poll(ctx, func() bool {
			c, err := servers.SyncFlow.Counters(ctx)
			return err == nil && slices.Contains(c.Listening, s.LivekitRoomName)
		})
		cancel()
		// One that continues to run would keep one of SyncFlow's few database connections from
		// later tests.
		discard := func() { _ = servers.SyncFlow.DeleteSession(context.Background(), p, s.ID) }
		if err == nil {
			t.Cleanup(discard)
			return s
		}
		discard()
	}
	t.Fatalf("SyncFlow's listener is not in the room %s", name)
	return stack.Session{}
}

// inRoom waits until the recorder is in the room of the session.
func inRoom(t *testing.T, r *stack.Recorder, sessions ...stack.Session) {
	t.Helper()
	check(t, r.Until(testContext(t), "the recorder is in the rooms",
		func(st stack.RecorderStatus) bool {
			n := 0
			for _, rec := range st.Recordings {
				for _, s := range sessions {
					if rec.SessionID == s.ID && rec.Connected {
						n++
					}
				}
			}
			return n == len(sessions)
		}))
}

// join lets a learner join the room of a session.
func join(t *testing.T, p stack.Project, s stack.Session,
	identity string,
) *classroom.Learner {
	t.Helper()
	l := classroom.Enroll(identity, stackTokens(p, s, identity))
	check(t, l.Join(testContext(t)))
	return l
}

func end(t *testing.T, p stack.Project, s stack.Session) {
	t.Helper()
	must(servers.SyncFlow.StopSession(testContext(t), p, s.ID))(t)
}

// delivered waits for n recordings of the session, checks each against its manifest with the
// command line, and returns them.
func delivered(t *testing.T, r *stack.Recorder, p stack.Project, s stack.Session,
	n int,
) []stack.Delivered {
	t.Helper()
	ctx := testContext(t)
	out := must(servers.AwaitDelivered(ctx, r, p, s.ID, n))(t)
	for _, d := range out {
		stdout, stderr, code, err := r.CLI(ctx, "verify", d.S3URL())
		check(t, err)
		if code != 0 {
			t.Errorf("verify %s: exit code %d\n%s%s", d.S3URL(), code, stdout, stderr)
		}
	}
	readable(t, r, out[0])
	return out
}

// readable checks that the commands for people read a recording in the bucket.
func readable(t *testing.T, r *stack.Recorder, d stack.Delivered) {
	t.Helper()
	ctx := testContext(t)
	stdout, stderr, code, err := r.CLI(ctx, "tail", "--json", "-n", "all", d.S3URL())
	check(t, err)
	if lines, want := strings.Count(stdout, "\n"), len(messages(t, d)); code != 0 || lines != want {
		t.Errorf("tail %s: exit code %d, %d lines of %d\n%s", d.S3URL(), code, lines, want, stderr)
	}
	stdout, stderr, code, err = r.CLI(ctx, "report", "-o", "-", d.S3URL())
	check(t, err)
	if code != 0 || !strings.HasPrefix(stdout, "<!doctype html>") {
		t.Errorf("report %s: exit code %d, %.100s\n%s", d.S3URL(), code, stdout, stderr)
	}
}

// messages reads everything recorded.
func messages(t *testing.T, ds ...stack.Delivered) []textegress.Message {
	t.Helper()
	var out []textegress.Message
	for _, d := range ds {
		for m, err := range d.Messages() {
			check(t, err)
			out = append(out, m)
		}
	}
	return out
}

// received are the data messages of each sender.
func received(t *testing.T, ds ...stack.Delivered) map[string][]classroom.Received {
	t.Helper()
	out := map[string][]classroom.Received{}
	for _, m := range messages(t, ds...) {
		if m.Kind == textegress.KindData {
			out[m.Identity] = append(out[m.Identity], classroom.Received{
				Topic:   m.Topic,
				Payload: m.Payload(), Reliable: m.Reliable == nil || *m.Reliable,
			})
		}
	}
	return out
}

// faithful checks that the recordings have all that was sent, in order, and nothing else.
func faithful(t *testing.T, rep classroom.Report, ds ...stack.Delivered) {
	t.Helper()
	got := received(t, ds...)
	for who, sent := range rep.Sent {
		d := classroom.Compare(sent, got[who])
		if !d.Faithful() || len(d.MissingLossy) > 0 {
			t.Errorf("%q sent %d, recorded %d: %s", who, len(sent), len(got[who]), d)
		}
	}
	for who := range got {
		if _, ok := rep.Sent[who]; !ok {
			t.Errorf("recorded %d messages of %q, who sent none", len(got[who]), who)
		}
	}
}

// nobodyRemakes checks that the room of an ended session is not there.
func nobodyRemakes(t *testing.T, s stack.Session) {
	t.Helper()
	room := must(servers.LiveKit.Room(testContext(t), s.LivekitRoomName))(t)
	if room != nil {
		t.Errorf("the room of the ended session %s exists again (%s)", s.ID, room.Sid)
	}
}

// count counts the events of a kind.
func count(ms []textegress.Message, k textegress.Kind) int {
	n := 0
	for _, m := range ms {
		if m.Kind == k {
			n++
		}
	}
	return n
}

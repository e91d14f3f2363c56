// Package standalone tests the real binary with LiveKit alone: no SyncFlow, no broker. A session is
// one run of a room, and senders number their messages, so a message in the recording of another
// run is found.
package standalone

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

// servers is shared by the tests that do not harm LiveKit. They run one after the other, each with
// a recorder of its own.
var servers *stack.Stack

func TestMain(m *testing.M) {
	lksdk.SetLogger(logger.GetDiscardLogger())
	os.Exit(func() int {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		var err error
		servers, err = stack.Start(ctx, stack.Options{
			NoSyncFlow: true, NoS3: true, Webhooks: true, Gate: true,
			LiveKit: stack.LiveKitOptions{DepartureTimeout: time.Second},
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
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	return ctx
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

// startAlone starts servers for one test. Without Redis, which several nodes need, the test is
// skipped; in continuous integration it must be there.
func startAlone(t *testing.T, o stack.Options) *stack.Stack {
	t.Helper()
	o.NoSyncFlow, o.NoS3, o.Gate = true, true, true
	o.LiveKit.DepartureTimeout = time.Second
	s, err := stack.Start(testContext(t), o)
	if errors.Is(err, stack.ErrNoRedis) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	check(t, err)
	t.Cleanup(func() { check(t, s.Stop(context.Background())) })
	return s
}

const (
	// pollFast finds rooms within a fifth of a second.
	pollFast = "POLL_INTERVAL=200ms"
	// pollNever finds rooms only by the search at the start and by webhooks.
	pollNever = "POLL_INTERVAL=1h"
	// pollNeverBesideWebhooks does the same from the first webhook on.
	pollNeverBesideWebhooks = "POLL_INTERVAL_WITH_WEBHOOKS=1h"
)

// world is a recorder, the servers that it records, and the messages sent in each run of a room.
type world struct {
	*stack.Stack
	t      *testing.T
	r      *stack.Recorder
	spoken map[string]map[string][]*classroom.Learner // by run and identity
}

// record starts a recorder in a directory of its own. At the end of the test it is stopped, which
// must succeed.
func record(t *testing.T, s *stack.Stack, extra ...string) *world {
	t.Helper()
	r, err := s.StartRecorder(testContext(t), t.TempDir(), extra...)
	check(t, err)
	if s.Webhooks != nil {
		s.Webhooks.Reset()
	}
	t.Cleanup(func() {
		// Not the test's context, which has ended.
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		if s.Webhooks != nil {
			s.Webhooks.Reset()
		}
		s.Gate.OpenAPI()
		if t.Failed() { // later tests would record what is left
			if all, err := s.LiveKit.RoomService().ListRooms(ctx,
				&livekit.ListRoomsRequest{}); err == nil {
				for _, room := range all.Rooms {
					_ = s.LiveKit.DeleteRoom(ctx, room.Name)
				}
			}
		}
		if r.Running() {
			check(t, r.Stop(ctx))
		}
		if t.Failed() {
			t.Logf("the recorder's log:\n%s", r.LogTail(20000))
		}
		leaks(t, s, r)
	})
	return &world{s, t, r, map[string]map[string][]*classroom.Learner{}}
}

// leaks searches a log for forbidden content: secrets, tokens, identities, payloads.
func leaks(t *testing.T, s *stack.Stack, r *stack.Recorder) {
	t.Helper()
	b, err := os.ReadFile(r.LogPath())
	check(t, err)
	for _, f := range []string{"eyJ", "learner-", "said by", s.LiveKit.APISecret} {
		if i := strings.Index(string(b), f); i >= 0 {
			t.Errorf("the log contains %q: …%s…", f, b[max(0, i-100):min(len(b), i+100)])
		}
	}
}

// open creates a room, which stays open for five minutes if nobody joins, and returns it.
func (w *world) open(name, metadata string) *livekit.Room {
	w.t.Helper()
	room, err := w.LiveKit.RoomService().CreateRoom(testContext(w.t), &livekit.CreateRoomRequest{
		Name: name, Metadata: metadata, EmptyTimeout: 300,
	})
	check(w.t, err)
	return room
}

// delete deletes a room and waits until LiveKit has closed it. LiveKit answers earlier, and closing
// a room removes what is stored under its name: the next run too, if it is opened before.
func (w *world) delete(room *livekit.Room) {
	w.t.Helper()
	ctx := testContext(w.t)
	check(w.t, w.LiveKit.DeleteRoom(ctx, room.Name))
	closed := regexp.MustCompile(`room closed.*"` + room.Sid + `"`)
	check(w.t, stack.Poll(ctx, func() bool {
		return closed.Match(must(os.ReadFile(w.LiveKit.LogPath()))(w.t))
	}))
}

// in reports whether the recorder is in the room of a run.
func in(st stack.RecorderStatus, sid string) bool {
	for _, rec := range st.Recordings {
		if rec.SessionID == sid && rec.Connected {
			return true
		}
	}
	return false
}

// recording waits until the recorder is in the rooms.
func (w *world) recording(rooms ...*livekit.Room) {
	w.t.Helper()
	check(w.t, w.r.Until(testContext(w.t), "the recorder is in the rooms",
		func(st stack.RecorderStatus) bool {
			for _, room := range rooms {
				if !in(st, room.Sid) {
					return false
				}
			}
			return true
		}))
}

// join has a learner join a run of a room through a node.
func (w *world) join(l *stack.LiveKit, room *livekit.Room, identity string) *classroom.Learner {
	w.t.Helper()
	tokens := func(ctx context.Context) (string, string, error) {
		return l.Class(room.Name).Tokens(ctx, identity)
	}
	learner := classroom.Enroll(identity, tokens)
	// A room that is closing rejects a join.
	check(w.t, stack.Poll(testContext(w.t), func() bool {
		ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
		defer cancel()
		return learner.Join(ctx) == nil
	}))
	w.counted(room.Sid, learner)
	return learner
}

// counted expects the learner's messages in the recordings of a run.
func (w *world) counted(sid string, l *classroom.Learner) {
	if w.spoken[sid] == nil {
		w.spoken[sid] = map[string][]*classroom.Learner{}
	}
	w.spoken[sid][l.Identity] = append(w.spoken[sid][l.Identity], l)
}

// say sends n messages of a learner, each different from those of every other learner and run.
func (w *world) say(l *classroom.Learner, n int) {
	w.t.Helper()
	ctx := testContext(w.t)
	for range n {
		check(w.t, l.Send(ctx, "log", fmt.Appendf(nil, "%d said by %s", l.Next(), l.SID()), true))
	}
	check(w.t, l.Drain(ctx))
}

// awaitPackets waits until the open recording of a run has at least n packets.
func (w *world) awaitPackets(sid string, n uint64) {
	w.t.Helper()
	check(w.t, w.r.Until(testContext(w.t), fmt.Sprintf("%d packets of %s are recorded", n, sid),
		func(st stack.RecorderStatus) bool {
			for _, rec := range st.Recordings {
				if rec.SessionID == sid && rec.Connected && rec.Packets >= n {
					return true
				}
			}
			return false
		}))
}

// rejoined waits until the recorder is in the room of a run again, after n outages.
func (w *world) rejoined(sid string, n int) {
	w.t.Helper()
	check(w.t, w.r.Until(testContext(w.t), fmt.Sprintf("%s is rejoined", sid),
		func(st stack.RecorderStatus) bool {
			for _, rec := range st.Recordings {
				if rec.SessionID == sid && rec.Connected && rec.Outages >= n {
					return true
				}
			}
			return false
		}))
}

// delivered waits for n recordings of a run, and verifies each.
func (w *world) delivered(sid string, n int) []stack.Delivered {
	w.t.Helper()
	ctx := testContext(w.t)
	out := must(w.r.AwaitDeliveredLocally(ctx, sid, n))(w.t)
	for _, d := range out {
		stdout, stderr, code, err := w.r.CLI(ctx, "verify", d.Where())
		check(w.t, err)
		if code != 0 {
			w.t.Errorf("verify %s: exit code %d\n%s%s", d.Where(), code, stdout, stderr)
		}
	}
	return out
}

// faithful checks all delivered recordings: those of each run contain the messages sent in it, in
// order, and no others. Runs without messages may be missing.
func (w *world) faithful() {
	w.t.Helper()
	got := map[string]map[string][]classroom.Received{}
	for _, d := range must(w.r.DeliveredLocally(""))(w.t) {
		sid := d.Manifest().Session.ID
		if got[sid] == nil {
			got[sid] = map[string][]classroom.Received{}
		}
		for m, err := range d.Messages() {
			check(w.t, err)
			if m.Kind == textegress.KindData {
				got[sid][m.Identity] = append(got[sid][m.Identity], classroom.Received{
					Topic: m.Topic, Payload: m.Payload(),
					Reliable: m.Reliable == nil || *m.Reliable,
				})
			}
		}
	}
	for sid, learners := range w.spoken {
		for who, connections := range learners {
			var sent []classroom.Message
			for _, l := range connections {
				for _, m := range l.Sent() {
					m.N = len(sent) + 1
					sent = append(sent, m)
				}
			}
			if d := classroom.Compare(sent, got[sid][who]); !d.Faithful() {
				w.t.Errorf("run %s: %q sent %d, recorded %d: %s", sid, who, len(sent),
					len(got[sid][who]), d)
			}
		}
	}
	for sid, senders := range got {
		for who, list := range senders {
			if len(w.spoken[sid][who]) == 0 {
				w.t.Errorf("run %s: recorded %d messages of %q, who sent none", sid, len(list), who)
			}
		}
	}
}

// ended checks how a recording ended.
func ended(t *testing.T, d stack.Delivered, part int, status textegress.Status, reason string) {
	t.Helper()
	if m := d.Manifest(); m.Status != status || m.Reason != reason || m.Part != part {
		t.Errorf("recording of %q: part %d is %s (%s), want part %d, %s (%s)", m.Session.RoomName,
			m.Part, m.Status, m.Reason, part, status, reason)
	}
}

// recordings counts the recordings of a run, delivered or not.
func (w *world) recordings(sid string) int {
	w.t.Helper()
	n := 0
	for _, rec := range must(w.r.Status(testContext(w.t)))(w.t).Recordings {
		if rec.SessionID == sid {
			n++
		}
	}
	return n
}

// searched waits until a search for rooms has begun and ended. Searches list the rooms one after
// the other; a recorder that looks for its own room adds one request.
func (w *world) searched() {
	w.t.Helper()
	before := w.Gate.Lists()
	check(w.t, stack.Poll(testContext(w.t), func() bool { return w.Gate.Lists() >= before+4 }))
}

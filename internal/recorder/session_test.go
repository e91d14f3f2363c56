package recorder_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/segment"
)

// after ends a connection for the given reason when it has lasted for d.
func after(d time.Duration, reason room.Reason) func(room.Handler, <-chan struct{}) room.Reason {
	return func(room.Handler, <-chan struct{}) room.Reason {
		time.Sleep(d)
		return reason
	}
}

func repeat(n int, s step) []step { return slices.Repeat([]step{s}, n) }

// Somebody else takes our identity, which is random, again and again: five times in a row are
// enough. In a row means without a long connection or another end in between.
func TestDuplicateIdentity(t *testing.T) {
	twin := step{info: info("RM_1", ours), run: send(room.ReasonDuplicateIdentity)}
	late := step{info: info("RM_1", ours), run: after(time.Hour, room.ReasonConnectionLost)}
	deleted := step{info: info("RM_1", ours), run: send(room.ReasonRoomDeleted)}
	for name, c := range map[string]struct {
		steps  []step
		status textegress.Status
		joins  int
	}{
		"five in a row": {repeat(9, twin), textegress.StatusFailed, 5},
		"four, and then a class": {slices.Concat(repeat(4, twin), []step{late}, repeat(4, twin),
			[]step{deleted}), textegress.StatusComplete, 10},
		"another end in between": {
			slices.Concat(repeat(4, twin),
				[]step{{info: info("RM_1", ours), run: send(room.ReasonMigration)}},
				repeat(5, twin)),
			textegress.StatusFailed, 10,
		},
		"while joining, likewise": {
			repeat(9,
				step{err: &room.DisconnectError{
					Disconnect: room.Disconnect{Reason: room.ReasonDuplicateIdentity},
				}}),
			textegress.StatusFailed, 5,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil, c.steps...)
				sealed := w.run(t.Context())
				if sealed.Status != c.status || w.room.count() != c.joins {
					t.Errorf("sealed %s (%s) after %d joins, want %s after %d", sealed.Status,
						sealed.Reason, w.room.count(), c.status, c.joins)
				}
				if ids := slices.Compact(slices.Sorted(slices.Values(w.auth.identities))); len(
					ids) != len(w.auth.identities) {
					t.Errorf("%d tries under %d identities", len(w.auth.identities), len(ids))
				}
			})
		})
	}
}

// A server that lets us in and throws us out again is not asked without a pause, and the pauses
// grow; after a long connection the next try is made at once.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := step{info: info("RM_1", ours), run: send(room.ReasonConnectionLost)}
		long := step{
			info: info("RM_1", ours),
			run:  after(2*time.Minute, room.ReasonConnectionLost),
		}
		w := newWorld(t, nil, slices.Concat(repeat(12, out), []step{long},
			[]step{{info: info("RM_1", ours), run: send(room.ReasonRoomDeleted)}})...)
		w.run(t.Context())
		var pauses []time.Duration
		for i, j := range w.room.joins[1:] {
			pauses = append(pauses, j.at.Sub(w.room.joins[i].at))
		}
		if pauses[0] > 100*time.Millisecond {
			t.Errorf("the second try came after %v; every moment away may cost data", pauses[0])
		}
		for _, p := range pauses[8:12] {
			if p < 5*time.Second || p > 10*time.Second {
				t.Errorf("pauses %v, want the last ones between 5 and 10 s", pauses)
				break
			}
		}
		if last := pauses[12] - 2*time.Minute; last > 100*time.Millisecond {
			t.Errorf("after a long connection the next try came after %v", last)
		}
	})
}

// An outage begins when the data channels were last heard, also where the websocket lived on and
// told who came and went.
func TestOutageBeginsWhenLastHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := time.Now().Add(5 * time.Second)
		w := newWorld(t, nil,
			step{
				info: info("RM_1", ours), heard: heard,
				run: func(h room.Handler, _ <-chan struct{}) room.Reason {
					time.Sleep(10 * time.Second)
					h.Event(room.Event{
						Type:        room.ParticipantJoined,
						Participant: room.Participant{SID: "PA_x", Identity: "xenia"},
					})
					time.Sleep(10 * time.Second)
					return room.ReasonConnectionLost
				},
			},
			step{info: info("RM_1", ours), run: send(room.ReasonRoomDeleted)})
		w.run(t.Context())
		if got := w.outages(); len(got) != 1 || got[0].SinceUnixNS != heard.UnixNano() {
			t.Errorf("outages %+v, want one since %d", got, heard.UnixNano())
		}
	})
}

// Whoever wants to know hears of a room's new metadata.
func TestRoomUpdated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, step{
			info: info("RM_1", ours),
			run: func(h room.Handler, _ <-chan struct{}) room.Reason {
				h.Event(room.Event{Type: room.RoomUpdated, RoomSID: "RM_1", RoomMetadata: "new"})
				return room.ReasonRoomDeleted
			},
		})
		var told []session.Room
		o := w.options()
		o.RoomUpdated = func(r session.Room) { told = append(told, r) }
		if err := recorder.New(w.rec, o).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []session.Room{{SID: "RM_1", Metadata: "new"}}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// Channels that open long after the join have missed what was sent meanwhile, and the recording
// says so.
func TestSlowJoin(t *testing.T) {
	for opens, want := range map[time.Duration][]string{
		time.Second: {
			"recording_started", "joined RM_1",
			"recording_ended COMPLETE room_deleted",
		},
		7 * time.Second: {
			"recording_started", "joined RM_1", "outage_started slow_join",
			"outage_ended", "recording_ended COMPLETE room_deleted",
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil, step{
				info: info("RM_1", ours), opens: opens,
				run: after(time.Minute, room.ReasonRoomDeleted),
			})
			began := time.Now()
			w.run(t.Context())
			if d := cmp.Diff(want, w.story()); d != "" {
				t.Errorf("channels after %v (-want +got):\n%s", opens, d)
			}
			for _, o := range w.outages() {
				if o.SinceUnixNS != began.UnixNano() {
					t.Errorf("the outage begins %v after the join",
						time.Duration(o.SinceUnixNS-began.UnixNano()))
				}
			}
		})
	}
}

// Tokens expire in a long outage, while SyncFlow is away too: the earlier one is tried until there
// is a new one.
func TestTokenExpiresInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := step{err: &room.JoinError{Phase: "websocket", Status: 401}}
		w := newWorld(t, nil, slices.Concat(
			[]step{{info: info("RM_1", ours), run: send(room.ReasonConnectionLost, "a")}},
			repeat(5, refused),
			[]step{{info: info("RM_1", ours), run: send(room.ReasonRoomDeleted, "b")}})...)
		w.auth.state = func(int) (session.State, error) { return 0, errAway }
		w.auth.token = func(n int) error {
			if n > 1 && n < 7 {
				return errAway
			}
			return nil
		}
		sealed := w.run(t.Context())
		if sealed.Status != textegress.StatusComplete || sealed.Reason != "room_deleted" {
			t.Errorf("sealed %s (%s)", sealed.Status, sealed.Reason)
		}
		var tokens []string
		for _, j := range w.room.joins {
			tokens = append(tokens, j.token)
		}
		want := []string{
			"token-1", "token-1", "token-1", "token-1", "token-1", "token-1",
			"token-7",
		}
		if d := cmp.Diff(want, tokens); d != "" {
			t.Errorf("tokens (-want +got):\n%s", d)
		}
		if n := len(w.outages()); n != 1 {
			t.Errorf("%d outages, want one", n)
		}
	})
}

// A try that neither succeeds nor fails is given up by the client, and made again.
func TestJoinThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, slices.Concat(
			repeat(3, step{err: &room.JoinError{
				Phase: "data channels",
				Err:   context.DeadlineExceeded,
			}}),
			[]step{{info: info("RM_1", ours), run: send(room.ReasonRoomDeleted, "a")}})...)
		if sealed := w.run(t.Context()); sealed.Status != textegress.StatusComplete ||
			w.room.count() != 4 {
			t.Errorf("sealed %s after %d joins", sealed.Status, w.room.count())
		}
	})
}

// The client saves a connection behind a dead websocket only where the authority says that the room
// is there.
func TestRoomExists(t *testing.T) {
	for state, want := range map[session.State]bool{
		session.Running: true, session.Empty: false,
		session.Ended: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil, step{
				info: info("RM_1", ours),
				run:  send(room.ReasonRoomDeleted),
			})
			w.run(t.Context())
			w.auth.state = func(int) (session.State, error) { return state, nil }
			if got, err := w.room.joins[0].o.RoomExists(t.Context()); got != want || err != nil {
				t.Errorf("state %d: %v, %v", state, got, err)
			}
			w.auth.state = func(int) (session.State, error) { return 0, errAway }
			if got, err := w.room.joins[0].o.RoomExists(t.Context()); got ||
				!errors.Is(err, errAway) {
				t.Errorf("nobody knows: %v, %v", got, err)
			}
		})
	}
}

// outages returns the events that began one, in order.
func (w *world) outages() []segment.Event {
	w.t.Helper()
	return w.events(textegress.KindOutageStarted)
}

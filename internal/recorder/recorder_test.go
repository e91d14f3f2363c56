package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

var errAway = errors.New("the API is away")

// The table tells whole recordings: what LiveKit and SyncFlow do, and what the
// recording must say in the end.
func TestRecording(t *testing.T) {
	type want struct {
		status textegress.Status
		reason string
		joins  int
		story  []string
	}
	tests := []struct {
		name  string
		info  func(*spool.Info)
		steps []step
		token func(n int) error
		state func(n int) (session.State, error)
		// after is how long the recording must have taken at least, in fake time.
		after time.Duration
		want  want
	}{
		{
			name: "a class that ends by deletion of its room",
			steps: []step{{
				info: info("RM_1", ours, "alice"),
				run:  send(room.ReasonRoomDeleted, "a", "b"),
			}},
			want: want{textegress.StatusComplete, "room_deleted", 1, []string{
				"recording_started", "joined RM_1", "participant_joined alice", "packet a epoch 1",
				"packet b epoch 1",
				"recording_ended COMPLETE room_deleted",
			}},
		},
		{
			name:  "the session ended before we could join",
			token: func(int) error { return session.ErrEnded },
			want: want{
				textegress.StatusAborted, "session_ended", 0,
				[]string{"recording_started", "recording_ended ABORTED session_ended"},
			},
		},
		{
			name: "the connection is lost and found again",
			steps: []step{
				{info: info("RM_1", ours, "alice"), run: send(room.ReasonConnectionLost, "a")},
				{info: info("RM_1", "changed", "bob"), run: send(room.ReasonRoomClosed, "b")},
			},
			want: want{textegress.StatusComplete, "room_closed", 2, []string{
				"recording_started", "joined RM_1", "participant_joined alice", "packet a epoch 1",
				"outage_started connection_lost", "joined RM_1", "outage_ended",
				"participant_left alice", "participant_joined bob",
				"packet b epoch 2", "recording_ended COMPLETE room_closed",
			}},
		},
		{
			name: "the connection is lost because the session ended: nobody joins, which would " +
				"make the room again",
			steps: []step{{info: info("RM_1", ours), run: send(room.ReasonConnectionLost, "a")}},
			state: func(int) (session.State, error) { return session.Ended, nil },
			want: want{textegress.StatusComplete, "session_ended", 1, []string{
				"recording_started", "joined RM_1", "packet a epoch 1",
				"outage_started connection_lost",
				"recording_ended COMPLETE session_ended",
			}},
		},
		{
			name:  "the room does not come back: over after the rejoin window, not before",
			steps: []step{{info: info("RM_1", ours), run: send(room.ReasonConnectionLost, "a")}},
			state: func(int) (session.State, error) {
				return session.Empty,
					nil
			},
			after: 10 * time.Minute,
			want: want{textegress.StatusComplete, "room_missing", 1, []string{
				"recording_started", "joined RM_1", "packet a epoch 1",
				"outage_started connection_lost",
				"recording_ended COMPLETE room_missing",
			}},
		},
		{
			name: "LiveKit restarts in mid-class: the new room of that name is the continuation",
			steps: []step{
				{info: info("RM_1", ours, "alice"), run: send(room.ReasonConnectionLost, "a")},
				{info: info("RM_2", "", "alice"), run: send(room.ReasonRoomDeleted, "b")},
			},
			state: func(n int) (session.State, error) {
				if n < 5 {
					return session.Empty, nil
				}
				return session.Running, nil
			},
			want: want{textegress.StatusComplete, "room_deleted", 2, []string{
				"recording_started", "joined RM_1", "participant_joined alice", "packet a epoch 1",
				"outage_started connection_lost",
				"joined RM_2", "outage_ended", "packet b epoch 2",
				"recording_ended COMPLETE room_deleted",
			}},
		},
		{
			name: "our rejoin made the room of a session that has ended: left at once",
			steps: []step{
				{info: info("RM_1", ours), run: send(room.ReasonConnectionLost)},
				{info: info("RM_2", ""), run: untilLeft()},
			},
			state: func(n int) (session.State, error) {
				if n == 1 {
					return 0, errAway
				}
				return session.Ended, nil
			},
			want: want{textegress.StatusComplete, "session_ended", 2, []string{
				"recording_started", "joined RM_1", "outage_started connection_lost", "joined RM_2",
				"outage_ended",
				"recording_ended COMPLETE session_ended",
			}},
		},
		{
			name: "the room of that name belongs to another session",
			steps: []step{{
				info: info("RM_9", "|session_id:another|project_id:p|comments:|", "eve"),
				run:  untilLeft("secret"),
			}},
			want: want{
				textegress.StatusAborted, "room_replaced", 1,
				[]string{"recording_started", "recording_ended ABORTED room_replaced"},
			},
		},
		{
			name: "after an outage the room belongs to another session",
			steps: []step{
				{info: info("RM_1", ours), run: send(room.ReasonConnectionLost, "a")},
				{
					info: info("RM_9", "|session_id:another|project_id:p|comments:|", "eve"),
					run:  untilLeft("secret"),
				},
			},
			want: want{textegress.StatusComplete, "room_replaced", 2, []string{
				"recording_started", "joined RM_1", "packet a epoch 1",
				"outage_started connection_lost",
				"recording_ended COMPLETE room_replaced",
			}},
		},
		{
			name: "an empty room that names no session was made by our own join: left, and " +
				"asked again",
			steps: []step{{info: info("RM_1", ""), run: untilLeft()}},
			state: func(int) (session.State, error) { return session.Ended, nil },
			after: 30 * time.Second,
			want: want{
				textegress.StatusAborted, "session_ended", 1,
				[]string{"recording_started", "recording_ended ABORTED session_ended"},
			},
		},
		{
			name: "a room that names no session but has people in it is recorded",
			steps: []step{{
				info: info("RM_1", "", "alice"),
				run:  send(room.ReasonRoomClosed, "a"),
			}},
			want: want{textegress.StatusComplete, "room_closed", 1, []string{
				"recording_started", "joined RM_1", "participant_joined alice", "packet a epoch 1",
				"recording_ended COMPLETE room_closed",
			}},
		},
		{
			name: "somebody removes us: respected",
			steps: []step{{info: info("RM_1", ours), run: send(room.ReasonParticipantRemoved,
				"a")}},
			want: want{textegress.StatusAborted, "participant_removed", 1, []string{
				"recording_started", "joined RM_1", "packet a epoch 1",
				"recording_ended ABORTED participant_removed",
			}},
		},
		{
			name: "the API is away when the connection is lost: the earlier token serves",
			steps: []step{
				{info: info("RM_1", ours), run: send(room.ReasonConnectionLost, "a")},
				{info: info("RM_1", ours), run: send(room.ReasonRoomDeleted, "b")},
			},
			token: func(n int) error {
				if n > 1 {
					return errAway
				}
				return nil
			},
			state: func(int) (session.State, error) { return 0, errAway },
			want: want{textegress.StatusComplete, "room_deleted", 2, []string{
				"recording_started", "joined RM_1", "packet a epoch 1",
				"outage_started connection_lost", "joined RM_1", "outage_ended",
				"packet b epoch 2", "recording_ended COMPLETE room_deleted",
			}},
		},
		{
			name:  "neither LiveKit nor the API for an hour: sealed, to be continued as a new part",
			steps: []step{{info: info("RM_1", ours), run: send(room.ReasonServerShutdown, "a")}},
			token: func(n int) error {
				if n > 1 {
					return errAway
				}
				return nil
			},
			state: func(int) (session.State, error) { return 0, errAway },
			after: time.Hour,
			want: want{textegress.StatusComplete, "unreachable", -1, []string{
				"recording_started", "joined RM_1", "packet a epoch 1",
				"outage_started server_shutdown",
				"recording_ended COMPLETE unreachable",
			}},
		},
		{
			name: "the second part states the time since the first",
			info: func(i *spool.Info) {
				i.Part, i.Previous, i.PreviousEndedUnixNS = 2, "DE_first",
					12345
			},
			steps: []step{
				{info: info("RM_1", ours), run: send(room.ReasonRoomDeleted, "a")},
			},
			want: want{textegress.StatusComplete, "room_deleted", 1, []string{
				"recording_started", "outage_started service_stopped", "joined RM_1",
				"outage_ended", "packet a epoch 1",
				"recording_ended COMPLETE room_deleted",
			}},
		},
		{
			name: "the second part says why the first had ended",
			info: func(i *spool.Info) {
				i.Part, i.Previous, i.PreviousEndedUnixNS, i.PreviousReason = 2, "DE_first", 12345,
					"room_closed"
			},
			steps: []step{
				{info: info("RM_2", "", "alice"), run: send(room.ReasonRoomDeleted, "a")},
			},
			want: want{textegress.StatusComplete, "room_deleted", 1, []string{
				"recording_started", "outage_started room_closed", "joined RM_2", "outage_ended",
				"participant_joined alice", "packet a epoch 1",
				"recording_ended COMPLETE room_deleted",
			}},
		},
		{
			name: "the room is deleted while we join",
			steps: []step{
				{err: &room.DisconnectError{
					Disconnect: room.Disconnect{Reason: room.ReasonRoomDeleted},
				}},
			},
			want: want{
				textegress.StatusAborted, "room_deleted", 1,
				[]string{"recording_started", "recording_ended ABORTED room_deleted"},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, tt.info, tt.steps...)
				w.auth.token, w.auth.state = tt.token, tt.state
				began := time.Now()
				sealed := w.run(t.Context())
				if sealed.Status != tt.want.status || sealed.Reason != tt.want.reason {
					t.Errorf("sealed %s (%s), want %s (%s)", sealed.Status, sealed.Reason,
						tt.want.status, tt.want.reason)
				}
				if n := w.room.count(); tt.want.joins >= 0 && n != tt.want.joins {
					t.Errorf("%d joins, want %d", n, tt.want.joins)
				}
				if took := time.Since(began); took < tt.after {
					t.Errorf("over after %v, want at least %v", took, tt.after)
				}
				if d := cmp.Diff(tt.want.story, w.story()); d != "" {
					t.Errorf("the recording (-want +got):\n%s", d)
				}
			})
		})
	}
}

// A recording that was never in a room stays open where the platform says that the room has another
// name: it is to be corrected. One that was in its room is not ended by that.
func TestWrongRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.auth.token = func(int) error { return fmt.Errorf("fake: %w", session.ErrWrongRoom) }
		if err := recorder.New(w.rec, w.options()).Run(t.Context()); !errors.Is(err,
			session.ErrWrongRoom) {
			t.Errorf("%v, want session.ErrWrongRoom", err)
		}
		if w.rec.State() != spool.StateOpen || w.room.count() != 0 {
			t.Errorf("the recording is %s after %d joins", w.rec.State(), w.room.count())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil,
			step{info: info("RM_1", ours), run: send(room.ReasonConnectionLost, "a")},
			step{info: info("RM_1", ours), run: send(room.ReasonRoomDeleted, "b")})
		w.auth.token = func(n int) error {
			if n > 1 {
				return fmt.Errorf("fake: %w", session.ErrWrongRoom)
			}
			return nil
		}
		if sealed := w.run(t.Context()); sealed.Status != textegress.StatusComplete ||
			w.room.count() != 2 {
			t.Errorf("sealed %s (%s) after %d joins", sealed.Status, sealed.Reason, w.room.count())
		}
	})
}

// Of a session from which the recorder was removed, another open recording ends without a join.
func TestExcluded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, step{
			info: info("RM_1", ours),
			run:  send(room.ReasonRoomDeleted, "a"),
		})
		o := w.options()
		o.Excluded = true
		if err := recorder.New(w.rec, o).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s, ok := w.rec.Sealed(); !ok || s.Status != textegress.StatusAborted ||
			s.Reason != "participant_removed" || w.room.count() != 0 {
			t.Errorf("sealed %v: %s (%s) after %d joins", ok, s.Status, s.Reason, w.room.count())
		}
	})
}

func TestEveryAttemptHasItsOwnIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := step{info: info("RM_1", ours), run: send(room.ReasonDuplicateIdentity)}
		w := newWorld(t, nil, lost, lost, lost, lost, lost, lost)
		sealed := w.run(t.Context())
		if sealed.Status != textegress.StatusFailed || sealed.Reason != "duplicate_identity" {
			t.Errorf("sealed %s (%s), want FAILED (duplicate_identity)", sealed.Status,
				sealed.Reason)
		}
		if n := w.room.count(); n != 5 {
			t.Errorf("%d joins, want 5", n)
		}
		seen := map[string]bool{}
		for _, id := range w.auth.identities {
			if seen[id] {
				t.Errorf("identity %q used twice", id)
			}
			seen[id] = true
		}
	})
}

func TestStopSealsForAFurtherPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, step{info: info("RM_1", ours), run: untilLeft("a")})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(time.Minute, cancel)
		sealed := w.run(ctx)
		if sealed.Status != textegress.StatusComplete || !recorder.Resumable(sealed.Reason) {
			t.Errorf("sealed %s (%s), want COMPLETE for a resumable reason", sealed.Status,
				sealed.Reason)
		}
		want := []string{
			"recording_started", "joined RM_1", "packet a epoch 1",
			"recording_ended COMPLETE service_stopped",
		}
		if d := cmp.Diff(want, w.story()); d != "" {
			t.Errorf("the recording (-want +got):\n%s", d)
		}
	})
}

// A stop while the API is asked must not be mistaken for the end of the session:
// the recording stays open, and the next start continues it.
func TestStopBeforeTheFirstJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.auth.token = func(int) error { return errAway }
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		if err := recorder.New(w.rec, w.options()).Run(ctx); err != nil {
			t.Fatal(err)
		}
		if s := w.rec.State(); s != spool.StateOpen {
			t.Fatalf("the recording is %s, want open", s)
		}
		w.auth.token = func(int) error { return session.ErrEnded }
		if sealed := w.run(t.Context()); sealed.Status != textegress.StatusAborted {
			t.Errorf("then sealed %s (%s), want ABORTED", sealed.Status, sealed.Reason)
		}
	})
}

// A process that died left the recording open: the next one continues it, with
// the outage stated, the epoch counted on, and nobody announced twice.
func TestContinueAfterCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil,
			step{info: info("RM_1", ours, "alice", "bob"), run: send(room.ReasonRoomDeleted, "b")})
		wr, err := w.rec.Writer()
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UnixNano()
		for _, ev := range []segment.Event{
			{Kind: textegress.KindRecordingStarted},
			{Kind: textegress.KindJoined, RoomSID: "RM_1"},
			{Kind: textegress.KindParticipantJoined, ParticipantSID: "PA_alice", Identity: "alice"},
		} {
			b, err := segment.EncodeEvent(ev)
			if err != nil {
				t.Fatal(err)
			}
			if err := wr.Append(segment.Frame{
				Type: segment.FrameEvent, Epoch: 1, UnixNS: now,
				Payload: b,
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := wr.Append(segment.Frame{
			Type: segment.FramePacket, Channel: segment.ChannelReliable,
			Epoch: 1, UnixNS: now, Payload: []byte("a"),
		}); err != nil {
			t.Fatal(err)
		}
		if err := wr.Close(); err != nil { // no seal: the process is gone
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // fake time: the machine was off
		w.run(t.Context())
		want := []string{
			"recording_started", "joined ", "participant_joined alice", "packet a epoch 1",
			"outage_started process_died", "joined RM_1", "outage_ended", "participant_joined bob",
			"packet b epoch 2",
			"recording_ended COMPLETE room_deleted",
		}
		want[1] = "joined RM_1"
		if d := cmp.Diff(want, w.story()); d != "" {
			t.Errorf("the recording (-want +got):\n%s", d)
		}
		for _, o := range w.outages() {
			if o.SinceUnixNS != now {
				t.Errorf("the outage began at %d, want the time of the last frame, %d",
					o.SinceUnixNS, now)
			}
		}
		if w.auth.asked == 0 {
			t.Error("the room was joined without asking whether it still exists; joining would " +
				"have made it")
		}
	})
}

// A clock that was set back while no process ran is stated, because the record shows it; one that
// was set forward cannot be.
func TestContinueAfterTheClockWasSetBack(t *testing.T) {
	for name, tt := range map[string]struct {
		last time.Duration // of the last frame, after the present
		want []string
	}{
		"back": {time.Hour, []string{
			"recording_started", "clock_step", "joined RM_1",
			"participant_joined alice", "recording_ended COMPLETE room_deleted",
		}},
		"forward": {-time.Hour, []string{
			"recording_started", "joined RM_1",
			"participant_joined alice", "recording_ended COMPLETE room_deleted",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil, step{
					info: info("RM_1", ours, "alice"),
					run:  send(room.ReasonRoomDeleted),
				})
				wr, err := w.rec.Writer()
				if err != nil {
					t.Fatal(err)
				}
				last := time.Now().Add(tt.last).UnixNano()
				if err := wr.Append(eventFrame(t, last,
					segment.Event{Kind: textegress.KindRecordingStarted})); err != nil {
					t.Fatal(err)
				}
				if err := wr.Close(); err != nil {
					t.Fatal(err)
				}
				w.run(t.Context())
				if d := cmp.Diff(tt.want, w.story()); d != "" {
					t.Errorf("the recording (-want +got):\n%s", d)
				}
				for f, err := range w.rec.Frames() {
					if err != nil {
						t.Fatal(err)
					}
					ev, err := segment.DecodeEvent(f.Payload)
					if err != nil || ev.Kind != textegress.KindClockStep {
						continue
					}
					want := segment.Event{
						Kind: ev.Kind, OffsetNS: f.UnixNS - last,
						BeforeUnixNS: last, AfterUnixNS: f.UnixNS, AtLeast: true,
					}
					if d := cmp.Diff(want, ev); d != "" || ev.OffsetNS >= 0 {
						t.Errorf("%d: %s", ev.OffsetNS, d)
					}
				}
			})
		})
	}
}

// How long a room may be missing is not measured by a clock that was set back after the recording
// was created.
func TestRoomMissingAfterTheClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := newWorld(t, func(i *spool.Info) {
			i.CreatedUnixNS = began.Add(24 * time.Hour).UnixNano()
		})
		w.stale = true
		w.auth.state = func(int) (session.State,
			error,
		) {
			return session.Empty, nil
		}
		w.run(t.Context())
		if d := time.Since(began); d > time.Hour {
			t.Errorf("the recording ended after %s", d)
		}
	})
}

// The time between two parts is an outage also where the second one begins, by our clock, before
// the first one ended.
func TestNextPartAfterTheClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(i *spool.Info) {
			i.Part, i.Previous, i.PreviousEndedUnixNS = 2, "DE_before",
				time.Now().Add(time.Hour).UnixNano()
		}, step{info: info("RM_1", ours, "alice"), run: send(room.ReasonRoomDeleted)})
		w.run(t.Context())
		want := []string{
			"recording_started", "outage_started service_stopped", "clock_step", "joined RM_1",
			"outage_ended", "participant_joined alice",
			"recording_ended COMPLETE room_deleted",
		}
		if d := cmp.Diff(want, w.story()); d != "" {
			t.Errorf("the recording (-want +got):\n%s", d)
		}
	})
}

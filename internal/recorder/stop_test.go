package recorder_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// TestStop: Stop seals the recording at once, in every state of the recorder, with the reason of
// the stop.
func TestStop(t *testing.T) {
	never := func(int) time.Duration { return time.Hour }
	for name, c := range map[string]struct {
		steps []step
		set   func(*world)
		after time.Duration
		want  []string
	}{
		"in the room": {
			steps: []step{{info: info("RM_1", ours, "alice"), run: untilLeft("a")}},
			after: time.Minute,
			want: []string{
				"recording_started", "joined RM_1", "participant_joined alice",
				"packet a epoch 1", "recording_ended COMPLETE stopped",
			},
		},
		"before the first join": {
			set:   func(w *world) { w.auth.tokenTakes = never },
			after: time.Second,
			want:  []string{"recording_started", "recording_ended ABORTED stopped"},
		},
		"between two tries to join": {
			steps: []step{{err: errors.New("fake: away")}, {err: errors.New("fake: away")}},
			after: 5 * time.Second,
			want:  []string{"recording_started", "recording_ended ABORTED stopped"},
		},
		"while its room is missing": {
			steps: []step{{info: info("RM_1", ours), run: send(room.ReasonConnectionLost, "a")}},
			set: func(w *world) {
				w.auth.state = func(int) (session.State, error) { return session.Empty, nil }
			},
			after: time.Minute,
			want: []string{
				"recording_started", "joined RM_1", "packet a epoch 1",
				"outage_started connection_lost", "recording_ended COMPLETE stopped",
			},
		},
		"while the authority is silent": {
			steps: []step{{info: info("RM_1", ours), run: send(room.ReasonConnectionLost, "a")}},
			set: func(w *world) {
				w.auth.stateTakes, w.auth.tokenTakes = never, afterwards(time.Hour)
			},
			after: time.Minute,
			want: []string{
				"recording_started", "joined RM_1", "packet a epoch 1",
				"outage_started connection_lost", "recording_ended COMPLETE stopped",
			},
		},
		"before it began": {
			want: []string{"recording_started", "recording_ended ABORTED stopped"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil, c.steps...)
				if c.set != nil {
					c.set(w)
				}
				r := recorder.New(w.rec, w.options())
				done := make(chan error, 1)
				if c.after == 0 {
					r.Stop(recorder.ReasonStopped)
				}
				go func() { done <- r.Run(t.Context()) }()
				time.Sleep(c.after)
				synctest.Wait()
				at := time.Now()
				r.Stop(recorder.ReasonStopped)
				r.Stop("another reason")
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if took := time.Since(at); took != 0 {
					t.Errorf("sealed after %v", took)
				}
				if d := cmp.Diff(c.want, w.story()); d != "" {
					t.Error(d)
				}
				if s := r.Snapshot(); s.Reason != recorder.ReasonStopped || s.Connected {
					t.Errorf("snapshot: %+v", s)
				}
			})
		})
	}
}

// TestStop_NothingFollows: packets between Stop and the end of the connection are not recorded, and
// neither is a join that LiveKit accepts then.
func TestStop_NothingFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leaves := make(chan struct{})
		w := newWorld(t, nil, step{
			info: info("RM_1", ours),
			run: func(h room.Handler, left <-chan struct{}) room.Reason {
				h.Packet(room.Reliable, time.Now(), []byte("before"))
				<-left
				h.Packet(room.Reliable, time.Now(), []byte("after"))
				h.Event(room.Event{
					Type:        room.ParticipantJoined,
					Participant: room.Participant{SID: "PA_late", Identity: "late"},
				})
				close(leaves)
				return room.ReasonLeft
			},
		})
		r := recorder.New(w.rec, w.options())
		done := make(chan error, 1)
		go func() { done <- r.Run(t.Context()) }()
		synctest.Wait()
		r.Stop(recorder.ReasonOptedOut)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		<-leaves
		if err := w.room.joins[0].o.Handler.Joined(info("RM_1", ours)); err == nil {
			t.Error("a join after Stop was accepted")
		}
		want := []string{
			"recording_started", "joined RM_1", "packet before epoch 1",
			"recording_ended COMPLETE opted_out",
		}
		if d := cmp.Diff(want, w.story()); d != "" {
			t.Error(d)
		}
	})
}

// TestStop_Restart: a decision that is on disk seals the recording at the next start, without a
// join or a request to the authority; it precedes the stop of the service.
func TestStop_Restart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, step{info: info("RM_1", ours), run: untilLeft("a")})
		ctx, cancel := context.WithCancel(t.Context())
		r := recorder.New(w.rec, w.options())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		if err := w.rec.RequestStop(spool.Stop{Reason: "stopped"}); err != nil {
			t.Fatal(err)
		}
		r.Stop("stopped")
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if s, _ := w.rec.Sealed(); s.Reason != "stopped" {
			t.Errorf("sealed: %+v", s)
		}

		w = newWorld(t, nil)
		if err := w.rec.RequestStop(spool.Stop{Reason: "opted_out"}); err != nil {
			t.Fatal(err)
		}
		sealed := w.run(t.Context())
		if sealed.Status != "ABORTED" || sealed.Reason != "opted_out" {
			t.Errorf("sealed: %+v", sealed)
		}
		if n := w.room.count() + len(w.auth.identities) + w.auth.asked; n != 0 {
			t.Errorf("%d joins and requests", n)
		}
	})
}

package controller_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/room"
)

// A recorder that an administrator removed stays out of the session: whatever announces it,
// whatever is recorded otherwise, also after a restart. As long as the session runs that is shown.
// An operator's word is stronger.
func TestRemoved(t *testing.T) {
	for name, set := range settings {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				set(w)
				w.begun()
				w.room.end(t, "s1", room.ReasonParticipantRemoved)
				w.unrecorded("s1")
				out := "s1 part 1 sealed ABORTED participant_removed"
				w.want(out)
				stays := func(after time.Duration) {
					t.Helper()
					time.Sleep(after)
					w.src.announce(t, "s1")
					time.Sleep(20 * time.Second)
					w.want(out)
					w.unrecorded("s1")
				}
				stays(0)
				stays(2 * time.Hour)
				w.stop()
				w.start()
				defer func() { w.stop() }()
				stays(0)
				stays(30 * time.Minute)

				// In a break there is nothing to be recorded.
				w.registry.everybodyLeaves("s1")
				time.Sleep(6 * time.Minute)
				w.unrecorded()
				w.registry.comeBack("s1")
				time.Sleep(6 * time.Minute)
				w.unrecorded("s1")

				if _, err := w.ctl.Record(t.Context(), "s1"); err != nil {
					t.Fatal(err)
				}
				w.want(out, "s1 part 2 open")
				w.follows("participant_removed")
				w.unrecorded()

				// Once more, and the session ends without us.
				w.room.end(t, "s1", room.ReasonParticipantRemoved)
				time.Sleep(time.Minute)
				w.unrecorded("s1")
				w.registry.set("s1", "Stopped")
				time.Sleep(6 * time.Minute)
				w.unrecorded()
				w.want(out, "s1 part 2 sealed ABORTED participant_removed")
			})
		})
	}
}

// unrecorded checks which sessions are shown as running without us.
func (w *world) unrecorded(ids ...string) {
	w.t.Helper()
	synctest.Wait()
	var got []string
	for _, u := range w.ctl.Snapshot().Unrecorded {
		if u.Reason != "participant_removed" || u.RoomName != "room-"+u.SessionID ||
			u.Since.IsZero() {
			w.t.Errorf("shown as %+v", u)
		}
		got = append(got, u.SessionID)
	}
	if fmt.Sprint(got) != fmt.Sprint(ids) {
		w.t.Errorf("shown as unrecorded: %v, want %v", got, ids)
	}
	if n := len(w.ctl.Snapshot().Unrequested); n != 0 {
		w.t.Errorf("%d sessions are pointed out as unrequested", n)
	}
}

// A removal is in the log as a warning that names the way back.
func TestRemovedIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var log bytes.Buffer
		w.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		w.begun()
		w.room.end(t, "s1", room.ReasonParticipantRemoved)
		synctest.Wait()
		w.stop()
		if s := log.String(); !strings.Contains(s, "removed") ||
			!strings.Contains(s, "textegress record") || !strings.Contains(s, "session_id=s1") {
			t.Errorf("logged:\n%s", s)
		}
	})
}

package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/room"
)

// oldLiveKit answers as LiveKit before 1.11: /rtc and /rtc/validate are there, /rtc/v1 is not.
func oldLiveKit() http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{"/rtc", "/rtc/validate"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				http.Error(w, "no permissions to access the room", http.StatusUnauthorized)
				return
			}
			_, _ = w.Write([]byte("success")) // the client notices
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("OK"))
	})
	return mux
}

// TestNotReadyWithAServerThatIsTooOld: a session that was announced and cannot be joined makes the
// service not ready, with the session, its room and the remedy; the status of the recording says
// the same. With the end of the session the reason goes.
func TestNotReadyWithAServerThatIsTooOld(t *testing.T) {
	t.Parallel() // it waits for recorder.Patience
	w := newWorld(t)
	w.realRoom = true
	w.syncflow.livekit = serve(t, oldLiveKit())
	w.env(w.directory(0, projectA, "out"))
	w.start()
	w.eventually("the project is ready", func() bool { return w.app.Status().Ready })
	id := w.announce(projectA, 1)
	w.eventually("the service is not ready", func() bool { return len(w.app.NotReady()) == 1 })
	reason := w.app.NotReady()[0]
	for _, part := range []string{
		id, "room-" + id, "has not been joined", "/rtc/v1",
		"LiveKit 1.11 or later",
	} {
		if !strings.Contains(reason, part) {
			t.Errorf("%q does not say %q", reason, part)
		}
	}
	if r := w.recording(1); r.Status != "STARTING" ||
		!strings.Contains(r.Reason, "LiveKit 1.11 or later") {
		t.Errorf("%s: %q", r.Status, r.Reason)
	}
	w.eventually("an error is in the log", func() bool {
		return strings.Contains(w.logged(), "level=ERROR msg=\"the session is not being recorded")
	})
	w.syncflow.set(id, "Stopped")
	w.eventually("the reason goes with the session", func() bool { return w.app.Status().Ready })
}

// TestNotReadyWhereAnAdministratorRemovedUs: a session that runs on without us for that reason is
// in the status and in the reasons, with what to do about it, until it is over.
func TestNotReadyWhereAnAdministratorRemovedUs(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"))
	w.start()
	w.record(projectA, 1).Stop(room.ReasonParticipantRemoved)
	id := sessionID(1)
	w.eventually("the service is not ready", func() bool { return len(w.app.NotReady()) == 1 })
	for _, part := range []string{
		"project 0", id, "room-" + id,
		"an administrator removed the recorder", "textegress record " + id,
	} {
		if reason := w.app.NotReady()[0]; !strings.Contains(reason, part) {
			t.Errorf("%q does not say %q", reason, part)
		}
	}
	if u := w.project(projectA).UnrecordedSessions; len(u) != 1 || u[0].SessionID != id ||
		u[0].Reason != "participant_removed" || u[0].Since.IsZero() {
		t.Errorf("unrecorded: %+v", u)
	}
	if _, err := w.app.Record(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	w.eventually("the recorder is in the room again",
		func() bool { return w.recording(1).Connected })
	if r := w.recording(1); r.Part != 2 {
		t.Errorf("part %d, want 2", r.Part)
	}
	if u := w.project(projectA).UnrecordedSessions; len(u) != 0 || !w.app.Status().Ready {
		t.Errorf("unrecorded: %+v, not ready: %q", u, w.app.NotReady())
	}
}

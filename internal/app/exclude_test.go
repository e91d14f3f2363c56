package app_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/pseudonym"
	"github.com/syncflow/textegress/internal/web"
)

// control returns a client of the service's control socket.
func (w *world) control() *web.ControlClient {
	return web.Dial(filepath.Join(w.dir, "textegress-data"))
}

func (w *world) exclude(q web.ExcludeRequest) web.ExcludeAnswer {
	w.t.Helper()
	a, err := w.control().Exclude(w.t.Context(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// Whoever is excluded is not recorded any more, in this session, after a restart and in a later
// session of the project, until that is undone. The log does not name them.
func TestExclude(t *testing.T) {
	w := newWorld(t)
	out := filepath.Join(w.dir, "out")
	w.env(w.directory(0, projectA, "out"))
	w.start()
	c := w.record(projectA, 1)
	w.send(c, "before")
	if a := w.exclude(web.ExcludeRequest{Identity: "alice"}); a.Projects != 1 || a.Present != 1 {
		t.Errorf("%+v", a)
	}
	w.send(c, "excluded")
	if a := w.exclude(web.ExcludeRequest{Identity: "alice"}); a.Present != 0 {
		t.Errorf("again: %+v", a)
	}
	w.end(c, 1)
	if got := w.delivered(1, out); got != "before" {
		t.Errorf("delivered %q", got)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}

	w.start()
	w.class(projectA, 2)
	if got := w.delivered(2, out); got != "" {
		t.Errorf("delivered after the restart: %q", got)
	}
	c = w.record(projectA, 3)
	w.send(c, "excluded")
	w.exclude(web.ExcludeRequest{Identity: "alice", Undo: true})
	w.send(c, "after")
	w.end(c, 3)
	if got := w.delivered(3, out); got != "after" {
		t.Errorf("delivered %q", got)
	}
	if _, err := w.control().Exclude(t.Context(), web.ExcludeRequest{
		Identity: "alice", Undo: true,
	}); err == nil || !strings.Contains(err.Error(), "nobody with this identity is excluded") {
		t.Errorf("undone twice: %v", err)
	}
	if log := w.logged(); strings.Contains(log, "alice") {
		t.Errorf("the log names the participant:\n%s", log)
	}
}

// An exclusion from one session does not concern another one; an unknown session is an error, and
// an egress id names a session.
func TestExclude_Session(t *testing.T) {
	w := newWorld(t)
	out := filepath.Join(w.dir, "out")
	w.env(w.directory(0, projectA, "out"), w.directory(1, projectB, "out"))
	w.start()
	c1, c2 := w.record(projectA, 1), w.record(projectB, 2)
	if _, err := w.control().Exclude(t.Context(), web.ExcludeRequest{
		Identity: "alice", SessionID: "other",
	}); err == nil || !strings.Contains(err.Error(), "session other: no such session") {
		t.Errorf("unknown session: %v", err)
	}
	w.exclude(web.ExcludeRequest{Identity: "alice", SessionID: w.recording(1).EgressID})
	w.send(c1, "excluded")
	w.send(c2, "kept")
	w.end(c1, 1)
	w.end(c2, 2)
	if a, b := w.delivered(1, out), w.delivered(2, out); a != "" || b != "kept" {
		t.Errorf("delivered %q and %q", a, b)
	}
}

// Under pseudonyms the pseudonym will do, of somebody who is in the room.
func TestExclude_Pseudonym(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"), "PROJECTS__0__PSEUDONYMS=true")
	w.start()
	c := w.record(projectA, 1)
	w.send(c, "before")
	names, err := pseudonym.OpenReadOnly(filepath.Join(w.dir, "textegress-data")).Names(projectA,
		"")
	if err != nil {
		t.Fatal(err)
	}
	q := web.ExcludeRequest{Identity: names.Of("alice")}
	if a := w.exclude(q); a.Present != 1 {
		t.Errorf("%+v", a)
	}
	w.send(c, "excluded")
	q.Undo = true
	w.exclude(q)
	w.send(c, "after")
	w.end(c, 1)
	if got := w.delivered(1, filepath.Join(w.dir, "out")); got != "before, after" {
		t.Errorf("delivered %q", got)
	}
}

// A session that began under pseudonyms continues under them, whatever the setting says since.
func TestExclude_PseudonymAfterTheSetting(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"), "PROJECTS__0__PSEUDONYMS=true")
	w.start()
	w.send(w.record(projectA, 1), "before")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w.env(w.directory(0, projectA, "out"))
	w.start()
	w.eventually("the session is recorded again", func() bool {
		r := w.recording(1)
		return r.Part == 2 && r.Connected
	})
	c := w.room.conn(sessionID(1))
	w.send(c, "before")
	names, err := pseudonym.OpenReadOnly(filepath.Join(w.dir, "textegress-data")).Names(projectA,
		"")
	if err != nil {
		t.Fatal(err)
	}
	if a := w.exclude(web.ExcludeRequest{Identity: names.Of("alice")}); a.Present != 1 {
		t.Errorf("%+v", a)
	}
	w.send(c, "excluded")
	w.end(c, 1)
	if got := w.delivered(1, filepath.Join(w.dir, "out")); got != "before" {
		t.Errorf("delivered %q", got)
	}
}

// The page and the API exclude somebody whom they show, and nobody else: a wrong name is an error
// there, because nobody would be excluded.
func TestExclude_ByThePage(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"), "PROJECTS__0__PSEUDONYMS=true")
	w.start()
	c := w.record(projectA, 1)
	w.send(c, "before")
	service := w.app.OverviewService()
	id := w.recording(1).EgressID
	if err := service.Exclude(t.Context(), "P-AAAAAAAAAA", id, projectA); !errors.Is(err,
		overview.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	shown := service.Overview().Sessions[0].People
	if len(shown) != 1 {
		t.Fatalf("people: %+v", shown)
	}
	if err := service.Exclude(t.Context(), shown[0].Identity, id, projectA); err != nil {
		t.Error(err)
	}
	w.send(c, "excluded")
	w.app.ForgetOverview()
	if shown := service.Overview().Sessions[0].People; len(shown) != 0 {
		t.Errorf("shown after that: %+v", shown)
	}
	w.end(c, 1)
	if got := w.delivered(1, filepath.Join(w.dir, "out")); got != "before" {
		t.Errorf("delivered %q", got)
	}
}

// While it is not known who is excluded, nothing is recorded, and the service says so.
func TestExclude_DamagedFile(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"))
	data := filepath.Join(w.dir, "textegress-data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(data, "exclusions.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	if s := w.app.Status(); s.Ready || !strings.Contains(s.NotReady[0], file) {
		t.Errorf("%+v", s.NotReady)
	}
}

// A recording is stopped by its id or that of its session, and not begun again.
func TestStopRecording(t *testing.T) {
	w := newWorld(t)
	out := filepath.Join(w.dir, "out")
	w.env(w.directory(0, projectA, "out"))
	w.start()
	for n, id := range map[int]func() string{
		1: func() string { return w.recording(1).EgressID },
		2: func() string { return sessionID(2) },
	} {
		c := w.record(projectA, n)
		w.send(c, "said")
		got, err := w.control().Stop(t.Context(), id())
		if err != nil || got != w.recording(n).EgressID {
			t.Errorf("Stop = %q, %v", got, err)
		}
		if got := w.delivered(n, out); got != "said" {
			t.Errorf("delivered %q", got)
		}
		w.announce(projectA, n)
		if r := w.recording(n); r.Part != 1 || r.Reason != "stopped" {
			t.Errorf("announced again: %+v", r)
		}
	}
	if _, err := w.control().Stop(t.Context(), "other"); err == nil ||
		!strings.Contains(err.Error(), "textegress list") {
		t.Errorf("unknown: %v", err)
	}
}

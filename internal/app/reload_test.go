package app_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReloadCorrectsSecret: a project whose key or secret was wrong works after a reload, and one
// whose secret is replaced at SyncFlow continues; no recording is disturbed, nothing needs a
// restart.
func TestReloadCorrectsSecret(t *testing.T) {
	w := newWorld(t)
	settings := func(secret string) string {
		return strings.Join([]string{
			w.directory(0, projectA, "out"), "PROJECTS__1__KEY=key", "PROJECTS__1__SECRET=" +
				secret,
			"PROJECTS__1__PROJECT_ID=" + projectB, "PROJECTS__1__DIRECTORY=" + filepath.Join(w.dir,
				"out"),
		}, "\n")
	}
	w.env(settings("wrong"))
	w.syncflow.setSecret("secret")
	w.start()
	running := w.record(projectA, 1)
	w.send(running, "before")
	w.eventually("project 1 says what is wrong", func() bool {
		p := w.project(projectB)
		return p.State == "retrying" && strings.Contains(p.Error, "401")
	})

	w.env(settings("secret"))
	if err := w.app.Reload(); err != nil {
		t.Fatal(err)
	}
	r := w.app.Status().LastReload
	if diff := cmp.Diff([]string{"PROJECTS__1__SECRET"}, r.Applied); diff != "" ||
		len(r.NeedsRestart) != 0 {
		t.Errorf("needs a restart: %q, applied (-want +got):\n%s", r.NeedsRestart, diff)
	}
	w.eventually("project 1 works", func() bool { return w.project(projectB).State == "running" })
	w.class(projectB, 2)
	if got := w.delivered(2, filepath.Join(w.dir, "out")); got != "said in 2" {
		t.Errorf("delivered %q", got)
	}
	if c := w.room.conn(sessionID(1)); c != running {
		t.Error("the reload disturbed a recording")
	}

	// The secret of both is replaced at SyncFlow.
	w.syncflow.setSecret("new")
	w.env(strings.ReplaceAll(settings("new"), "SECRET=secret", "SECRET=new"))
	if err := w.app.Reload(); err != nil {
		t.Fatal(err)
	}
	if r := w.app.Status().LastReload; len(r.Applied) != 2 || len(r.NeedsRestart) != 0 {
		t.Errorf("%+v", r)
	}
	w.class(projectA, 3)
	if got := w.delivered(3, filepath.Join(w.dir, "out")); got != "said in 3" {
		t.Errorf("delivered %q", got)
	}
	w.send(running, "after")
	w.end(running, 1)
	if got := w.delivered(1, filepath.Join(w.dir, "out")); got != "before, after" {
		t.Errorf("delivered %q", got)
	}
	if log := w.logged(); strings.Contains(log, "eyJ") || strings.Contains(log, "secret=") {
		t.Errorf("the log says too much:\n%s", log)
	}
}

// TestReloadCorrectsLiveKitKey: a session for which SyncFlow makes no token, and which a wrong key
// of LiveKit does not admit to, is joined once the key is corrected; likewise where there was no
// key.
func TestReloadCorrectsLiveKitKey(t *testing.T) {
	for name, before := range map[string]string{
		"a wrong key": "PROJECTS__0__LIVEKIT__API_KEY=APIwrong\nPROJECTS__0__LIVEKIT__API_SECRET=s",
		"no key":      "",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.syncflow.stall()
			w.env(w.directory(0, projectA, "out"), before)
			w.start()
			id := w.announce(projectA, 1)
			w.eventually("a try to join has failed",
				func() bool { return strings.Contains(w.logged(), "cannot join") })
			w.env(w.directory(0, projectA, "out"),
				"PROJECTS__0__LIVEKIT__API_KEY=APIgood\nPROJECTS__0__LIVEKIT__API_SECRET=s")
			if err := w.app.Reload(); err != nil {
				t.Fatal(err)
			}
			r := w.app.Status().LastReload
			if !slices.Contains(r.Applied, "PROJECTS__0__LIVEKIT__API_KEY") ||
				len(r.NeedsRestart) != 0 {
				t.Errorf("%+v", r)
			}
			w.eventually("the session is recorded", func() bool { return w.room.conn(id) != nil })
			w.send(w.room.conn(id), "said")
			w.end(w.room.conn(id), 1)
			if got := w.delivered(1, filepath.Join(w.dir, "out")); got != "said" {
				t.Errorf("delivered %q", got)
			}
		})
	}
}

// TestReloadLists: new lists apply to the next packet of a running recording, which states them,
// and end with another reload.
func TestReloadLists(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"))
	w.start()
	running := w.record(projectA, 1)
	w.send(running, "before")
	w.env(w.directory(0, projectA, "out"), "PROJECTS__0__IDENTITIES_DENY=alice")
	if err := w.app.Reload(); err != nil {
		t.Fatal(err)
	}
	r := w.app.Status().LastReload
	if diff := cmp.Diff([]string{"PROJECTS__0__IDENTITIES_DENY"}, r.Applied); diff != "" ||
		len(r.NeedsRestart) != 0 {
		t.Errorf("needs a restart: %q, applied (-want +got):\n%s", r.NeedsRestart, diff)
	}
	w.send(running, "meanwhile")
	next := w.record(projectA, 2)
	w.send(next, "meanwhile")

	w.env(w.directory(0, projectA, "out"))
	if err := w.app.Reload(); err != nil {
		t.Fatal(err)
	}
	w.send(running, "after")
	w.end(running, 1)
	if got := w.delivered(1, filepath.Join(w.dir, "out")); got != "before, after" {
		t.Errorf("delivered %q", got)
	}
	// A recording keeps the lists of its start.
	w.send(next, "after")
	w.end(next, 2)
	if got := w.delivered(2, filepath.Join(w.dir, "out")); got != "" {
		t.Errorf("delivered of a recording that began under the list: %q", got)
	}
}

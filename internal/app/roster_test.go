package app_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/room"
)

func (w *world) metric(name string) string {
	w.t.Helper()
	resp, err := http.Get("http://" + w.app.Addr() + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, name+"{"); ok {
			return rest
		}
	}
	return ""
}

// Who is expected and has not come is counted, without names; a reload reads the file again, a
// broken file leaves the last one in force, and nothing of it makes the service unready.
func TestRoster(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.dir, "class.csv")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("identity,name,room\nann,Ann,\nbob,Bob,room-*\neve,Eve,elsewhere\nzoe,Zoe,\n")
	settings := []string{
		w.directory(0, projectA, "out"), "ROSTER_GRACE=0s",
		"PROJECTS__0__ROSTER_FILE=class.csv", "PROJECTS__0__IDENTITIES_DENY=zoe",
	}
	w.env(settings...)
	w.start()
	c := w.record(projectA, 1)
	counts := func(want string) {
		t.Helper()
		w.eventually(want, func() bool {
			r := w.project(projectA).Roster
			return r != nil && fmt.Sprintf("%d of %d", r.Absent, r.Entries) == want
		})
	}
	counts("2 of 4") // zoe is not recorded, eve is expected in another room
	c.Handler.Event(room.Event{
		Type: room.ParticipantJoined, Participant: room.Participant{SID: "PA_1", Identity: "ann"},
	})
	counts("1 of 4")
	want := fmt.Sprintf("project=%q} 1", projectA)
	if got := w.metric("livekit_data_egress_expected_absent"); got != want {
		t.Errorf("metric %q, want %q", got, want)
	}

	write("identity\nann\nbob\ncleo\ndan\n")
	if err := w.app.Reload(); err != nil {
		t.Fatal(err)
	}
	counts("3 of 4")

	write("identity\nann\n\"secret")
	if err := w.app.Reload(); err != nil {
		t.Fatal(err)
	}
	counts("3 of 4")
	if e := w.project(projectA).Roster.Error; !strings.Contains(e, "class.csv: line 3") {
		t.Errorf("error: %q", e)
	}
	w.eventually("the service is ready", func() bool { return w.app.Status().Ready })
	if log := w.logged(); strings.Contains(log, "secret\"") || strings.Contains(log, "cleo") ||
		!strings.Contains(log, "PROJECTS__0__ROSTER_FILE") {
		t.Errorf("the log:\n%s", log)
	}

	// Another file, and a longer grace period.
	write("identity\nann\nbob\n")
	if err := os.Rename(path, filepath.Join(w.dir, "other.csv")); err != nil {
		t.Fatal(err)
	}
	settings[1], settings[2] = "ROSTER_GRACE=1h", "PROJECTS__0__ROSTER_FILE=other.csv"
	w.env(append(settings, "PROJECTS__0__LIVE_TEXT=true")...)
	if err := w.app.Reload(); err != nil {
		t.Fatal(err)
	}
	counts("0 of 2")
	r := w.app.Status().LastReload
	for _, name := range []string{
		"ROSTER_GRACE", "PROJECTS__0__ROSTER_FILE", "PROJECTS__0__LIVE_TEXT",
	} {
		if !slices.Contains(r.Applied, name) {
			t.Errorf("%s is not applied: %+v", name, r)
		}
	}
	if len(r.NeedsRestart) > 0 {
		t.Errorf("needs a restart: %v", r.NeedsRestart)
	}
}

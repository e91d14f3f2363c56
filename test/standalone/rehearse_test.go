package standalone

import (
	"bufio"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rehearse runs `textegress rehearse` and returns the results of its steps, as "room ok".
func (w *world) rehearse() (steps []string, details map[string]string, stderr string, code int) {
	w.t.Helper()
	out, stderr, code, err := w.r.CLI(testContext(w.t), "rehearse", "--json")
	check(w.t, err)
	details = map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		var s struct{ Name, Result, Detail string }
		check(w.t, json.Unmarshal(lines.Bytes(), &s))
		steps = append(steps, s.Name+" "+s.Result)
		details[s.Name] = s.Detail
	}
	w.t.Log(out, stderr)
	return steps, details, stderr, code
}

// A rehearsal takes messages of every kind from a room to the verified store, and leaves nothing.
func TestRehearse(t *testing.T) {
	w := record(t, servers, pollFast)
	steps, details, stderr, code := w.rehearse()
	want := []string{
		"room ok", "joined ok", "sent ok", "sealed ok", "delivered ok", "read back ok", "removed ok",
	}
	if code != 0 || !slices.Equal(steps, want) {
		t.Fatalf("steps %q, exit code %d: %s", steps, code, stderr)
	}
	if !strings.Contains(details["read back"], "all 6 messages") {
		t.Errorf("read back: %s", details["read back"])
	}
	w.leavesNothing()
}

// Messages that the lists exclude are not expected in the recording.
func TestRehearseWithLists(t *testing.T) {
	w := record(t, servers, pollFast, "PROJECTS__0__TOPICS_ALLOW=rehearsal")
	steps, details, stderr, code := w.rehearse()
	if code != 0 || steps[len(steps)-1] != "removed ok" {
		t.Fatalf("steps %q, exit code %d: %s", steps, code, stderr)
	}
	if !strings.Contains(details["sent"], "the lists of the project exclude them") ||
		!strings.Contains(details["read back"], "all 3 messages") {
		t.Errorf("sent: %s\nread back: %s", details["sent"], details["read back"])
	}
	w.leavesNothing()
}

// A store that fails is named, and the recording stays on the disk to be delivered.
func TestRehearseWithoutStore(t *testing.T) {
	w := record(t, servers, pollFast, "SHUTDOWN_TIMEOUT=1s")
	dir := filepath.Join(w.r.Dir, "recordings")
	check(t, os.RemoveAll(dir))
	check(t, os.WriteFile(dir, nil, 0o600))
	steps, details, stderr, code := w.rehearse()
	want := []string{
		"room ok", "joined ok", "sent ok", "sealed ok", "delivered failed", "removed failed",
	}
	if code != 1 || !slices.Equal(steps, want) {
		t.Errorf("steps %q, exit code %d: %s", steps, code, stderr)
	}
	if !strings.Contains(details["delivered"], "recordings") ||
		!strings.Contains(details["removed"], "stays") {
		t.Errorf("delivered: %s\nremoved: %s", details["delivered"], details["removed"])
	}
	check(t, os.Remove(dir))
}

// leavesNothing checks that neither the store nor the list of recordings has the rehearsal.
func (w *world) leavesNothing() {
	w.t.Helper()
	recordings := filepath.Join(w.r.Dir, "recordings")
	check(w.t, filepath.WalkDir(recordings, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			w.t.Errorf("%s is left", path)
		}
		return err
	}))
	status, err := w.r.Status(testContext(w.t))
	check(w.t, err)
	for _, r := range status.Recordings {
		w.t.Errorf("recording %s is left, in state %s", r.EgressID, r.State)
	}
}

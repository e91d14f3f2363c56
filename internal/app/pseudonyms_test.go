package app_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPseudonymsOutliveTheSetting: what was recorded under pseudonyms is delivered so, also when
// the setting is off by then; what is recorded after that is not. A participant has one pseudonym
// in all recordings of a project.
func TestPseudonymsOutliveTheSetting(t *testing.T) {
	w := newWorld(t)
	hang := make(chan struct{})
	w.s3.hang = hang
	w.env(w.bucket(0, projectA, "AKGOOD"), "PROJECTS__0__PSEUDONYMS=true",
		w.directory(1, projectB, "out"), "PROJECTS__1__PSEUDONYMS=true", "SHUTDOWN_TIMEOUT=1s")
	w.start()
	w.class(projectA, 1)
	w.class(projectB, 4)
	w.eventually("it is frozen for delivery",
		func() bool { return w.recording(1).State == "exported" })
	w.delivered(4, filepath.Join(w.dir, "out"))
	if err := w.stop(); err != nil {
		t.Fatalf("Run = %v", err)
	}
	w.s3.mu.Lock()
	w.s3.hang = nil
	w.s3.mu.Unlock()
	close(hang)
	w.env(w.bucket(0, projectA, "AKGOOD"), "PROJECTS__0__PSEUDONYMS=false")
	w.start()
	w.class(projectA, 2)
	for n, want := range map[int]string{1: "said in 1", 2: "said in 2"} {
		w.eventually("it is delivered", func() bool { return w.recording(n).State == "uploaded" })
		if got := w.delivered(n, filepath.Join(w.s3.dump(t), "bucket")); got != want {
			t.Errorf("delivered %q", got)
		}
	}
	if err := w.stop(); err != nil {
		t.Fatalf("Run = %v", err)
	}
	w.env(w.bucket(0, projectA, "AKGOOD"), "PROJECTS__0__PSEUDONYMS=true")
	w.start()
	w.class(projectA, 3)
	w.eventually("it is delivered", func() bool { return w.recording(3).State == "uploaded" })

	views := func(root string, n int) (names []string) {
		found, err := filepath.Glob(filepath.Join(root, "*", "*", "text-egress", "*",
			w.recording(n).EgressID, "*.txt"))
		if err != nil || len(found) != 1 {
			t.Fatalf("session %d: %q, %v", n, found, err)
		}
		who, _, _ := strings.Cut(filepath.Base(found[0]), "-all-topics")
		b, err := os.ReadFile(filepath.Join(filepath.Dir(found[0]), "events.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "alice") != (who == "alice") {
			t.Errorf("session %d of %s: %s", n, who, b)
		}
		return append(names, who)
	}
	bucket := filepath.Join(w.s3.dump(t), "bucket")
	first, second, third := views(bucket, 1), views(bucket, 2), views(bucket, 3)
	if !strings.HasPrefix(first[0], "P-") || second[0] != "alice" || !slices.Equal(first, third) {
		t.Errorf("delivered under %q, %q, %q", first, second, third)
	}
	if other := views(filepath.Join(w.dir, "out"), 4); !strings.HasPrefix(other[0], "P-") ||
		slices.Equal(other, first) {
		t.Errorf("in the other project %q", other)
	}
	if strings.Contains(w.logged(), "alice") {
		t.Error("the log names the participant")
	}
}

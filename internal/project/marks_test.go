package project

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/source/rabbitmq"
)

// TestMarks: what a listener remembers outlives the process, for its own group alone; a damaged
// file is an error, and is replaced.
func TestMarks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	m := newMarks(dir, "p1", "text-egress")
	if got, err := m.Load(); err != nil || !got.Heard.IsZero() {
		t.Errorf("before anything was heard: %+v, %v", got, err)
	}
	at := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	want := rabbitmq.Mark{
		Heard: at, Silent: at.Add(time.Hour),
		Missed: []session.Gap{{From: at, To: at.Add(time.Minute)}},
	}
	for range 2 {
		if err := m.Save(want); err != nil {
			t.Fatal(err)
		}
		got, err := newMarks(dir, "p1", "text-egress").Load()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	for _, other := range []*marks{
		newMarks(dir, "p1", "other"),
		newMarks(dir, "p2", "text-egress"),
	} {
		if got, err := other.Load(); err != nil || !got.Heard.IsZero() {
			t.Errorf("%+v: %+v, %v", other, got, err)
		}
	}
	if err := os.WriteFile(m.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Load(); err == nil || !strings.Contains(err.Error(), m.path) {
		t.Errorf("a damaged file: %v", err)
	}
	if err := m.Save(want); err != nil {
		t.Error(err)
	}
}

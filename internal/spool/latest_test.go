package spool

import (
	"testing"

	"github.com/syncflow/textegress"
)

// TestSpool_Latest: the recording with the highest part, of this project, through
// creation, a restart and the removal of the last trace.
func TestSpool_Latest(t *testing.T) {
	mem, o := memory()
	s := openSpool(t, "/data", o)
	create := func(id, project, session string, part int) *Recording {
		r, err := s.Create(Info{EgressID: id, ProjectID: project, SessionID: session, Part: part})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	create("DE_1", "p", "s", 1)
	third := create("DE_3", "p", "s", 3)
	create("DE_2", "p", "s", 2)
	create("DE_4", "q", "s", 9)
	want := func(s *Spool, project, session, id string) {
		t.Helper()
		r, ok := s.Latest(project, session)
		if ok != (id != "") || ok && r.ID() != id {
			t.Errorf("latest of %s %s: %v, %v, want %q", project, session, r, ok, id)
		}
	}
	for range 2 {
		want(s, "p", "s", "DE_3")
		want(s, "q", "s", "DE_4")
		want(s, "p", "other", "")
		want(s, "r", "s", "")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openSpool(t, "/data", Options{FS: mem.Killed(), SyncInterval: quiet})
	}
	third, _ = s.Recording(third.ID())
	w := openWriter(t, third)
	if err := w.Seal(Sealed{Status: textegress.StatusComplete}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []func() error{
		func() error { return third.WriteExport([]byte("e")) },
		func() error { return third.WriteUploaded([]byte("u")) },
		third.RemoveData,
		third.Delete,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	want(s, "p", "s", "DE_2")
}

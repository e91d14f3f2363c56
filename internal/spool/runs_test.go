package spool

import (
	"errors"
	"testing"

	"github.com/syncflow/textegress"
)

// TestAddRun: a recording is found by every run that continues its session, through a kill, a power
// failure, a rewrite and until its last trace is removed; other projects are not affected.
func TestAddRun(t *testing.T) {
	mem, o := memory()
	s := openSpool(t, "/data", o)
	create := func(info Info) *Recording {
		r, err := s.Create(info)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := create(Info{EgressID: "DE_1", ProjectID: "p", SessionID: "RM_1"})
	create(Info{EgressID: "DE_2", ProjectID: "q", SessionID: "RM_2"})
	want := func(s *Spool, session, id string) {
		t.Helper()
		r, ok := s.Latest("p", session)
		if ok != (id != "") || ok && r.ID() != id {
			t.Errorf("latest of %s: %v, %v, want %q", session, r, ok, id)
		}
	}
	for _, sid := range []string{"RM_2", "RM_2", "RM_3"} {
		if err := r.AddRun(sid); err != nil {
			t.Fatal(err)
		}
		if r.Run() != sid {
			t.Errorf("run %s, want %s", r.Run(), sid)
		}
	}
	for _, s := range []*Spool{
		s,
		openSpool(t, "/data", Options{FS: mem.Killed(), SyncInterval: quiet}),
		openSpool(t, "/data", Options{FS: mem.Restart(nil), SyncInterval: quiet}),
	} {
		for _, sid := range []string{"RM_1", "RM_2", "RM_3"} {
			want(s, sid, "DE_1")
		}
		want(s, "RM_4", "")
	}

	// The next part begins in the last run.
	next := create(Info{
		EgressID: "DE_3", ProjectID: "p", SessionID: "RM_1", Run: "RM_3", Part: 2,
	})
	if next.Run() != "RM_3" {
		t.Errorf("run of the next part: %s", next.Run())
	}
	want(s, "RM_1", "DE_3")
	want(s, "RM_2", "DE_1")
	want(s, "RM_3", "DE_3")

	w := openWriter(t, r)
	if err := w.Seal(Sealed{Status: textegress.StatusComplete}); err != nil {
		t.Fatal(err)
	}
	if err := r.AddRun("RM_5"); !errors.Is(err, ErrSealed) {
		t.Errorf("a sealed recording: %v", err)
	}
	sealed, _ := r.Sealed()
	r, err := s.Rewrite(r.Info(), sealed, nil, []byte("{}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want(s, "RM_2", "DE_1")
	for _, step := range []func() error{
		func() error { return r.WriteExport([]byte("e")) },
		func() error { return r.WriteUploaded([]byte("u")) },
		r.RemoveData,
		r.Delete,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	want(s, "RM_2", "")
	want(s, "RM_3", "DE_3")
}

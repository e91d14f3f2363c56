package spool

import (
	"fmt"
	"slices"
	"testing"

	"github.com/syncflow/textegress"
)

// TestAddRequest: requests are recognised through a kill, a power failure and a rewrite; their
// number is bounded, and the oldest is forgotten first.
func TestAddRequest(t *testing.T) {
	mem, o := memory()
	s := openSpool(t, "/data", o)
	r, err := s.Create(Info{EgressID: "DE_1", ProjectID: "p", SessionID: "RM_1", RequestID: "own"})
	if err != nil {
		t.Fatal(err)
	}
	add := func(id string) {
		t.Helper()
		if err := r.AddRequest(id); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		add("own")
		add("a")
		add("b")
	}
	want := func(s *Spool, known ...string) {
		t.Helper()
		rec, ok := s.Recording("DE_1")
		if !ok {
			t.Fatal("no recording")
		}
		for _, id := range []string{"own", "a", "b", "c"} {
			if want := slices.Contains(known, id); rec.Requested(id) != want {
				t.Errorf("request %s: known %v, want %v", id, !want, want)
			}
		}
	}
	want(s, "own", "a", "b")
	want(openSpool(t, "/data", Options{FS: mem.Killed(), SyncInterval: quiet}), "own", "a", "b")
	want(openSpool(t, "/data", Options{FS: mem.Restart(nil), SyncInterval: quiet}), "own", "a", "b")

	w := openWriter(t, r)
	if err := w.Seal(Sealed{Status: textegress.StatusComplete}); err != nil {
		t.Fatal(err)
	}
	add("c")
	sealed, _ := r.Sealed()
	if r, err = s.Rewrite(r.Info(), sealed, nil, []byte("{}"), nil); err != nil {
		t.Fatal(err)
	}
	want(s, "own", "a", "b", "c")
	for i := range mostRequests - 2 {
		add(fmt.Sprint("r", i))
	}
	want(s, "own", "b", "c")
	if len(r.requests) != mostRequests {
		t.Errorf("%d requests", len(r.requests))
	}
}

package standin

import (
	"fmt"
	"sync"
	"testing"
)

// What update has returned for is in the file, however many come at once: the API may be killed the
// moment after.
func TestStateIsStored(t *testing.T) {
	dir := t.TempDir()
	s, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	const n = 100
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			id := fmt.Sprint(i)
			if err := s.addSession(session{ID: id, ProjectID: "p", Status: Started}); err != nil {
				t.Error(err)
			}
			stored, err := openState(dir)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := stored.session("p", id); err != nil {
				t.Errorf("session %s: %v", id, err)
			}
		})
	}
	wg.Wait()
	if _, err := s.stopSession("7"); err != nil {
		t.Fatal(err)
	}
	if err := s.deleteSession("8"); err != nil {
		t.Fatal(err)
	}
	if err := s.deleteSession("8"); err == nil {
		t.Error("a session was deleted twice")
	}
	stored, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if x, err := stored.session("p", "7"); err != nil || x.Status != Stopped {
		t.Errorf("%+v, %v", x, err)
	}
	if got := len(stored.sessions("p")); got != n-1 {
		t.Errorf("%d sessions are stored, want %d", got, n-1)
	}
	if _, err := stored.session("another", "7"); err == nil {
		t.Error("a session of another project was found")
	}
}

package spool

import (
	"syscall"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/durable/durabletest"
)

// DurableUpTo is the time of the oldest frame that waits for a sync, also while it is being synced.
// Frames whose sync failed wait for none.
func TestDurableUpTo(t *testing.T) {
	mem, o := memory()
	fail := false
	var during time.Time
	var w *Writer
	o.FS = &durabletest.Fault{FS: mem, Hook: func(c durabletest.Call) (int, error) {
		if w != nil && c.Label == "segment" && c.Name == "sync" {
			during = w.DurableUpTo()
			if fail {
				return 0, syscall.EIO
			}
		}
		return 0, nil
	}}
	s := openSpool(t, "/data", o)
	r, err := s.Create(Info{EgressID: "DE_1", ProjectID: "p", SessionID: "s"})
	if err != nil {
		t.Fatal(err)
	}
	w = openWriter(t, r)
	if at := w.DurableUpTo(); !at.IsZero() {
		t.Errorf("before the first frame: %v", at)
	}
	for _, fail = range []bool{false, true} {
		before := time.Now()
		appendText(t, w, "x")
		first := w.DurableUpTo()
		appendText(t, w, "x")
		if at := w.DurableUpTo(); !at.Equal(first) || first.Before(before) {
			t.Errorf("the first frame waits since %v, after two %v", first, at)
		}
		_ = w.Sync() // fails where it is made to
		if at := w.DurableUpTo(); !at.IsZero() || !during.Equal(first) {
			t.Errorf("during the sync %v, want %v; after it %v", during, first, at)
		}
	}
}

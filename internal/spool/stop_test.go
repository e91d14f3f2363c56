package spool

import (
	"errors"
	"testing"

	"github.com/syncflow/textegress"
)

// TestRequestStop: a decision that RequestStop has stored, for an open or a sealed recording,
// survives a kill, a power failure, and a correction or a rewrite of the recording.
func TestRequestStop(t *testing.T) {
	mem, o := memory()
	s := openSpool(t, "/data", o)
	r, err := s.Create(Info{EgressID: "DE_1", ProjectID: "p", SessionID: "s", RoomName: "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	want := func(r *Recording, reason string) {
		t.Helper()
		stop, ok := r.Stop()
		if stop.Reason != reason || ok != (reason != "") {
			t.Errorf("stop: %+v, %v, want %q", stop, ok, reason)
		}
	}
	want(r, "")
	corrected, err := s.Correct(r, "right", r.Info().KeyPrefix)
	if err != nil {
		t.Fatal(err)
	}
	// A reference from before the correction reaches the current recording.
	if err := r.RequestStop(Stop{Reason: "opted_out", UnixNS: 1}); err != nil {
		t.Fatal(err)
	}
	want(corrected, "opted_out")
	if err := corrected.RequestStop(Stop{Reason: "stopped", UnixNS: 2}); err != nil {
		t.Fatal(err)
	}
	if err := corrected.RequestStop(Stop{Reason: "stopped", UnixNS: 3}); err != nil {
		t.Fatal(err)
	}
	if stop, _ := corrected.Stop(); stop.UnixNS != 2 {
		t.Errorf("a repeated stop: %+v", stop)
	}
	for _, after := range []func() Options{
		func() Options { return Options{FS: mem.Killed(), SyncInterval: quiet} },
		func() Options { return Options{FS: mem.Restart(nil), SyncInterval: quiet} },
	} {
		s := openSpool(t, "/data", after())
		r, ok := s.Recording("DE_1")
		if !ok {
			t.Fatal("no recording")
		}
		want(r, "stopped")
		w := openWriter(t, r)
		if err := w.Seal(Sealed{Status: textegress.StatusComplete}); err != nil {
			t.Fatal(err)
		}
		sealed, _ := r.Sealed()
		rewritten, err := s.Rewrite(r.Info(), sealed, nil, []byte("{}"), nil)
		if err != nil {
			t.Fatal(err)
		}
		want(rewritten, "stopped")
		if err := r.RequestStop(Stop{Reason: "other"}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("a recording that was replaced: %v", err)
		}
	}
}

// TestRequestStop_Damaged: a stop.json that cannot be read still stops the recording.
func TestRequestStop_Damaged(t *testing.T) {
	mem, o := memory()
	s := openSpool(t, "/data", o)
	r, err := s.Create(Info{EgressID: "DE_1", ProjectID: "p", SessionID: "s"})
	if err != nil {
		t.Fatal(err)
	}
	putFile(t, mem, r.path(stopName), []byte("{"))
	again, err := s.loadRecording(r.dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if stop, ok := again.Stop(); !ok || stop.Reason != damagedStop {
		t.Errorf("%+v, %v", stop, ok)
	}
}

package spool

import (
	"testing"
)

func TestSmoke(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Create(Info{SessionID: "s"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.Writer()
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := w.Append(Frame{Type: FramePacket, Payload: []byte("hello")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Seal(Sealed{Status: "COMPLETE"}); err != nil {
		t.Fatal(err)
	}
	n := 0
	for f, err := range r.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if f.Index != uint64(n) {
			t.Fatalf("%d: %+v", n, f)
		}
	}
	t.Log(n, r.State())
	t.Log(r.Segments())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

package spool

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/segment"
)

// TestCorrect_CrashAtEveryOp: wherever the machine stops, the recording is there with the old or
// the new room, with the new one once that was said, and it can be recorded into.
func TestCorrect_CrashAtEveryOp(t *testing.T) {
	crashed := 0
	for at := 1; ; at++ {
		fs := durabletest.NewCrashFS(at, at%70)
		id, said, err := correctOne(fs)
		if err != nil && !errors.Is(err, durabletest.ErrCrashed) {
			t.Fatal(err)
		}
		for seed := range uint64(10) {
			s, err := Open("/srv/data",
				Options{
					FS:           fs.Restart(rand.New(rand.NewPCG(seed, uint64(at)))),
					SyncInterval: quiet,
				})
			if err != nil {
				t.Fatal(err)
			}
			if p := s.Problems(); len(p) > 0 {
				t.Errorf("operation %d: %v", at, p)
			}
			r, ok := s.Recording(id)
			switch {
			case id == "":
			case !ok:
				t.Errorf("operation %d: the recording is gone", at)
			default:
				got := r.Info()
				isOld := got.RoomName == "forged" && got.KeyPrefix == placeOf("forged")
				isNew := got.RoomName == "true" && got.KeyPrefix == placeOf("true")
				if !isNew && (said || !isOld) || got.SessionID != "session" ||
					r.State() != StateOpen {
					t.Errorf("operation %d: %+v, %s; said %v", at, got, r.State(), said)
				}
			}
			s.Close()
		}
		if !fs.Crashed() {
			if !said || crashed < 10 {
				t.Errorf("corrected %v after %d crashes", said, crashed)
			}
			return
		}
		crashed++
	}
}

// correctOne says which recording was begun, and whether its correction was acknowledged.
func correctOne(fs *durabletest.CrashFS) (id string, said bool, err error) {
	s, err := Open("/srv/data", Options{FS: fs, SyncInterval: quiet})
	if err != nil {
		return "", false, err
	}
	defer s.Close()
	r, err := s.Create(Info{
		EgressID: "DE_1", SessionID: "session", RoomName: "forged",
		KeyPrefix: placeOf("forged"),
	})
	if err != nil {
		return "", false, err
	}
	if _, err := s.Correct(r, "true", placeOf("true")); err != nil {
		return r.ID(), false, err
	}
	return r.ID(), true, nil
}

func placeOf(room string) string { return textegress.Prefix("Study", "p", room, "", "DE_1") }

// TestCorrect: a recording that is being written, or that is sealed, keeps its room.
func TestCorrect(t *testing.T) {
	s, err := Open(t.TempDir(), Options{SyncInterval: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Create(Info{SessionID: "session", ProjectID: "p", RoomName: "forged"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.Writer()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Correct(r, "true", "k/"); !errors.Is(err, ErrBusy) {
		t.Errorf("while it is written: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err = s.Correct(r, "true", "k/"); err != nil {
		t.Fatal(err)
	}
	if known, ok := s.Recording(r.ID()); !ok || known.Info().RoomName != "true" {
		t.Errorf("the spool knows %+v", known.Info())
	}
	if latest, ok := s.Latest("p", "session"); !ok || latest != r {
		t.Errorf("the latest is %v, %v", latest, ok)
	}
	if w, err = r.Writer(); err != nil {
		t.Fatal(err)
	}
	if err := w.Append(segment.Frame{Type: segment.FramePacket, Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := w.Seal(Sealed{Status: textegress.StatusComplete}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Correct(r, "other", "o/"); !errors.Is(err, ErrState) {
		t.Errorf("when it is sealed: %v", err)
	}
}

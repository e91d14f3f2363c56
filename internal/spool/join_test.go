package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/durable/durabletest"
)

// What admits to the room is kept for the next process, for nobody else to read, and is gone when
// the recording is sealed.
func TestJoinIsKeptWhileTheRecordingIsOpen(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{SyncInterval: quiet})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Create(Info{SessionID: "session"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Join(); ok {
		t.Error("a join before there was one")
	}
	want := Join{URL: "wss://lk", Token: "secret", Identity: "bot", InRoomUnixNS: 7}
	for _, j := range []Join{{URL: "wss://lk", Token: "older"}, want} {
		if err := r.KeepJoin(j); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(r.Dir(), joinName)
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, Options{SyncInterval: quiet}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, _ = s.Recording(r.ID())
	if got, ok := r.Join(); !ok || got != want {
		t.Errorf("%v, %v after a restart", got, ok)
	}
	w, err := r.Writer()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Seal(Sealed{Status: textegress.StatusComplete}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there after the seal: %v", err)
	}
	if err := r.KeepJoin(want); !errors.Is(err, ErrSealed) {
		t.Errorf("kept for a sealed recording: %v", err)
	}
}

// A sealed recording that still has a token loses it when the spool is opened.
func TestJoinOfASealedRecordingIsRemoved(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{SyncInterval: quiet})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Create(Info{SessionID: "session"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.Writer()
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(w.Seal(Sealed{Status: textegress.StatusComplete}), s.Close())
	for _, name := range []string{joinName, joinName + durable.TempSuffix} {
		err = errors.Join(err, os.WriteFile(filepath.Join(r.Dir(), name),
			[]byte(`{"url":"u","token":"secret"}`), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	if s, err = OpenReadOnly(dir); err != nil {
		t.Fatal(err)
	}
	r, _ = s.Recording(r.ID())
	if _, ok := r.Join(); ok {
		t.Error("a join of a sealed recording")
	}
	if s, err = Open(dir, Options{SyncInterval: quiet}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if left, err := filepath.Glob(filepath.Join(dir, recordingsName, "*",
		joinName+"*")); err != nil || len(left) != 0 {
		t.Errorf("left %q, %v", left, err)
	}
}

// A damaged file is none, and a full disk is an error that leaves the recording as it is.
func TestJoinThatCannotBeReadOrWritten(t *testing.T) {
	mem := durabletest.NewCrashFS(0, 0)
	fault := &durabletest.Fault{FS: mem}
	s, err := Open("/srv/data", Options{FS: fault, SyncInterval: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Create(Info{SessionID: "session"})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", "[]", `{"url":"wss://lk"}`, `{"token":"x"}`} {
		if err := durable.ReplaceFile(mem, "test", r.path(joinName), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if j, ok := r.Join(); ok {
			t.Errorf("%q is taken for %v", text, j)
		}
	}
	fault.Hook = func(c durabletest.Call) (int, error) {
		if c.Label == "join" {
			return 0, syscall.ENOSPC
		}
		return 0, nil
	}
	if err := r.KeepJoin(Join{URL: "wss://lk", Token: "x"}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	w, err := r.Writer()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Seal(Sealed{Status: textegress.StatusComplete}); err != nil ||
		r.State() != StateSealed {
		t.Errorf("sealed: %v, %s", err, r.State())
	}
}

func TestJoinShowsNoToken(t *testing.T) {
	var log strings.Builder
	j := Join{URL: "wss://lk", Token: "secret"}
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "join", j)
	if out := log.String() + fmt.Sprint(j) + fmt.Sprintf("%v %+v %s", j, j,
		j); strings.Contains(out, "secret") {
		t.Error(out)
	}
}

package spool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/durable/durabletest"
)

func excluded(t *testing.T, s *Spool, project, session string) string {
	t.Helper()
	list, err := s.Excluded(project, session)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, " ")
}

// Exclusions survive a kill and a power failure, in a session or in a project, and end.
func TestExclusions(t *testing.T) {
	mem, o := memory()
	s := openSpool(t, "/data", o)
	if _, err := s.Create(Info{EgressID: "DE_1", ProjectID: "p", SessionID: "s"}); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixNano()
	for _, x := range []Exclusion{
		{"p", "", "bob", now},
		{"p", "s", "ann", now},
		{"p", "s", "bob", now},
		{"q", "", "eve", now},
		{"p", "", "bob", now},
	} {
		if err := s.Exclude(x); err != nil {
			t.Fatal(err)
		}
	}
	check := func(s *Spool, inS, inT, inQ string) {
		t.Helper()
		for of, want := range map[[2]string]string{
			{"p", "s"}: inS, {"p", "t"}: inT, {"q", "s"}: inQ,
		} {
			if got := excluded(t, s, of[0], of[1]); got != want {
				t.Errorf("%v: %q, want %q", of, got, want)
			}
		}
	}
	check(s, "ann bob", "bob", "eve")
	check(openSpool(t, "/data", Options{FS: mem.Killed(), SyncInterval: quiet}), "ann bob", "bob",
		"eve")
	check(openSpool(t, "/data", Options{FS: mem.Restart(nil), SyncInterval: quiet}), "ann bob",
		"bob", "eve")

	if n, err := s.Include("p", "s", "ann"); n != 1 || err != nil {
		t.Errorf("ended %d, %v", n, err)
	}
	if n, err := s.Include("p", "", "bob"); n != 2 || err != nil { // also from the session
		t.Errorf("ended %d, %v", n, err)
	}
	if n, err := s.Include("p", "", "bob"); n != 0 || err != nil {
		t.Errorf("again: ended %d, %v", n, err)
	}
	check(openSpool(t, "/data", Options{FS: mem.Restart(nil), SyncInterval: quiet}), "", "", "eve")
}

// What Exclude has answered survives a crash at every operation of the file system; what it has not
// answered is in force or not.
func TestExclusions_Crash(t *testing.T) {
	for at := 1; ; at++ {
		fs := durabletest.NewCrashFS(at, at%70)
		answered := 0
		err := func() error {
			s, err := Open("/data", Options{FS: fs, SyncInterval: quiet})
			if err != nil {
				return err
			}
			defer s.Close() //nolint:errcheck // it may have crashed
			for _, identity := range []string{"a", "b", "c"} {
				if err := s.Exclude(Exclusion{ProjectID: "p", Identity: identity}); err != nil {
					return err
				}
				answered++
			}
			return nil
		}()
		if err != nil && !errors.Is(err, durabletest.ErrCrashed) {
			t.Fatal(err)
		}
		s := openSpool(t, "/data", Options{FS: fs.Restart(nil), SyncInterval: quiet})
		want := []string{"a", "b", "c"}
		got, lerr := s.Excluded("p", "x")
		if lerr != nil || len(got) < answered || !slices.Equal(got, want[:len(got)]) {
			t.Errorf("crash at %d: %v, %v after %d answers", at, got, lerr, answered)
		}
		if err == nil {
			return
		}
	}
}

// An exclusion that cannot be stored is in force, and stored by a repeated call.
func TestExclusions_Fault(t *testing.T) {
	mem, o := memory()
	broken := true
	o.FS = &durabletest.Fault{FS: mem, Hook: func(c durabletest.Call) (int, error) {
		if broken && c.Name != "readfile" && strings.Contains(c.Path, exclusionsName) {
			return 0, syscall.EIO
		}
		return 0, nil
	}}
	s := openSpool(t, "/data", o)
	x := Exclusion{ProjectID: "p", Identity: "bob"}
	if err := s.Exclude(x); !errors.Is(err, syscall.EIO) || strings.Contains(err.Error(), "bob") {
		t.Errorf("Exclude = %v", err)
	}
	if got := excluded(t, s, "p", "s"); got != "bob" {
		t.Errorf("in force: %q", got)
	}
	broken = false
	if err := s.Exclude(x); err != nil {
		t.Fatal(err)
	}
	again := openSpool(t, "/data", Options{FS: mem.Restart(nil), SyncInterval: quiet})
	if got := excluded(t, again, "p", "s"); got != "bob" {
		t.Errorf("stored: %q", got)
	}
}

// A damaged file is an error that quotes nothing of it, and is not replaced.
func TestExclusions_Damaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, exclusionsName)
	if err := os.WriteFile(path, []byte(`{"exclusions":[{"identity":"bob"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openSpool(t, dir, Options{})
	_, err := s.Excluded("p", "s")
	changed := s.Exclude(Exclusion{ProjectID: "p", Identity: "eve"})
	if err == nil || changed == nil || strings.Contains(err.Error(), "bob") ||
		!strings.Contains(err.Error(), path) {
		t.Errorf("Excluded: %v; Exclude: %v", err, changed)
	}
}

// Exclusions from sessions that are long over are not kept forever.
func TestExclusions_OldSessions(t *testing.T) {
	_, o := memory()
	s := openSpool(t, "/data", o)
	for _, x := range []Exclusion{
		{ProjectID: "p", SessionID: "old", Identity: "ann", UnixNS: 1},
		{ProjectID: "p", SessionID: "new", Identity: "bob", UnixNS: time.Now().UnixNano()},
	} {
		if err := s.Exclude(x); err != nil {
			t.Fatal(err)
		}
	}
	if old, now := excluded(t, s, "p", "old"), excluded(t, s, "p", "new"); old != "" ||
		now != "bob" {
		t.Errorf("old %q, new %q", old, now)
	}
}

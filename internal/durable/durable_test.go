package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/durable/durabletest"
)

func TestWriteFileOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(path+durable.TempSuffix, []byte("left by a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, data string
		want       error
	}{
		{"new", "one", nil},
		{"the same again", "one", nil},
		{"other bytes", "two", fs.ErrExist},
	} {
		if err := durable.WriteFileOnce(durable.OS{}, "test", path,
			[]byte(tt.data)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "one" {
		t.Errorf("%q, %v", got, err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

// TestWriteFileOnce_CrashAtEveryOp: after a power failure the file is complete or
// absent, and complete if WriteFileOnce had returned nil.
func TestWriteFileOnce_CrashAtEveryOp(t *testing.T) {
	for at := 1; ; at++ {
		c := durabletest.NewCrashFS(at, 2)
		err := durable.MkdirAll(c, "test", "/a/b")
		if err == nil {
			err = durable.WriteFileOnce(c, "test", "/a/b/f", []byte("content"))
		}
		b, rerr := c.Restart(nil).ReadFile("test", "/a/b/f")
		switch {
		case err == nil && (rerr != nil || string(b) != "content"):
			t.Errorf("crash at %d: %q, %v after a success", at, b, rerr)
		case err != nil && rerr == nil && string(b) != "content":
			t.Errorf("crash at %d: half a file: %q", at, b)
		}
		if !c.Crashed() {
			if at < 8 {
				t.Errorf("only %d operations", at)
			}
			return
		}
	}
}

// TestWriteFileOnce_Faults: an error at any step can be followed by another try,
// whose success is one.
func TestWriteFileOnce_Faults(t *testing.T) {
	for _, name := range []string{"create", "write", "sync", "rename", "syncdir"} {
		t.Run(name, func(t *testing.T) {
			mem := durabletest.NewCrashFS(0, 0)
			f := &durabletest.Fault{FS: mem, Hook: func(c durabletest.Call) (int, error) {
				if c.Name == name {
					return 3, syscall.ENOSPC
				}
				return 0, nil
			}}
			if err := durable.WriteFileOnce(f, "test", "/f", []byte("content")); !errors.Is(err,
				syscall.ENOSPC) {
				t.Fatal(err)
			}
			f.Hook = nil
			if there, _ := mem.Exists("test", "/f"); there != (name == "syncdir") {
				t.Errorf("there: %v", there)
			}
			if err := durable.WriteFileOnce(f, "test", "/f", []byte("content")); err != nil {
				t.Fatal(err)
			}
			if b, err := mem.Restart(nil).ReadFile("test", "/f"); string(b) != "content" {
				t.Errorf("%q, %v after a power failure", b, err)
			}
		})
	}
}

func TestMkdirAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	for range 2 {
		if err := durable.MkdirAll(durable.OS{}, "test", dir); err != nil {
			t.Fatal(err)
		}
	}
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		t.Errorf("%v, %v", fi, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		if err := durable.MkdirAll(durable.OS{}, "test", path); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := durable.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = durable.Lock(path)
	locked, ok := errors.AsType[*durable.LockedError](err)
	if !ok {
		t.Fatalf("second lock: %v", err)
	}
	if d := cmp.Diff(durable.LockedError{Path: path, PID: os.Getpid()}, *locked); d != "" {
		t.Error(d)
	}
	if want := fmt.Sprintf("process %d", os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not say %q", err, want)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = durable.Lock(path)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOS_Files(t *testing.T) {
	var fsys durable.OS
	path := filepath.Join(t.TempDir(), "f")
	f, err := fsys.Create("test", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fsys.Create("test", path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created twice: %v", err)
	}
	write := func(s string) {
		t.Helper()
		if _, err := f.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	write("one two")
	if err := f.Truncate(3); err != nil {
		t.Fatal(err)
	}
	write("!") // at the end that is, not where the file ended before
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Size(); n != 4 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err := fsys.ReadFile("test", path); string(b) != "one!" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if err := f.Sync(); err == nil {
		t.Error("sync after close: no error")
	}
	if _, err := fsys.Open("test", path+"x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
}

func TestOS_AllocateTakesTheBlocks(t *testing.T) {
	dir := t.TempDir()
	f, err := durable.OS{}.Create("test", filepath.Join(dir, "reserve"))
	if err != nil {
		t.Fatal(err)
	}
	const size = 8 << 20
	if err := errors.Join(f.Allocate(size), f.Sync()); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Size(); n != size || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	fi, err := os.Stat(filepath.Join(dir, "reserve"))
	if err != nil {
		t.Fatal(err)
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Blocks*512 < size {
		t.Errorf("%d bytes are on the disk, want %d: removing the file would not free them",
			st.Blocks*512, size)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOS_Space(t *testing.T) {
	s, err := durable.OS{}.Space("test", t.TempDir())
	if err != nil || s.Free == 0 || s.Total < s.Free {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := (durable.OS{}).Space("test", filepath.Join(t.TempDir(), "missing")); !errors.Is(
		err, fs.ErrNotExist) {
		t.Errorf("of a missing directory: %v", err)
	}
}

// TestCrashFS_Capacity: the file system that tests fill up behaves like a real
// one: a write that does not fit is short, removing makes room.
func TestCrashFS_Capacity(t *testing.T) {
	c := durabletest.NewCrashFS(0, 0)
	c.SetCapacity(10)
	f, err := c.Create("test", "/f")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Write([]byte("1234567")); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := f.Allocate(4); !errors.Is(err, syscall.ENOSPC) || c.Used() != 7 {
		t.Errorf("allocate: %v, %d used", err, c.Used())
	}
	if n, err := f.Write([]byte("1234567")); n != 3 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%d, %v", n, err)
	}
	if s, err := c.Space("test", "/"); s.Free != 0 || s.Total != 10 || err != nil {
		t.Errorf("%+v, %v", s, err)
	}
	if err := c.Remove("test", "/f"); err != nil || c.Used() != 0 {
		t.Errorf("%v, %d used", err, c.Used())
	}
}

// TestOS_StartSync: beginning a write-back fails for no file that Sync would sync,
// and leaves nothing for it to complain of.
func TestOS_StartSync(t *testing.T) {
	f, err := durable.OS{}.Create("test", filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 3 {
		if _, err := f.Write(make([]byte, 10000)); err != nil {
			t.Fatal(err)
		}
		if err := f.StartSync(); err != nil {
			t.Error(err)
		}
		if err := f.Sync(); err != nil {
			t.Error(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.StartSync(); err == nil {
		t.Error("a closed file has begun to be written back")
	}
}

// TestRegularFilesOnly: what has the name of a file and is none is neither waited for nor read
// without end.
func TestRegularFilesOnly(t *testing.T) {
	for kind, make := range map[string]func(path string) error{
		"pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"device":    func(path string) error { return os.Symlink("/dev/zero", path) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			if _, err := (durable.OS{}).Open("test", path); !errors.Is(err, durable.ErrNotRegular) {
				t.Errorf("Open: %v", err)
			}
			if _, err := (durable.OS{}).ReadFile("test", path); !errors.Is(err,
				durable.ErrNotRegular) {
				t.Errorf("ReadFile: %v", err)
			}
			if _, err := (durable.OS{}).OpenWrite("test", path); err == nil {
				t.Error("OpenWrite: no error")
			}
		})
	}
	huge := filepath.Join(t.TempDir(), "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 1<<40); err != nil {
		t.Fatal(err)
	}
	if _, err := (durable.OS{}).ReadFile("test", huge); err == nil ||
		!strings.Contains(err.Error(), "more than") {
		t.Errorf("a state file of a terabyte: %v", err)
	}
}

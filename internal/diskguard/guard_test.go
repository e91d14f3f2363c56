package diskguard_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/durable/durabletest"
)

// TestFS_EveryOperation: whatever finds no space, and whoever asked for it, the guard knows; any
// other failure is not about space.
func TestFS_EveryOperation(t *testing.T) {
	for _, name := range []string{
		"create", "mkdir", "rename", "syncdir", "write", "allocate", "startsync", "sync",
	} {
		for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO} {
			t.Run(name+" "+errno.Error(), func(t *testing.T) {
				mem := durabletest.NewCrashFS(0, 0)
				mem.SetCapacity(64 << 10)
				fault := &durabletest.Fault{FS: mem}
				if err := mem.Mkdir("test", "/data"); err != nil {
					t.Fatal(err)
				}
				g := diskguard.New(fault, "/data", diskguard.Options{MinFree: 16 << 10})
				g.Start()
				fill(t, mem, 1500) // less than twice the ballast
				hit := false
				fault.Hook = func(c durabletest.Call) (int, error) {
					if c.Label == "other" && c.Name == name {
						hit = true
						return 0, errno
					}
					return 0, nil
				}
				if err := everything(g.FS()); !errors.Is(err, errno) {
					t.Errorf("%v, want the error itself", err)
				}
				if !hit {
					t.Fatal("the operation was not called")
				}
				full := errno != syscall.EIO
				if err := g.Writable(); diskguard.IsFull(err) != full {
					t.Errorf("writable: %v", err)
				}
				if g.Status().Full != full {
					t.Errorf("%+v", g.Status())
				}
			})
		}
	}
}

// everything calls each operation that may need space, with a label of its own.
func everything(fsys durable.FS) error {
	const op = "other"
	err := fsys.Mkdir(op, "/data/dir")
	f, ferr := fsys.Create(op, "/data/dir/file")
	if err = errors.Join(err, ferr); err != nil {
		return err
	}
	err = f.Allocate(1)
	_, werr := f.Write([]byte("x"))
	err = errors.Join(err, werr, f.StartSync(), f.Sync(), f.Close())
	return errors.Join(err, fsys.Rename(op, "/data/dir/file", "/data/dir/name"),
		fsys.SyncDir(op, "/data/dir"))
}

// fill leaves so many bytes free.
func fill(t *testing.T, fs *durabletest.CrashFS, left int64) {
	t.Helper()
	f, err := fs.Create("test", "/filler")
	if err != nil {
		t.Fatal(err)
	}
	space, err := fs.Space("test", "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Allocate(int64(space.Free) - left); err != nil {
		t.Fatal(err)
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[uint64]string{
		1: "1 bytes", 20 << 10: "20 KiB", 256 << 20: "256 MiB",
		70 << 30: "70 GiB", 9000: "9000 bytes",
	} {
		if got := diskguard.FormatSize(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// diskFull records on a small file system of its own that fills up and is emptied again.
func diskFull() Scenario {
	return Scenario{
		Name: "disk-full",
		Skip: func() string {
			if os.Geteuid() != 0 {
				return "mounting a tmpfs takes root"
			}
			return ""
		},
		Prepare: func(_ *World, dir string) (func() error, error) {
			data := filepath.Join(dir, "textegress-data")
			if err := os.MkdirAll(data, 0o700); err != nil {
				return nil, err
			}
			if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=24m,mode=0700"); err != nil {
				return nil, fmt.Errorf("mounting a tmpfs: %w", err)
			}
			return func() error { return syscall.Unmount(data, syscall.MNT_DETACH) }, nil
		},
		Run: fillDisk,
	}
}

// fillDisk leaves no room at all for a while. Reading stands still then, and LiveKit keeps the messages; when it lasts too long
// the room is left, and an outage stated. Space that returns cures everything. Whatever was written stays.
func fillDisk(ctx context.Context, w *World) error {
	v := w.victims[0]
	ballast := filepath.Join(filepath.Dir(v.data), "ballast")
	var all []*session
	for range 2 {
		s, err := w.begin(ctx, false)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	for _, d := range pick(w, []time.Duration{6 * time.Second}, []time.Duration{6 * time.Second, 45 * time.Second, 10 * time.Second}) {
		if err := all[0].advance(ctx, 10); err != nil {
			return err
		}
		w.rig.fault(fmt.Sprintf("disk full for %v", d))
		if err := fill(ballast); err != nil {
			return err
		}
		if err := errors.Join(sleep(ctx, d), os.Remove(ballast)); err != nil {
			return err
		}
		for _, s := range all {
			if err := errors.Join(s.inRoom(ctx), s.advance(ctx, 10)); err != nil {
				return err
			}
		}
	}
	// A session that begins after all that is recorded like any other.
	s, err := w.begin(ctx, true)
	if err != nil {
		return err
	}
	return s.advance(ctx, 10)
}

// fill writes until nothing more fits.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := io.CopyN(f, zeros{}, int64(size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			return err
		}
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

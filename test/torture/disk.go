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

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/test/stack"
)

// diskFull records on its own small file system, which fills up and is emptied again.
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
		Env: []string{fmt.Sprintf("DISK_MIN_FREE=%dMiB", minFree>>20)},
		Run: fillDisk, Check: diskAccount,
	}
}

const minFree = 3 << 20

// fillDisk leaves too little space for new sessions for a while, and then none at all. The recorder
// then stops reading, and LiveKit holds the messages. If that lasts too long, the recorder leaves
// the rooms and states an outage. Once space returns, everything recovers. Written data stays.
func fillDisk(ctx context.Context, w *World) error {
	v := w.recorders[0]
	ballast := filepath.Join(filepath.Dir(v.data), "ballast")
	state := func(want string) error {
		return v.Until(ctx, "the disk is "+want, func(st stack.RecorderStatus) bool {
			return st.Disk.State == want && st.Ready == (want == "ok")
		})
	}
	var all []*session
	for range 2 {
		s, err := w.begin(ctx, false)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	advance := func() error {
		var errs []error
		for _, s := range all {
			errs = append(errs, s.inRoom(ctx), s.advance(ctx, 10))
		}
		return errors.Join(errs...)
	}

	// Nearly full: running recordings continue, a new session waits for space.
	w.harness.fault("disk nearly full")
	if err := errors.Join(fill(ballast, minFree/2), state("low")); err != nil {
		return err
	}
	late, err := w.announce(ctx)
	if err != nil {
		return err
	}
	late.send(ctx)
	if err := advance(); err != nil {
		return err
	}
	if st, err := v.Status(ctx); err != nil || v.knows(st, late) {
		return fmt.Errorf("a session was taken on a disk that is nearly full (%w)", err)
	}
	if err := errors.Join(os.Remove(ballast), state("ok"), late.inRoom(ctx)); err != nil {
		return err
	}
	for _, x := range late.senders {
		x.setEarly()
	}

	for i, d := range pick(w, fullShort, fullLong) {
		w.harness.fault(fmt.Sprintf("disk full for %v", d))
		if err := errors.Join(fill(ballast, 0), state("full")); err != nil {
			return err
		}
		if i%2 == 1 { // a start on a full disk continues with existing recordings
			if err := v.killFor(ctx, 0); err != nil {
				return err
			}
		}
		if err := errors.Join(backoff.Sleep(ctx, d), os.Remove(ballast), state("ok"),
			advance()); err != nil {
			return err
		}
	}
	return late.advance(ctx, 10)
}

// Durations of the full disk. Up to 30 s, nothing is lost unless the recorder is killed meanwhile.
var (
	fullShort = []time.Duration{5 * time.Second}
	fullLong  = []time.Duration{10 * time.Second, 5 * time.Second, 45 * time.Second}
)

// diskAccount checks that the sessions from before have no outage if the disk was full only
// briefly.
func diskAccount(w *World, _ Verdict, outages []int) error {
	for i, n := range outages[:2] {
		if want := pick(w, 0, 2); n != want { // those of the kill and of the long full disk
			return fmt.Errorf("%d outages of session %d, want %d", n, i+1, want)
		}
	}
	return nil
}

// knows reports whether the recorder has a recording of the session.
func (v *recorder) knows(st stack.RecorderStatus, s *session) bool {
	for _, r := range st.Recordings {
		if r.SessionID == s.ID {
			return true
		}
	}
	return false
}

// fill writes until only the given number of bytes is free; 0: until nothing more fits.
func fill(path string, leave int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if leave > 0 {
		var st syscall.Statfs_t
		if err := syscall.Statfs(filepath.Dir(path), &st); err != nil {
			return err
		}
		_, err := io.CopyN(f, zeros{}, int64(st.Bavail)*st.Bsize-leave)
		return err
	}
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

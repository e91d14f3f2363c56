package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockedError reports that another process holds a lock.
type LockedError struct {
	Path string // of the lock file
	PID  int    // of the holder; 0 if the file does not contain it
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is held by another process", e.Path)
	}
	return fmt.Sprintf("%s is held by process %d", e.Path, e.PID)
}

// Lock takes an exclusive flock(2) on the file path, which it creates if needed, and writes the
// process id into the file. It does not wait: if another process (or another call in this one)
// holds the lock, the error is a *LockedError. The kernel releases the lock when the process dies
// for any reason. The file remains after Close, because removing it would let two processes lock
// two files of the same name.
func Lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func lockFile(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			// The process id is informational only. A full disk must not prevent the start of a
			// service that would free space by delivering.
			_ = f.Truncate(0)
			_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			b := make([]byte, 32)
			n, _ := f.ReadAt(b, 0) // the holder may not have written it yet
			pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
			return &LockedError{Path: f.Name(), PID: pid}
		default:
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

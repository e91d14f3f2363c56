package render

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/spool"
)

// checkEvery is after how many written bytes the free space is looked at.
const checkEvery = 16 << 20

// room keeps some space on a file system free, whatever a recording makes of itself when it is
// derived. It may be used by several goroutines.
type room struct {
	// an error that wraps spool.ErrDiskLow where there is too little; nil: nothing is kept
	check func() error
	left  atomic.Int64
}

// take returns an error where n bytes are not to be written.
func (r *room) take(n int) error {
	if r == nil || r.check == nil || r.left.Add(-int64(n)) >= 0 {
		return nil
	}
	r.left.Store(checkEvery)
	return r.check()
}

// spaceOn looks at the file system of a directory.
func spaceOn(dir string, keep int64) func() error {
	if keep <= 0 {
		return nil
	}
	return func() error {
		space, err := durable.OS{}.Space("room", dir)
		if err != nil {
			return fmt.Errorf("free space of %s: %w", dir, err)
		}
		if free := space.Free; free < uint64(keep)+checkEvery {
			return fmt.Errorf("%w: %d MiB are free on the file system of %s, and DISK_MIN_FREE "+
				"keeps %d MiB there for recordings; "+
				"make room, or name a directory elsewhere", spool.ErrDiskLow, free>>20, dir,
				keep>>20)
		}
		return nil
	}
}

type roomWriter struct {
	io.WriteCloser

	room *room
}

func (w roomWriter) Write(p []byte) (int, error) {
	if err := w.room.take(len(p)); err != nil {
		return 0, err
	}
	return w.WriteCloser.Write(p)
}

type roomScratch struct {
	Scratch

	room *room
}

func (s roomScratch) WriteAt(p []byte, off int64) (int, error) {
	if err := s.room.take(len(p)); err != nil {
		return 0, err
	}
	return s.Scratch.WriteAt(p, off)
}

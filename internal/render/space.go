package render

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/durable"
)

// checkEvery is how many bytes are written between two checks of the free space.
const checkEvery = 16 << 20

// SpaceGuard keeps some space on a file system free while a recording is rendered: content that was
// sent compressed can be much larger than the segments. It is safe for concurrent use.
type SpaceGuard struct {
	check func() error // nil: nothing is kept free
	left  atomic.Int64
}

// NewSpaceGuard returns a guard that calls check before the first byte and after every 16 MiB. If
// check fails, the write returns its error.
func NewSpaceGuard(check func() error) *SpaceGuard { return &SpaceGuard{check: check} }

// FreeSpace returns a check that fails, with an error that wraps [diskguard.ErrLow], if fewer than
// keep bytes would remain free on the file system of dir.
func FreeSpace(dir string, keep int64) func() error {
	if keep <= 0 {
		return nil
	}
	return func() error {
		space, err := durable.OS{}.Space("room", dir)
		if err != nil {
			return fmt.Errorf("read the free space of %s: %w", dir, err)
		}
		if free := space.Free; free < uint64(keep)+checkEvery {
			return fmt.Errorf("%w: %d MiB free on the file system of %s, and DISK_MIN_FREE "+
				"reserves %d MiB for recordings; free space, or name a directory on another "+
				"file system", diskguard.ErrLow, free>>20, dir, keep>>20)
		}
		return nil
	}
}

// Take accounts for n bytes to be written; it returns an error if they must not be written.
func (g *SpaceGuard) Take(n int) error {
	if g == nil || g.check == nil || g.left.Add(-int64(n)) >= 0 {
		return nil
	}
	g.left.Store(checkEvery)
	return g.check()
}

// Sink returns a sink that writes to s and guards every write.
func (g *SpaceGuard) Sink(s Sink) Sink { return guardedSink{s, g} }

type guardedSink struct {
	sink  Sink
	guard *SpaceGuard
}

func (s guardedSink) Append(key string) (io.WriteCloser, error) {
	w, err := s.sink.Append(key)
	if err != nil {
		return nil, err
	}
	return guardedWriter{w, s.guard}, nil
}

func (s guardedSink) Scratch() (Scratch, error) {
	f, err := s.sink.Scratch()
	if err != nil {
		return nil, err
	}
	return guardedScratch{f, s.guard}, nil
}

type guardedWriter struct {
	io.WriteCloser

	guard *SpaceGuard
}

func (w guardedWriter) Write(p []byte) (int, error) {
	if err := w.guard.Take(len(p)); err != nil {
		return 0, err
	}
	return w.WriteCloser.Write(p)
}

type guardedScratch struct {
	Scratch

	guard *SpaceGuard
}

func (s guardedScratch) WriteAt(p []byte, off int64) (int, error) {
	if err := s.guard.Take(len(p)); err != nil {
		return 0, err
	}
	return s.Scratch.WriteAt(p, off)
}

// Scratch returns a scratch file that writes to s and guards every write.
func (g *SpaceGuard) Scratch(s Scratch) Scratch { return guardedScratch{s, g} }

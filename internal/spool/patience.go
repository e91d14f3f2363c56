package spool

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/syncflow/textegress/segment"
)

// localSource is a segment in the spool.
type localSource struct {
	segment.Source
	// silent counts the abandoned reads of this segment's file over all readers.
	silent *atomic.Int32
}

// maxSilence is the longest time that one read of a segment may take. A mount whose server is gone
// never answers, and such a read cannot be cancelled: it is abandoned, and the caller continues.
const maxSilence = 2 * time.Minute

// patient returns a segment.Source for seg whose reads end after maxSilence or when ctx ends. While
// a read that exceeded maxSilence has not returned, the segment cannot be opened again.
func patient(ctx context.Context, seg localSource) segment.Source {
	out := seg.Source
	out.Open = func() (io.ReadCloser, error) {
		if seg.silent.Load() > 0 {
			return nil, silentError(seg.Name)
		}
		f := &patientFile{ctx: ctx, seg: seg}
		var err error
		f.r, err = await(ctx, seg, seg.Open, func(r io.ReadCloser) {
			if r != nil {
				_ = r.Close() // only read
			}
		})
		if err != nil {
			return nil, err
		}
		if s, ok := f.r.(io.Seeker); ok {
			return seekableFile{f, s}, nil
		}
		return f, nil
	}
	return out
}

func silentError(name string) error {
	return fmt.Errorf("the disk has not answered for %v while reading %s: check the disk or the "+
		"mount; delivery of this recording waits, others continue", maxSilence, name)
}

// The ways in which a read ends.
const (
	returned  = iota + 1 // in time
	leftAlone            // ctx ended first, which says nothing about the disk
	silent               // too late
)

// await calls f and returns its result, or an error if f takes too long or ctx ends first. After
// such an error, await passes the result of f to late once f returns.
func await[T any](ctx context.Context, seg localSource, f func() (T, error),
	late func(T),
) (T, error) {
	type result struct {
		v   T
		err error
	}
	var ended atomic.Int32 // set once, by the first of f, ctx and the timer
	done := make(chan result, 1)
	go func() {
		v, err := f()
		if ended.CompareAndSwap(0, returned) {
			done <- result{v, err}
			return
		}
		late(v)
		if ended.Load() == silent {
			seg.silent.Add(-1)
		}
	}()
	t := time.NewTimer(maxSilence)
	defer t.Stop()
	var none T
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		if ended.CompareAndSwap(0, leftAlone) {
			return none, context.Cause(ctx)
		}
	case <-t.C:
		seg.silent.Add(1)
		if ended.CompareAndSwap(0, silent) {
			return none, silentError(seg.Name)
		}
		seg.silent.Add(-1)
	}
	r := <-done
	return r.v, r.err
}

// patientFile reads a file in separate goroutines.
type patientFile struct {
	ctx  context.Context
	seg  localSource
	r    io.ReadCloser // nil after an abandoned read, whose goroutine owns it
	buf  []byte        // the buffer of the reading goroutine
	lost error
}

// Read implements [io.Reader].
func (f *patientFile) Read(p []byte) (int, error) {
	if f.lost != nil {
		return 0, f.lost
	}
	if len(f.buf) < len(p) {
		f.buf = make([]byte, len(p))
	}
	r, buf := f.r, f.buf[:len(p)]
	got, err := await(f.ctx, f.seg, func() (read, error) {
		n, err := r.Read(buf)
		return read{n, err}, nil
	}, func(read) { _ = r.Close() })
	if err != nil {
		f.lost, f.r, f.buf = err, nil, nil
		return 0, err
	}
	return copy(p, buf[:got.n]), got.err
}

// seekableFile can be read from any offset.
type seekableFile struct {
	*patientFile
	io.Seeker
}

type read struct {
	n   int
	err error
}

// Close implements [io.Closer].
func (f *patientFile) Close() error {
	if f.r == nil {
		return nil // the abandoned read closes it
	}
	return f.r.Close()
}

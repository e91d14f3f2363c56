package s3

import (
	"context"
	"errors"
	"io"
	"time"
)

var errStalled = errors.New("nothing was sent or received for too long")

// watchdog ends a call that makes no progress. A deadline for the whole call would rule out large
// objects on slow lines.
type watchdog struct {
	timer  *time.Timer
	d      time.Duration
	ctx    context.Context // of the call
	cancel context.CancelCauseFunc
}

// slowest is the minimum expected rate, in bytes per second, at which a body reaches the store
// after all of it was passed to the network. Buffers on this machine and in proxies may hold the
// whole body, and no progress is visible while they drain.
const slowest = 16 << 10

// watch returns the context and the watchdog for one call. The caller stops the watchdog after the
// call.
func watch(ctx context.Context, d time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watchdog{
		timer: time.AfterFunc(d, func() { cancel(errStalled) }), d: d, ctx: ctx,
		cancel: cancel,
	}
}

// explain returns errStalled if the watchdog caused err, and err otherwise.
func (w *watchdog) explain(err error) error {
	if errors.Is(context.Cause(w.ctx), errStalled) {
		return errStalled
	}
	return err
}

func (w *watchdog) progress() { w.timer.Reset(w.d) }

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// body returns r wrapped so that every read counts as progress. The transport reads more only when
// the network accepts more.
func (w *watchdog) body(r io.ReadSeeker) io.ReadSeeker { return &watchedBody{ReadSeeker: r, w: w} }

type watchedBody struct {
	io.ReadSeeker
	w    *watchdog
	sent int64 // bytes
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.w.progress()
	n, err := b.ReadSeeker.Read(p)
	b.sent += int64(n)
	switch {
	case err == io.EOF:
		b.w.timer.Reset(b.w.d + time.Duration(b.sent)*time.Second/slowest)
	case err != nil:
		err = &contentError{err}
	}
	return n, err
}

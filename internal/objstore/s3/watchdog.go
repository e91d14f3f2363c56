package s3

import (
	"context"
	"errors"
	"io"
	"time"
)

var errStalled = errors.New("nothing was sent or received for too long")

// watchdog ends a call in which nothing moves. A deadline for the whole call would forbid large
// objects on slow lines.
type watchdog struct {
	timer  *time.Timer
	d      time.Duration
	ctx    context.Context // of the call
	cancel context.CancelCauseFunc
}

// slowest is the rate in bytes a second at which a body is supposed to reach the store at least,
// once all of it was handed to the network: buffers here and in proxies on the way may hold all of
// it, and while they drain nothing is seen to move.
const slowest = 16 << 10

// watch returns the context for one call. The caller stops the watchdog when the call is over.
func watch(ctx context.Context, d time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watchdog{
		timer: time.AfterFunc(d, func() { cancel(errStalled) }), d: d, ctx: ctx,
		cancel: cancel,
	}
}

// explain returns the reason for err where the watchdog was it.
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

// body returns r with every read of it counting as progress: the transport reads on only when the
// network takes more.
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

package s3

import (
	"context"
	"errors"
	"io"
	"time"
)

var errStalled = errors.New("nothing was sent or received for too long")

// watchdog ends a call in which nothing moves. A deadline for the whole call would forbid large objects on slow lines.
type watchdog struct {
	timer  *time.Timer
	d      time.Duration
	cancel context.CancelCauseFunc
}

// watch returns the context for one call. The caller stops the watchdog when the call is over.
func watch(ctx context.Context, d time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watchdog{timer: time.AfterFunc(d, func() { cancel(errStalled) }), d: d, cancel: cancel}
}

func (w *watchdog) progress() { w.timer.Reset(w.d) }

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// body returns r with every read of it counting as progress: the transport reads on only when the network takes more.
func (w *watchdog) body(r io.ReadSeeker) io.ReadSeeker { return &watchedBody{r, w} }

type watchedBody struct {
	io.ReadSeeker
	w *watchdog
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.w.progress()
	n, err := b.ReadSeeker.Read(p)
	if err != nil && err != io.EOF {
		err = &contentError{err}
	}
	return n, err
}

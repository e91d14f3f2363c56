// Package retry decorates a bucket so that transient errors of one call are retried a few times. It
// bridges a dropped connection or a throttled second; waiting for a store that is down for longer
// is its caller's business.
package retry

import (
	"context"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/syncflow/textegress/internal/objstore"
)

// Options tunes [New]. Zero values are replaced by the defaults in brackets.
type Options struct {
	Attempts int // calls altogether, including the first one [4]
	// longest pause after the first failed call, doubled after each further one [500ms]
	Base time.Duration
	Max  time.Duration // longest pause of all [10s]
	// OnRetry, if not nil, is told before each pause. err may contain the key, see
	// objstore.Redacted.
	OnRetry func(op string, err error, pause time.Duration)
}

// Delay returns the pause after the given number of failed attempts (1, 2, 3, …): base doubled each
// time and at most limit, of which a random part between a half and the whole is taken, so that
// clients that failed together do not come back together.
func Delay(base, limit time.Duration, failed int) time.Duration {
	d := limit
	if shift := failed - 1; shift < 30 && base<<shift < limit {
		d = base << shift
	}
	return d/2 + rand.N(d/2+1)
}

type bucket struct {
	objstore.Bucket
	o Options
}

// New returns b with retries. Errors which b calls permanent or not found are returned at once, as
// is the context's.
func New(b objstore.Bucket, o Options) objstore.Bucket {
	if o.Attempts <= 0 {
		o.Attempts = 4
	}
	if o.Base <= 0 {
		o.Base = 500 * time.Millisecond
	}
	if o.Max <= 0 {
		o.Max = 10 * time.Second
	}
	return &bucket{b, o}
}

func (b *bucket) do(ctx context.Context, op string, call func() error) error {
	for attempt := 1; ; attempt++ {
		err := call()
		if err == nil || attempt >= b.o.Attempts || ctx.Err() != nil || b.IsNotFound(err) ||
			b.IsPermanent(err) {
			return err
		}
		pause := Delay(b.o.Base, b.o.Max, attempt)
		wanted := objstore.RetryAfter(err)
		if wanted > b.o.Max {
			return err // longer than a call should take; the caller's business
		}
		pause = max(pause, wanted)
		if b.o.OnRetry != nil {
			b.o.OnRetry(op, err, pause)
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return err // says more than the context's error
		case <-t.C:
		}
	}
}

// Upload implements [objstore.Bucket]. An attempt that failed may have been stored; repeating it
// stores the same bytes.
func (b *bucket) Upload(ctx context.Context, key string, o objstore.Object) error {
	return b.do(ctx, "upload", func() error { return b.Bucket.Upload(ctx, key, o) })
}

func (b *bucket) Stat(ctx context.Context, key string) (a objstore.Attrs, err error) {
	err = b.do(ctx, "stat", func() error { a, err = b.Bucket.Stat(ctx, key); return err })
	return a, err
}

// Open retries opening. A reader that breaks later is its caller's: part of the content has been
// seen already.
func (b *bucket) Open(ctx context.Context, key string) (r io.ReadCloser, err error) {
	err = b.do(ctx, "open", func() error { r, err = b.Bucket.Open(ctx, key); return err })
	return r, err
}

// List retries as long as nothing was yielded.
func (b *bucket) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attrs, error] {
	return func(yield func(objstore.Attrs, error) bool) {
		yielded, stopped := false, false
		err := b.do(ctx, "list", func() error {
			for a, err := range b.Bucket.List(ctx, prefix) {
				if err != nil {
					if !yielded {
						return err
					}
					stopped = !yield(objstore.Attrs{}, err)
					return nil
				}
				yielded = true
				if !yield(a, nil) {
					stopped = true
					return nil
				}
			}
			return nil
		})
		if err != nil && !stopped {
			yield(objstore.Attrs{}, err)
		}
	}
}

func (b *bucket) Delete(ctx context.Context, key string) error {
	return b.do(ctx, "delete", func() error { return b.Bucket.Delete(ctx, key) })
}

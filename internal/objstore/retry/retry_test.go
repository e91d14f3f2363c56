package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/mem"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/objstore/retry"
)

func TestConformance(t *testing.T) {
	objtest.Run(t, func(*testing.T) objstore.Bucket {
		return retry.New(mem.New("b", true), retry.Options{Base: time.Millisecond})
	}, objtest.Options{Checksums: true})
}

func TestTransientErrorsAreRetriedWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := mem.New("b", true)
		failures := 3
		inner.SetFault(func(string, string) *mem.Fault {
			if failures--; failures >= 0 {
				return &mem.Fault{Err: errors.New("503"), Applied: true}
			}
			return nil
		})
		var pauses []time.Duration
		b := retry.New(inner, retry.Options{
			Attempts: 4, Base: time.Second, Max: 3 * time.Second,
			OnRetry: func(_ string, _ error, d time.Duration) { pauses = append(pauses, d) },
		})
		start := time.Now()
		if err := b.Upload(t.Context(), "k", objstore.Bytes([]byte("x"), "")); err != nil {
			t.Fatalf("Upload: %v", err)
		}
		var sum time.Duration
		for i, limit := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second} {
			if pauses[i] < limit/2 || pauses[i] > limit {
				t.Errorf("pause %d is %v, want between %v and %v", i+1, pauses[i], limit/2, limit)
			}
			sum += pauses[i]
		}
		if waited := time.Since(start); waited != sum {
			t.Errorf("waited %v, announced %v", waited, sum)
		}
		if len(inner.Overwrites()) != 0 {
			t.Error("a repeated upload changed bytes")
		}
	})
}

func TestItGivesUp(t *testing.T) {
	transient := errors.New("503")
	for name, tc := range map[string]struct {
		err   error
		calls int
	}{
		"transient: after all attempts": {transient, 4},
		"permanent: at once": {
			&objstore.Error{Cause: "no such bucket", Permanent: true},
			1,
		},
		"not found: at once": {
			&objstore.Error{Cause: "no such object", NotFound: true},
			1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := mem.New("b", true)
				inner.SetFault(func(string, string) *mem.Fault { return &mem.Fault{Err: tc.err} })
				b := retry.New(inner, retry.Options{})
				for _, op := range []func() error{
					func() error { return b.Upload(t.Context(), "k", objstore.Bytes(nil, "")) },
					func() error { _, err := b.Stat(t.Context(), "k"); return err },
					func() error { _, err := b.Open(t.Context(), "k"); return err },
					func() error { return b.Delete(t.Context(), "k") },
					func() error {
						for _, err := range b.List(t.Context(), "k") {
							return err
						}
						return nil
					},
				} {
					inner.ResetCalls()
					if err := op(); err == nil {
						t.Error("no error")
					}
					if got := len(inner.Calls()); got != tc.calls {
						t.Errorf("%d calls %v, want %d", got, inner.Calls(), tc.calls)
					}
				}
			})
		})
	}
}

func TestItEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := mem.New("b", true)
		failed := errors.New("503")
		inner.SetFault(func(string, string) *mem.Fault { return &mem.Fault{Err: failed} })
		b := retry.New(inner, retry.Options{Attempts: 1000, Base: time.Minute, Max: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := b.Stat(ctx, "k"); !errors.Is(err, failed) {
			t.Errorf("Stat = %v, want the reason of the last attempt", err)
		}
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("returned after %v, want exactly the context's 5s", d)
		}
	})
}

func TestDelayStaysWithinItsLimit(t *testing.T) {
	for failed := 1; failed < 200; failed++ {
		if d := retry.Delay(time.Second, 5*time.Minute, failed); d < time.Second/2 ||
			d > 5*time.Minute {
			t.Fatalf("Delay after %d failures = %v", failed, d)
		}
	}
}

package backoff_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
)

func TestDelay(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		first, limit time.Duration
		failures     int
		want         time.Duration
	}{
		{s, time.Minute, 1, s},
		{s, time.Minute, 2, 2 * s},
		{s, time.Minute, 6, 32 * s},
		{s, time.Minute, 7, time.Minute},
		{s, time.Minute, math.MaxInt, time.Minute},
		{s, math.MaxInt64, 1000, math.MaxInt64}, // a doubling that overflows
		{s, time.Minute, 0, s},
		{s, time.Minute, -1, s},
		{time.Hour, time.Minute, 1, time.Minute},
		{0, time.Minute, 9, 0},
		{-s, time.Minute, 9, 0},
	} {
		p := backoff.Policy{First: c.first, Max: c.limit, Jitter: backoff.None}
		if got := p.Delay(c.failures); got != c.want {
			t.Errorf("%v, %d failures: %v, want %v", p, c.failures, got, c.want)
		}
	}
}

func TestJitter(t *testing.T) {
	const longest = 1000
	for name, c := range map[string]struct {
		jitter    backoff.Jitter
		from, to  time.Duration
		different bool
	}{
		"none":  {backoff.None, longest, longest, false},
		"equal": {backoff.Equal, longest / 2, longest, true},
		"full":  {backoff.Full, 0, longest, true},
		"nil":   {nil, longest / 2, longest, true},
	} {
		p := backoff.Policy{First: 1, Max: longest, Jitter: c.jitter}
		seen := map[time.Duration]bool{}
		for range 2000 {
			d := p.Delay(99)
			if d < c.from || d > c.to {
				t.Fatalf("%s: %d is not in %d..%d", name, d, c.from, c.to)
			}
			seen[d] = true
		}
		if c.different != (len(seen) > 100) {
			t.Errorf("%s: %d different pauses", name, len(seen))
		}
		for _, d := range []time.Duration{0, 1} { // what rand.N could refuse
			p := backoff.Policy{First: d, Max: d, Jitter: c.jitter}
			if got := p.Delay(1); got < 0 || got > d {
				t.Errorf("%s of %d: %d", name, d, got)
			}
		}
	}
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff.New(backoff.Policy{
			First: time.Second, Max: 3 * time.Second, Jitter: backoff.None,
		})
		wait := func(want time.Duration) {
			t.Helper()
			start := time.Now()
			if err := b.Wait(t.Context()); err != nil || time.Since(start) != want {
				t.Errorf("waited %v (%v), want %v", time.Since(start), err, want)
			}
		}
		wait(time.Second)
		wait(2 * time.Second)
		wait(3 * time.Second)
		wait(3 * time.Second)
		if b.Failures() != 4 {
			t.Errorf("%d failures, want 4", b.Failures())
		}
		b.Reset()
		wait(time.Second)
	})
}

func TestSleepEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("stopped")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		start := time.Now()
		if err := backoff.Sleep(ctx, time.Hour); !errors.Is(err, cause) {
			t.Errorf("got %v, want %v", err, cause)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("waited %v, want 1s", d)
		}
	})
}

// Package backoff is how long to wait between two tries of what failed: exponentially longer up to
// a limit, with a random part so that clients that failed together do not come back together.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Jitter picks the pause out of the longest one allowed. [None] makes a test deterministic.
type Jitter func(longest time.Duration) time.Duration

// None waits for the whole pause.
func None(longest time.Duration) time.Duration { return longest }

// Equal picks a pause between a half of the longest and the whole.
func Equal(longest time.Duration) time.Duration { return longest/2 + rand.N(longest-longest/2+1) }

// Full picks a pause between nothing and the longest; it spreads best, and may not wait at all.
func Full(longest time.Duration) time.Duration { return rand.N(longest + 1) }

// Policy gives the pause after a number of failures in a row.
type Policy struct {
	First  time.Duration // after the first failure; doubled after each further one
	Max    time.Duration // the longest pause
	Jitter Jitter        // nil: [Equal]
}

// Delay returns the pause after that many failures in a row. Fewer than one count as one.
func (p Policy) Delay(failures int) time.Duration {
	d := max(0, min(p.First, p.Max))
	for n := 1; n < failures && d > 0 && d < p.Max; n++ {
		if d *= 2; d <= 0 || d > p.Max { // it may have overflowed
			d = p.Max
		}
	}
	if p.Jitter == nil {
		return Equal(d)
	}
	return p.Jitter(d)
}

// Backoff counts failures in a row. Its policy can be changed between two calls; the zero count is
// no failure. It belongs to one goroutine.
type Backoff struct {
	Policy

	failures int
}

// New returns a backoff without failures.
func New(p Policy) *Backoff { return &Backoff{Policy: p} }

// Next counts a failure and returns the pause after it.
func (b *Backoff) Next() time.Duration {
	b.failures++
	return b.Delay(b.failures)
}

// Failures returns how many were counted since the last [Backoff.Reset].
func (b *Backoff) Failures() int { return b.failures }

// Reset forgets the failures: the next pause is the first again.
func (b *Backoff) Reset() { b.failures = 0 }

// Wait counts a failure and waits for the pause after it, see [Sleep].
func (b *Backoff) Wait(ctx context.Context) error { return Sleep(ctx, b.Next()) }

// Sleep waits for d. It returns early with the cause of ctx's end.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

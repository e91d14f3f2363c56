// Package backoff computes the pauses between retries. They grow exponentially up to a limit, with
// jitter, so that clients that failed together do not retry together.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Jitter picks a pause of at most longest. [None] makes a test deterministic.
type Jitter func(longest time.Duration) time.Duration

// None returns longest itself.
func None(longest time.Duration) time.Duration { return longest }

// Equal picks a pause between half of longest and longest.
func Equal(longest time.Duration) time.Duration { return longest/2 + rand.N(longest-longest/2+1) }

// Full picks a pause between 0 and longest. It spreads retries best; the pause may be 0.
func Full(longest time.Duration) time.Duration { return rand.N(longest + 1) }

// Policy determines the pause after a number of consecutive failures.
type Policy struct {
	First  time.Duration // after the first failure; doubles with each further one
	Max    time.Duration // the longest pause
	Jitter Jitter        // nil: [Equal]
}

// Delay returns the pause after the given number of consecutive failures. A number below 1 counts
// as 1.
func (p Policy) Delay(failures int) time.Duration {
	d := max(0, min(p.First, p.Max))
	for n := 1; n < failures && d > 0 && d < p.Max; n++ {
		if d *= 2; d <= 0 || d > p.Max { // d may have overflowed
			d = p.Max
		}
	}
	if p.Jitter == nil {
		return Equal(d)
	}
	return p.Jitter(d)
}

// Backoff counts consecutive failures. Its policy may be changed between calls. It is not safe for
// concurrent use.
type Backoff struct {
	Policy

	failures int
}

// New returns a Backoff that has counted no failure.
func New(p Policy) *Backoff { return &Backoff{Policy: p} }

// Next counts a failure and returns the pause after it.
func (b *Backoff) Next() time.Duration {
	b.failures++
	return b.Delay(b.failures)
}

// Failures returns the number of failures since the last [Backoff.Reset].
func (b *Backoff) Failures() int { return b.failures }

// Reset sets the count to zero. The next pause is then the first one again.
func (b *Backoff) Reset() { b.failures = 0 }

// Wait counts a failure and waits for the pause after it, see [Sleep].
func (b *Backoff) Wait(ctx context.Context) error { return Sleep(ctx, b.Next()) }

// Sleep waits for d. If ctx ends first, it returns the cause.
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

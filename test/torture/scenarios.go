package torture

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Scenarios returns all scenarios.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "kill", Run: killAtRandom},
		{Name: "states", Run: killBetweenStates},
		{Name: "freeze-12s", Run: frozenFor(12 * time.Second), Check: nothingMissed},
		{Name: "freeze-25s", Run: frozenFor(25 * time.Second), Check: outageStated},
		{Name: "burst", Run: burstThenDelete},
		{Name: "pair", Pair: true, Run: pair, Check: nothingMissedByBoth},
		diskFull(),
		{Name: "livekit", Alone: true, Run: liveKitDies},
		{Name: "broker", Alone: true, Run: brokerDies},
		{Name: "s3", Run: storeDies},
		{Name: "syncflow", Alone: true, Run: apiDies},
		{Name: "network", Alone: true, Run: badNetwork},
		pooled(1), pooled(2), pooled(3), pooled(4), pooled(5), pooled(6),
		{Name: "pool-full", Alone: true, Run: fifth},
		{Name: "everything", Alone: true, LongOnly: true, Run: everything},
	}
}

// pick returns short in tests and long in `make torture`.
func pick[T any](w *World, short, long T) T {
	if w.harness.Long {
		return long
	}
	return short
}

// between returns a random duration.
func (w *World) between(a, b time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return a + time.Duration(w.rng.Int64N(int64(b-a)))
}

func (w *World) chance(p float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.Float64() < p
}

// classes runs sessions one after the other in each of several concurrent lanes, until do returns.
// In every other session the senders start before the recorder is in the room.
func (w *World) classes(ctx context.Context, lanes int, shortest, longest time.Duration,
	do func() error,
) error {
	over := make(chan struct{})
	var wg sync.WaitGroup
	errs := make([]error, lanes)
	for i := range lanes {
		wg.Go(func() { errs[i] = w.lane(ctx, i, shortest, longest, over) })
	}
	err := do()
	close(over)
	wg.Wait()
	return errors.Join(append(errs, err)...)
}

func (w *World) lane(ctx context.Context, lane int, shortest, longest time.Duration,
	over <-chan struct{},
) error {
	for n := lane; ; n++ {
		s, err := w.begin(ctx, n%2 == 1)
		if err != nil {
			return err
		}
		last := false
		select {
		case <-time.After(w.between(shortest, longest)):
		case <-over:
			last = true
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.end(ctx); err != nil || last {
			return err
		}
	}
}

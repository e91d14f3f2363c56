package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
)

// Drain delivers the recordings that are sealed now, retrying until ctx ends. Deliveries that need
// operator action are tried once. Drain works with and without a concurrent Run. The error says how
// much is left and why.
func (d *Dispatcher) Drain(ctx context.Context) error {
	d.scan()
	d.mu.Lock()
	clear(d.backoffs)
	byProject := map[string][]*job{}
	for _, j := range d.jobs {
		j.next = time.Time{}
		p := j.rec.Info().ProjectID
		byProject[p] = append(byProject[p], j)
	}
	d.mu.Unlock()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		left int
		last error
	)
	for project, jobs := range byProject {
		wg.Go(func() {
			n, err := d.drain(ctx, project, jobs)
			mu.Lock()
			defer mu.Unlock()
			if left += n; n > 0 {
				last = err
			}
		})
	}
	wg.Wait()
	if left > 0 {
		return &stepError{fmt.Sprintf("%d recordings are not delivered yet", left), last}
	}
	return nil
}

// drain returns how many jobs of one project are left, and the last error.
func (d *Dispatcher) drain(ctx context.Context, project string, jobs []*job) (left int,
	last error,
) {
	for ctx.Err() == nil {
		// A concurrent Run may have delivered some of them.
		jobs = slices.DeleteFunc(jobs, func(j *job) bool { return !isPending(j.rec) })
		if len(jobs) == 0 {
			return left, last
		}
		d.mu.Lock()
		j, wait := d.choose(project, slices.Values(jobs))
		d.mu.Unlock()
		if j == nil {
			_ = backoff.Sleep(ctx, wait)
			continue
		}
		err := d.attempt(ctx, j)
		if err != nil {
			last = err
		}
		if err == nil || isPermanent(err) {
			jobs = slices.DeleteFunc(jobs, func(other *job) bool { return other == j })
		}
		if err != nil && isPermanent(err) {
			left++
			if _, bucketFails := errors.AsType[bucketError](err); bucketFails {
				break // the others would fail in the same way
			}
		}
	}
	if last == nil && len(jobs) > 0 {
		last = context.Cause(ctx)
	}
	return left + len(jobs), last
}

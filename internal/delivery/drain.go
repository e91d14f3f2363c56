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

// Drain delivers what is sealed now, trying again and again until ctx ends. What fails in a way
// that needs a person is tried once. It works while Run does, and without it. The error says how
// much is left and why.
func (u *Dispatcher) Drain(ctx context.Context) error {
	u.scan()
	u.mu.Lock()
	clear(u.outages)
	byProject := map[string][]*job{}
	for _, j := range u.jobs {
		j.next = time.Time{}
		p := j.rec.Info().ProjectID
		byProject[p] = append(byProject[p], j)
	}
	u.mu.Unlock()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		left int
		last error
	)
	for project, jobs := range byProject {
		wg.Go(func() {
			n, err := u.drain(ctx, project, jobs)
			mu.Lock()
			defer mu.Unlock()
			if left += n; n > 0 {
				last = err
			}
		})
	}
	wg.Wait()
	if left > 0 {
		return fmt.Errorf("%d recordings are not delivered yet: %s", left, errorText(last))
	}
	return nil
}

// drain returns how many jobs of one project are left, and the last error.
func (u *Dispatcher) drain(ctx context.Context, project string, jobs []*job) (left int, last error) {
	for ctx.Err() == nil {
		// Run delivers some of them meanwhile.
		jobs = slices.DeleteFunc(jobs, func(j *job) bool { return !isPending(j.rec) })
		if len(jobs) == 0 {
			return left, last
		}
		u.mu.Lock()
		j, wait := u.choose(project, slices.Values(jobs))
		u.mu.Unlock()
		if j == nil {
			_ = backoff.Sleep(ctx, wait)
			continue
		}
		err := u.attempt(ctx, j)
		if err != nil {
			last = err
		}
		if err == nil || isPermanent(err) {
			jobs = slices.DeleteFunc(jobs, func(other *job) bool { return other == j })
		}
		if err != nil && isPermanent(err) {
			left++
			if _, down := errors.AsType[bucketDown](err); down {
				break // the others would hear the same
			}
		}
	}
	if last == nil && len(jobs) > 0 {
		last = context.Cause(ctx)
	}
	return left + len(jobs), last
}

package delivery

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/objstore"
)

const (
	maxDelay = 5 * time.Minute // even if the store requests a longer wait
	logEvery = 5 * time.Minute // for an error whose text stays the same
)

// pauses between two attempts, of a recording and of a bucket.
var pauses = backoff.Policy{First: time.Second, Max: maxDelay}

// bucketBackoff exists while the bucket of a project fails. The waiting recordings take turns in
// retrying; once one is delivered, all of them are due.
type bucketBackoff struct {
	failures int // in a row, of any recording
	next     time.Time
}

// nextDue returns a job of the project that is due, or how long to wait for one.
func (d *Dispatcher) nextDue(project string) (*job, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.choose(project, maps.Values(d.jobs))
}

// choose returns the job to try now, or how long to wait for one. The oldest comes first. While the
// bucket fails, the least recently tried comes first: a recording that fails by itself must not
// block the others. d.mu is held.
func (d *Dispatcher) choose(project string, jobs iter.Seq[*job]) (*job, time.Duration) {
	bucket := d.backoffs[project]
	if bucket != nil {
		if wait := time.Until(bucket.next); wait > 0 {
			return nil, min(wait, d.o.Rescan)
		}
	}
	before := func(a, b *job) bool {
		if bucket != nil && !a.lastFailed.Equal(b.lastFailed) {
			return a.lastFailed.Before(b.lastFailed)
		}
		x, y := a.rec.Info(), b.rec.Info()
		return cmp.Or(cmp.Compare(x.CreatedUnixNS, y.CreatedUnixNS),
			cmp.Compare(x.EgressID, y.EgressID)) < 0
	}
	wait := d.o.Rescan
	var found *job
	for j := range jobs {
		if j.rec.Info().ProjectID != project {
			continue
		}
		if left := time.Until(j.next); left > 0 {
			wait = min(wait, left)
		} else if found == nil || before(j, found) {
			found = j
		}
	}
	return found, wait
}

// attempt makes one attempt to deliver a recording and accounts for the result. It returns nil if
// the recording is delivered, by this or another attempt.
func (d *Dispatcher) attempt(ctx context.Context, j *job) error {
	if err := j.lock(ctx); err != nil {
		return err
	}
	defer j.unlock()
	if j.replaced {
		return nil
	}
	if isPending(j.rec) {
		err := d.deliverSafely(ctx, j)
		if err != nil && ctx.Err() != nil {
			return err // the dispatcher stops; this is not a failure of the bucket
		}
		if err != nil {
			d.failed(j, err)
			return err
		}
	}
	d.delivered(j)
	return nil
}

// delivered removes a job. The project's bucket works, so the jobs that wait for it are due.
func (d *Dispatcher) delivered(j *job) {
	project := j.rec.Info().ProjectID
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.jobs, j.rec.ID())
	failed := d.backoffs[project] != nil
	delete(d.backoffs, project)
	for _, other := range d.jobs {
		if !other.bucketFailed || other.rec.Info().ProjectID != project {
			continue
		}
		if failed {
			other.next = time.Time{}
		}
		other.failing = other.failing && !other.untried
	}
}

// failed schedules the next attempt. Retries continue indefinitely.
func (d *Dispatcher) failed(j *job, err error) {
	permanent := isPermanent(err)
	text := errorText(err)
	now := time.Now()

	d.mu.Lock()
	j.failures++
	// Permanent errors have the same pauses: new keys, policies and clocks take effect within
	// seconds.
	delay := pause(j.failures, err)
	j.next = now.Add(delay)
	if j.bucketFailed = isBucketError(err); j.bucketFailed {
		project := j.rec.Info().ProjectID
		bucket := d.backoffs[project]
		if bucket == nil {
			bucket = &bucketBackoff{}
			d.backoffs[project] = bucket
		}
		bucket.failures++
		bucket.next = now.Add(pause(bucket.failures, err))
	}
	if j.failures == 1 {
		j.since = now
	}
	_, j.untried = errors.AsType[bucketError](err)
	j.lastFailed, j.failing, j.permanent = now, true, permanent
	report := text != j.lastError || now.Sub(j.lastLogged) >= logEvery
	j.lastError = text
	if report {
		j.lastLogged = now
	}
	failures := j.failures
	d.mu.Unlock()

	result, level := resultError, slog.LevelWarn
	if permanent {
		result, level = resultPermanent, slog.LevelError
	}
	d.metrics.uploads.WithLabelValues(result).Inc()
	if report {
		d.logger(j).Log(context.Background(), level, "recording is not delivered yet", "error",
			text, "failures", failures, "next_attempt_in", delay)
	}
}

// pause returns how long to wait after the given number of failures in a row; err is the last one.
func pause(failures int, err error) time.Duration {
	return max(pauses.Delay(failures), min(objstore.RetryAfter(err), maxDelay))
}

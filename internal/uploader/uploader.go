// Package uploader delivers sealed recordings to the buckets of their projects.
//
// Its queue is the disk: what is to be done follows from the state of the recordings in the spool, at any time and after
// any crash. For each recording:
//
//  1. derive the objects into the staging directory (package export);
//  2. freeze durably what will be delivered: export.json, every key with size and SHA-256;
//  3. upload and verify each object, the manifest last, when all others are verified;
//  4. write uploaded.json durably;
//  5. when the retention time has passed, remove the local data.
//
// What holds whatever happens in between: nothing is uploaded that was not frozen before; an object that was verified is
// never written again; local data is removed only after every object was verified in the bucket, by the store's own
// checksum where it computes one and by reading back elsewhere; repeating any step is harmless. A key that holds other
// bytes is never overwritten, unless this very process found it empty and put them there in an attempt that went wrong:
// the recording is then delivered as its next revision, under a prefix of its own. The same happens where the frozen
// bytes cannot be derived again, because the exporter or the segments have changed.
package uploader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncflow/textegress/internal/export"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/retry"
	"github.com/syncflow/textegress/internal/spool"
)

// Options of [New].
type Options struct {
	Spool *spool.Spool
	// BucketFor returns where the recordings of a project are delivered. It is asked for each attempt. An error means that
	// the project has none now; its recordings wait.
	BucketFor func(projectID string) (objstore.Bucket, error)
	// Retention is how long the local data of a delivered recording is kept; 0 removes it at the next scan, a negative one
	// never does.
	Retention time.Duration
	// Forget is how long after its delivery the small state files of a removed recording are kept [30 days].
	Forget time.Duration
	// Rescan is how often the spool is looked at without a [Uploader.Wake] [30s].
	Rescan     time.Duration
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Exporter is written to manifests [export.Version].
	Exporter string
}

const (
	minDelay = time.Second
	maxDelay = 5 * time.Minute // also the one after an error that needs a person
	logEvery = 5 * time.Minute // of an error that goes on with the same text
)

// Uploader delivers recordings. Create it with [New].
type Uploader struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{}

	mu      sync.Mutex // guards the fields below and those of jobs; never held over I/O
	jobs    map[string]*job
	workers map[string]chan struct{} // by project; a send wakes the worker
}

// New returns an uploader. Nothing happens before [Uploader.Run] or [Uploader.Drain].
func New(o Options) *Uploader {
	if o.Forget == 0 {
		o.Forget = 30 * 24 * time.Hour
	}
	if o.Rescan <= 0 {
		o.Rescan = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Exporter == "" {
		o.Exporter = export.Version
	}
	u := &Uploader{
		o: o, log: o.Logger.With("component", "uploader"), wake: make(chan struct{}, 1),
		jobs: map[string]*job{}, workers: map[string]chan struct{}{},
	}
	u.metrics = newMetrics(o.Registerer, u)
	return u
}

// Wake hints that a recording was sealed, or that a setting was changed which may cure an error that needs a person. A
// hint that is lost costs no more than the time to the next scan.
func (u *Uploader) Wake() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends, then waits for what it has begun to stop and returns the cause. Each project has a worker
// of its own, so that a broken bucket delays no other. Run may be called again.
func (u *Uploader) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer func() {
		wg.Wait()
		u.mu.Lock()
		clear(u.workers)
		u.mu.Unlock()
	}()
	tick := time.NewTicker(u.o.Rescan)
	defer tick.Stop()
	woken := true
	for {
		u.scan(woken)
		u.startWorkers(ctx, &wg)
		u.removeOld(ctx)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-u.wake:
			woken = true
		case <-tick.C:
			woken = false
		}
	}
}

// job is one recording that is to be delivered.
type job struct {
	rec *spool.Recording

	busy chan struct{} // holds one value while somebody works at it, who owns the delivery
	delivery

	// Guarded by Uploader.mu.
	failures   int // in a row
	next       time.Time
	permanent  bool // the last failure needs a person
	lastError  string
	lastFailed time.Time
	lastLogged time.Time
	since      time.Time // of the first failure in a row
}

// scan makes jobs for the recordings that are to be delivered. woken makes those due at once whose error needs a person.
func (u *Uploader) scan(woken bool) {
	recordings := u.o.Spool.Recordings()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, rec := range recordings {
		if !isPending(rec) {
			continue
		}
		j := u.jobs[rec.ID()]
		if j == nil {
			j = &job{rec: rec, busy: make(chan struct{}, 1)}
			u.jobs[rec.ID()] = j
		}
		if woken && j.permanent {
			j.next = time.Time{}
		}
	}
}

func isPending(rec *spool.Recording) bool {
	s := rec.State()
	return s == spool.StateSealed || s == spool.StateExported
}

// startWorkers starts a worker for each project that has none, and wakes the others.
func (u *Uploader) startWorkers(ctx context.Context, wg *sync.WaitGroup) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, j := range u.jobs {
		project := j.rec.Info().ProjectID
		if w, ok := u.workers[project]; ok {
			select {
			case w <- struct{}{}:
			default:
			}
			continue
		}
		w := make(chan struct{}, 1)
		u.workers[project] = w
		wg.Go(func() { u.work(ctx, project, w) })
	}
}

// work delivers the recordings of one project, one at a time, the oldest that is due first.
func (u *Uploader) work(ctx context.Context, project string, wake <-chan struct{}) {
	for ctx.Err() == nil {
		j, wait := u.nextDue(project)
		if j != nil {
			_ = u.attempt(ctx, j) // accounts for its error itself
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// nextDue returns a job that is due, or how long to wait for one.
func (u *Uploader) nextDue(project string) (*job, time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	wait := u.o.Rescan
	var found *job
	for _, j := range u.jobs {
		if j.rec.Info().ProjectID != project {
			continue
		}
		if d := time.Until(j.next); d > 0 {
			wait = min(wait, d)
		} else if found == nil || j.rec.Info().CreatedUnixNS < found.rec.Info().CreatedUnixNS {
			found = j
		}
	}
	return found, wait
}

// attempt tries to deliver one recording once and accounts for the result. It returns nil when the recording is
// delivered, by whomever.
func (u *Uploader) attempt(ctx context.Context, j *job) error {
	select {
	case j.busy <- struct{}{}:
		defer func() { <-j.busy }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var err error
	if isPending(j.rec) {
		err = u.deliverSafely(ctx, j)
		if err != nil && ctx.Err() != nil {
			return err // we are stopping; this says nothing about the bucket
		}
	}
	if err != nil {
		u.failed(j, err)
		return err
	}
	u.mu.Lock()
	delete(u.jobs, j.rec.ID())
	u.mu.Unlock()
	return nil
}

// failed plans the next attempt. It never gives up.
func (u *Uploader) failed(j *job, err error) {
	permanent := isPermanent(err)
	text := redact(err)
	now := time.Now()
	u.mu.Lock()
	j.failures++
	j.permanent = permanent
	delay := maxDelay
	if !permanent {
		delay = retry.Delay(minDelay, maxDelay, j.failures)
	}
	j.next = now.Add(delay)
	if j.failures == 1 {
		j.since = now
	}
	j.lastFailed = now
	tell := text != j.lastError || now.Sub(j.lastLogged) >= logEvery
	j.lastError = text
	if tell {
		j.lastLogged = now
	}
	failures := j.failures
	u.mu.Unlock()

	result := resultError
	if permanent {
		result = resultPermanent
	}
	u.metrics.uploads.WithLabelValues(result).Inc()
	if tell {
		level := slog.LevelWarn
		if permanent {
			level = slog.LevelError
		}
		u.logger(j).Log(context.Background(), level, "recording is not delivered yet", "error", text, "failures", failures, "next_attempt_in", delay)
	}
}

func (u *Uploader) logger(j *job) *slog.Logger {
	i := j.rec.Info()
	return u.log.With("egress_id", i.EgressID, "session_id", i.SessionID, "room_name", fmt.Sprintf("%q", i.RoomName), "project_id", i.ProjectID)
}

// Drain delivers what is sealed now, trying again and again until ctx ends. What fails in a way that needs a person is
// tried once. It works while Run does, and without it. The error says how much is left and why.
func (u *Uploader) Drain(ctx context.Context) error {
	u.scan(true)
	u.mu.Lock()
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
	for _, jobs := range byProject {
		wg.Go(func() {
			n, err := u.drain(ctx, jobs)
			mu.Lock()
			defer mu.Unlock()
			if left += n; n > 0 {
				last = err
			}
		})
	}
	wg.Wait()
	if left > 0 {
		return fmt.Errorf("%d recordings are not delivered yet: %s", left, redact(last))
	}
	return nil
}

// drain returns how many jobs of one project are left, and the last error.
func (u *Uploader) drain(ctx context.Context, jobs []*job) (left int, last error) {
	slices.SortFunc(jobs, func(a, b *job) int { return int(a.rec.Info().CreatedUnixNS - b.rec.Info().CreatedUnixNS) })
	for len(jobs) > 0 && ctx.Err() == nil {
		wait := maxDelay
		var again []*job
		for _, j := range jobs {
			if d := u.untilDue(j); d > 0 {
				wait = min(wait, d)
				again = append(again, j)
				continue
			}
			err := u.attempt(ctx, j)
			switch {
			case err == nil:
			case isPermanent(err):
				left, last = left+1, err
			default:
				last = err
				again = append(again, j)
				wait = min(wait, max(u.untilDue(j), 0))
			}
		}
		if jobs = again; len(jobs) == 0 {
			break
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
	if last == nil && len(jobs) > 0 {
		last = context.Cause(ctx)
	}
	return left + len(jobs), last
}

func (u *Uploader) untilDue(j *job) time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	return time.Until(j.next)
}

// waitsForPerson marks an error that no retry cures.
type waitsForPerson struct{ error }

func (e waitsForPerson) Unwrap() error { return e.error }

func isPermanent(err error) bool {
	if _, ok := errors.AsType[waitsForPerson](err); ok {
		return true
	}
	// Not found is permanent for a store, but for us an object that has vanished is one to upload again.
	return objstore.IsPermanent(err) && !objstore.IsNotFound(err)
}

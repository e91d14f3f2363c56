// Package delivery delivers sealed recordings to the buckets of their projects.
//
// Its queue is the disk: what is to be done follows from the state of the recordings in the spool,
// at any time and after any crash. For each recording:
//
//  1. derive the objects into the staging directory (package export);
//  2. freeze durably what will be delivered: export.json, every key with size and SHA-256;
//  3. upload and verify each object, the manifest last, when all others are verified;
//  4. write uploaded.json durably;
//  5. when the retention time has passed, remove the local data.
//
// What holds whatever happens in between: nothing is uploaded that was not frozen before; an object
//
//	that was verified is never written again; local data is removed only after every object was
//	verified in the bucket, by the store's own checksum where it computes one and by reading back
//	elsewhere; repeating any step is harmless. A key that holds other bytes is never overwritten,
//	unless this very process found it empty and put them there in an attempt that went wrong: the
//	recording is then delivered as its next revision, under a prefix of its own. The same happens
//	where the frozen bytes cannot be derived again, because the exporter or the segments have
//	changed.
//
// How often a store is asked: the recordings of a project are delivered one after the other, so a
// project has one request under way, or two while the service stops. A store that fails is asked at
// growing intervals with a random part, up to maxDelay, by whichever recording's turn it is:
// hundreds that wait ask no more often than one. A store that names a time to wait (Retry-After) is
// given it, up to maxDelay. Attempts never end.
package delivery

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// Options of [New].
type Options struct {
	Spool    *spool.Spool
	Projects Projects
	// Retention is how long the local data of a delivered recording is kept; 0 removes it at the
	// next scan, a negative one never does.
	Retention time.Duration
	// Forget is how long after its delivery the small state files of a removed recording are kept
	// [30 days].
	Forget time.Duration
	// Rescan is how often the spool is looked at without a [Dispatcher.Wake] [30s].
	Rescan     time.Duration
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Exporter is written to manifests [render.Version].
	Exporter string
}

const (
	maxDelay = 5 * time.Minute // also where the store asks for more
	logEvery = 5 * time.Minute // of an error that goes on with the same text
)

// pauses between two attempts, of a recording and of a bucket.
var pauses = backoff.Policy{First: time.Second, Max: maxDelay}

// Dispatcher delivers recordings. Create it with [New].
type Dispatcher struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{}

	mu        sync.Mutex // guards the fields below and those of jobs; never held over I/O
	retention time.Duration
	jobs      map[string]*job
	workers   map[string]chan struct{} // by project; a send wakes the worker
	outages   map[string]*outage       // by project; none while its bucket works
}

// outage is a bucket that does not work just now. While it lasts, the recordings of the project
// that wait take turns in asking, so that hundreds of them ask no more often than one would; when
// one was delivered, all of them are due.
type outage struct {
	failures int // in a row, of whichever recording
	next     time.Time
}

// New returns an uploader. Nothing happens before [Dispatcher.Run] or [Dispatcher.Drain].
func New(o Options) *Dispatcher {
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
		o.Exporter = render.Version
	}
	u := &Dispatcher{
		o: o, log: o.Logger.With("component", "uploader"), wake: make(chan struct{}, 1),
		retention: o.Retention, jobs: map[string]*job{}, workers: map[string]chan struct{}{},
		outages: map[string]*outage{},
	}
	u.metrics = newMetrics(o.Registerer, u)
	return u
}

// Wake hints that a recording was sealed. A hint that is lost costs no more than the time to the
// next scan.
func (u *Dispatcher) Wake() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// Retry makes everything due at once that waits for the bucket of a project, for example because
// its settings were changed. An attempt that is under way goes on with the bucket that it began
// with.
func (u *Dispatcher) Retry(projectID string) {
	u.mu.Lock()
	delete(u.outages, projectID)
	for _, j := range u.jobs {
		if j.rec.Info().ProjectID == projectID {
			j.next = time.Time{}
		}
	}
	u.mu.Unlock()
	u.Wake()
}

// SetRetention replaces [Options.Retention] from the next scan on.
func (u *Dispatcher) SetRetention(d time.Duration) {
	u.mu.Lock()
	u.retention = d
	u.mu.Unlock()
	u.Wake()
}

// Run delivers until ctx ends, then waits for what it has begun to stop and returns the cause. Each
// project has a worker of its own, so that a broken bucket delays no other. Run may be called
// again.
func (u *Dispatcher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer func() {
		wg.Wait()
		u.mu.Lock()
		clear(u.workers)
		u.mu.Unlock()
	}()
	tick := time.NewTicker(u.o.Rescan)
	defer tick.Stop()
	for {
		u.scan()
		u.startWorkers(ctx, &wg)
		u.removeOld(ctx)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-u.wake:
		case <-tick.C:
		}
	}
}

// job is one recording that is to be delivered.
type job struct {
	rec *spool.Recording

	busy chan struct{} // holds one value while somebody works at it, who owns the delivery
	gone bool          // the recording was replaced; of whoever holds busy
	delivery

	// Guarded by Dispatcher.mu.
	failures   int // in a row
	next       time.Time
	outage     bool // the last failure was the bucket's
	down       bool // likewise, before anything of this recording was tried
	permanent  bool // the last failure needs a person
	failing    bool // the last failure is still true, as far as is known
	lastError  string
	lastFailed time.Time
	lastLogged time.Time
	since      time.Time // of the first failure in a row
}

// scan makes jobs for the recordings that are to be delivered.
func (u *Dispatcher) scan() {
	recordings := u.o.Spool.Recordings()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, rec := range recordings {
		if !isPending(rec) {
			continue
		}
		if u.jobs[rec.ID()] == nil {
			u.jobs[rec.ID()] = &job{rec: rec, busy: make(chan struct{}, 1)}
		}
	}
}

func isPending(rec *spool.Recording) bool {
	s := rec.State()
	return s == spool.StateSealed || s == spool.StateExported
}

// startWorkers starts a worker for each project that has none, and wakes the others.
func (u *Dispatcher) startWorkers(ctx context.Context, wg *sync.WaitGroup) {
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
func (u *Dispatcher) work(ctx context.Context, project string, wake <-chan struct{}) {
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

// nextDue returns a job of the project that is due, or how long to wait for one.
func (u *Dispatcher) nextDue(project string) (*job, time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.choose(project, maps.Values(u.jobs))
}

// choose returns the job among those of the project in jobs that is to be tried now, or how long to
// wait for one. The oldest comes first, or in an outage the one that was tried least recently: what
// fails by itself must not stand before the others. u.mu is held.
func (u *Dispatcher) choose(project string, jobs iter.Seq[*job]) (*job, time.Duration) {
	out := u.outages[project]
	if out != nil {
		if d := time.Until(out.next); d > 0 {
			return nil, min(d, u.o.Rescan)
		}
	}
	before := func(a, b *job) bool {
		if out != nil && !a.lastFailed.Equal(b.lastFailed) {
			return a.lastFailed.Before(b.lastFailed)
		}
		x, y := a.rec.Info(), b.rec.Info()
		return cmp.Or(cmp.Compare(x.CreatedUnixNS, y.CreatedUnixNS),
			cmp.Compare(x.EgressID, y.EgressID)) < 0
	}
	wait := u.o.Rescan
	var found *job
	for j := range jobs {
		if j.rec.Info().ProjectID != project {
			continue
		}
		if d := time.Until(j.next); d > 0 {
			wait = min(wait, d)
		} else if found == nil || before(j, found) {
			found = j
		}
	}
	return found, wait
}

// attempt tries to deliver one recording once and accounts for the result. It returns nil when the
// recording is delivered, by whomever.
func (u *Dispatcher) attempt(ctx context.Context, j *job) error {
	select {
	case j.busy <- struct{}{}:
		defer func() { <-j.busy }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if j.gone {
		return nil
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
	u.delivered(j)
	return nil
}

// delivered forgets a job. Its project's bucket works, so the others that waited for it are due.
func (u *Dispatcher) delivered(j *job) {
	project := j.rec.Info().ProjectID
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.jobs, j.rec.ID())
	outage := u.outages[project] != nil
	delete(u.outages, project)
	for _, other := range u.jobs {
		if !other.outage || other.rec.Info().ProjectID != project {
			continue
		}
		if outage {
			other.next = time.Time{}
		}
		other.failing = other.failing && !other.down
	}
}

// failed plans the next attempt. It never gives up.
func (u *Dispatcher) failed(j *job, err error) {
	permanent := isPermanent(err)
	text := errorText(err)
	now := time.Now()
	u.mu.Lock()
	j.failures++
	j.outage = isOutage(err)
	// A refusal that needs a person grows no faster: new keys, policies and clocks heal within
	// seconds.
	delay := pause(j.failures, err)
	j.next = now.Add(delay)
	if j.outage {
		project := j.rec.Info().ProjectID
		out := u.outages[project]
		if out == nil {
			out = &outage{}
			u.outages[project] = out
		}
		out.failures++
		out.next = now.Add(pause(out.failures, err))
	}
	if j.failures == 1 {
		j.since = now
	}
	_, down := errors.AsType[bucketDown](err)
	j.lastFailed, j.failing, j.down, j.permanent = now, true, down, permanent
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
		u.logger(j).Log(context.Background(), level, "recording is not delivered yet", "error",
			text, "failures", failures, "next_attempt_in", delay)
	}
}

// pause returns how long to wait after so many failures in a row, of which err is the last.
func pause(failures int, err error) time.Duration {
	return max(pauses.Delay(failures), min(objstore.RetryAfter(err), maxDelay))
}

func (u *Dispatcher) logger(j *job) *slog.Logger {
	i := j.rec.Info()
	return u.log.With("egress_id", i.EgressID, "session_id", i.SessionID, "room", i.RoomName,
		"project_id", i.ProjectID)
}

// Package delivery delivers sealed recordings to the buckets of their projects.
//
// Its queue is the disk: what remains to be done follows from the state of the recordings in the
// spool, at any time and after any crash. For each recording:
//
//  1. render the objects into the staging directory (package render);
//  2. write the [Plan] durably: every key with size and SHA-256;
//  3. upload and verify each object, the manifest last, when all others are verified;
//  4. write uploaded.json durably;
//  5. remove the local data once the retention time has passed.
//
// These guarantees hold whatever fails in between. Only objects of a durable plan are uploaded. A
// verified object is never written again. Local data is removed only after every object was
// verified in the bucket: by the checksum that the store computed or, if it computes none, by
// reading the object back. Every step can be repeated. A key that holds other bytes is not
// overwritten, unless this process found it free and wrote the bytes itself in a failed attempt;
// instead, the recording is delivered as its next revision, under a prefix of its own. The next
// revision also starts if the planned bytes cannot be rendered again, because the exporter or the
// segments have changed.
//
// The recordings of a project are delivered one at a time, so a project has one request in
// progress, or two while the service stops. Requests to a failing store are retried at growing
// intervals with jitter, up to maxDelay. The recordings take turns, so hundreds of them retry no
// more often than one. If the store states a time to wait (Retry-After), the next attempt waits
// that long, up to maxDelay. Retries continue indefinitely.
package delivery

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// Options of [New].
type Options struct {
	Spool    *spool.Spool
	Projects Projects
	// Retention is how long the local data of a delivered recording is kept. 0 removes the data at
	// the next scan, a negative value keeps it forever.
	Retention time.Duration
	// KeepState is how long the small state files of a removed recording are kept after its
	// delivery [30 days].
	KeepState time.Duration
	// Hold reports whether the state files of a removed recording are still needed, and are to be
	// kept beyond KeepState; nil: they are not. It is called at every scan and must not block.
	Hold func(*spool.Recording) bool
	// HoldData reports whether the local data of a delivered recording is still needed, and is to
	// be kept beyond Retention; nil: it is not. It is called at every scan and must not block.
	HoldData func(*spool.Recording) bool
	// Delivered is called after a recording was delivered and verified; nil: nothing is.
	Delivered func()
	// Rescan is how often the spool is scanned without a [Dispatcher.Wake] [30s].
	Rescan     time.Duration
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Exporter is written to manifests [render.Version].
	Exporter string
}

// Dispatcher delivers recordings. Create it with [New].
type Dispatcher struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{}

	mu        sync.Mutex // guards the fields below and those of jobs; never held over I/O
	retention time.Duration
	jobs      map[string]*job
	workers   map[string]chan struct{}  // by project; a send wakes the worker
	backoffs  map[string]*bucketBackoff // by project; none while its bucket works
}

// New returns a dispatcher. Nothing happens before [Dispatcher.Run] or [Dispatcher.Drain].
func New(o Options) *Dispatcher {
	if o.KeepState == 0 {
		o.KeepState = 30 * 24 * time.Hour
	}
	if o.Rescan <= 0 {
		o.Rescan = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Hold == nil {
		o.Hold = func(*spool.Recording) bool { return false }
	}
	if o.HoldData == nil {
		o.HoldData = func(*spool.Recording) bool { return false }
	}
	if o.Delivered == nil {
		o.Delivered = func() {}
	}
	if o.Exporter == "" {
		o.Exporter = render.Version
	}
	d := &Dispatcher{
		o: o, log: o.Logger.With("component", "delivery"), wake: make(chan struct{}, 1),
		retention: o.Retention, jobs: map[string]*job{}, workers: map[string]chan struct{}{},
		backoffs: map[string]*bucketBackoff{},
	}
	d.metrics = newMetrics(o.Registerer, d)
	return d
}

// Wake hints that a recording was sealed. A lost hint only delays the delivery to the next scan.
func (d *Dispatcher) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Retry makes all recordings of a project due at once, for example because its settings were
// changed. An attempt in progress finishes in the bucket in which it started.
func (d *Dispatcher) Retry(projectID string) {
	d.mu.Lock()
	delete(d.backoffs, projectID)
	for _, j := range d.jobs {
		if j.rec.Info().ProjectID == projectID {
			j.next = time.Time{}
		}
	}
	d.mu.Unlock()
	d.Wake()
}

// SetRetention replaces [Options.Retention] from the next scan on.
func (d *Dispatcher) SetRetention(retention time.Duration) {
	d.mu.Lock()
	d.retention = retention
	d.mu.Unlock()
	d.Wake()
}

// Run delivers until ctx ends, waits until all its goroutines have stopped, and returns the cause.
// Each project has its own worker, so that a broken bucket delays no other project. Run can be
// called again.
func (d *Dispatcher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer func() {
		wg.Wait()
		d.mu.Lock()
		clear(d.workers)
		d.mu.Unlock()
	}()
	tick := time.NewTicker(d.o.Rescan)
	defer tick.Stop()
	for {
		d.scan()
		d.startWorkers(ctx, &wg)
		d.removeOld(ctx)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-d.wake:
		case <-tick.C:
		}
	}
}

// scan creates jobs for the recordings still to be delivered.
func (d *Dispatcher) scan() {
	recordings := d.o.Spool.Select(isPending)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, rec := range recordings {
		if d.jobs[rec.ID()] == nil {
			d.jobs[rec.ID()] = newJob(rec)
		}
	}
}

func isPending(rec *spool.Recording) bool {
	s := rec.State()
	return s == spool.StateSealed || s == spool.StateExported
}

// startWorkers starts a worker for each project that has none, and wakes the others.
func (d *Dispatcher) startWorkers(ctx context.Context, wg *sync.WaitGroup) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range d.jobs {
		project := j.rec.Info().ProjectID
		if w, ok := d.workers[project]; ok {
			select {
			case w <- struct{}{}:
			default:
			}
			continue
		}
		w := make(chan struct{}, 1)
		d.workers[project] = w
		wg.Go(func() { d.work(ctx, project, w) })
	}
}

// work delivers the recordings of one project, one at a time, the oldest that is due first.
func (d *Dispatcher) work(ctx context.Context, project string, wake <-chan struct{}) {
	for ctx.Err() == nil {
		j, wait := d.nextDue(project)
		if j != nil {
			_ = d.attempt(ctx, j) // attempt handles its error
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

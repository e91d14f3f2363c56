package delivery

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/spool"
)

// job is one recording to be delivered.
type job struct {
	rec *spool.Recording

	exclusive *semaphore.Weighted // of 1; its holder owns the next two fields
	replaced  bool                // the recording was rewritten; this job concerns the old version
	progress

	// Guarded by Dispatcher.mu.
	failures     int // in a row
	next         time.Time
	bucketFailed bool // the last failure was the bucket's
	untried      bool // the bucket failed before anything of this recording was tried
	permanent    bool // the last failure needs operator action
	failing      bool // the last failure persists, as far as is known
	lastError    string
	lastFailed   time.Time
	lastLogged   time.Time
	since        time.Time // of the first failure in a row
	done, total  int64     // bytes of the objects: verified, and all of the plan
}

func newJob(rec *spool.Recording) *job {
	return &job{rec: rec, exclusive: semaphore.NewWeighted(1)}
}

// lock waits until no other caller works on the recording, or until ctx ends.
func (j *job) lock(ctx context.Context) error {
	if err := j.exclusive.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (j *job) unlock() { j.exclusive.Release(1) }

// progress is this process's record of the delivery of one recording. It may be lost at any time:
// the authoritative state is on the disk and in the bucket.
type progress struct {
	plan   Plan   // zero: not loaded
	target string // the bucket to which the rest applies
	// verified holds the keys whose objects were verified.
	verified map[string]bool
	// started holds the keys that this process found free and then started to upload. If they hold
	// other bytes, those are the remains of that attempt.
	started map[string]bool
	// resumed is set if an earlier process started the delivery, and may have left parts of
	// uploads.
	resumed bool
}

func (p *progress) setPlan(plan Plan) {
	p.plan, p.verified, p.started = plan, map[string]bool{}, map[string]bool{}
}

// setTarget sets the bucket of this attempt. If changed settings name another bucket than before,
// it drops all progress for the old one.
func (p *progress) setTarget(b objstore.Bucket) {
	if name := b.String(); p.target != name {
		p.target, p.verified, p.started = name, map[string]bool{}, map[string]bool{}
	}
}

// WithLock calls f while no other caller, including Run, works on the delivery of the recording. f
// may rewrite the recording; all progress of its delivery is then dropped.
func (d *Dispatcher) WithLock(ctx context.Context, egressID string, f func() error) error {
	d.mu.Lock()
	j := d.jobs[egressID]
	if j == nil {
		rec, ok := d.o.Spool.Recording(egressID)
		if j = newJob(rec); ok {
			d.jobs[egressID] = j
		}
	}
	d.mu.Unlock()
	if err := j.lock(ctx); err != nil {
		return err
	}
	defer func() {
		j.replaced = true
		d.mu.Lock()
		if d.jobs[egressID] == j {
			delete(d.jobs, egressID)
		}
		d.mu.Unlock()
		j.unlock()
	}()
	return f()
}

// Deliver makes one attempt to deliver a sealed recording now. It returns nil once the recording is
// delivered and verified. The error text names no participants.
func (d *Dispatcher) Deliver(ctx context.Context, rec *spool.Recording) error {
	d.mu.Lock()
	j := d.jobs[rec.ID()]
	if j == nil || j.rec != rec {
		j = newJob(rec)
		d.jobs[rec.ID()] = j
	}
	d.mu.Unlock()
	err := d.attempt(ctx, j)
	if err == nil && isPending(rec) { // the recording was rewritten meanwhile
		err = context.Canceled
	}
	if err != nil {
		return &stepError{"deliver recording " + rec.ID(), err}
	}
	return nil
}

func (d *Dispatcher) logger(j *job) *slog.Logger {
	i := j.rec.Info()
	return d.log.With("egress_id", i.EgressID, "session_id", i.SessionID, "room", i.RoomName,
		"project_id", i.ProjectID)
}

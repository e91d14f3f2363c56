package delivery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/render"
)

// maxRevisions is how many revisions after the first one a delivery plans because keys were taken.
// If the keys of the last one are taken too, further revisions do not solve the problem, and each
// one leaves objects in the bucket.
const maxRevisions = 3

// errAllTaken is returned when no further revision is planned.
var errAllTaken = errors.New("its keys, and those of the revisions before it, hold other " +
	"content; no further revision is made. Either another program writes below this recording's " +
	"prefix, or the store does not distinguish all keys. Move the foreign objects away; " +
	"delivery then continues automatically")

// deliverSafely recovers from a panic in one delivery, so that it does not end the service and the
// recordings in progress.
func (d *Dispatcher) deliverSafely(ctx context.Context, j *job) (err error) {
	defer func() {
		if r := recover(); r != nil {
			// The value may contain data of participants; its type and the stack do not.
			what := fmt.Sprintf("%T", r)
			if re, ok := r.(runtime.Error); ok {
				what = re.Error()
			}
			d.logger(j).Error("panic while delivering a recording", "panic", what, "stack",
				string(debug.Stack()))
			err = permanentError{fmt.Errorf("panic: %s", what)}
		}
	}()
	return d.deliver(ctx, j)
}

// deliver performs the remaining steps for one recording.
func (d *Dispatcher) deliver(ctx context.Context, j *job) error {
	bucket, err := d.o.Projects.Bucket(j.rec.Info().ProjectID)
	if err != nil {
		return bucketError{permanentError{err}}
	}
	j.setTarget(bucket)
	if err := probe(ctx, j, bucket); err != nil {
		return err
	}
	for {
		staging, err := d.prepare(ctx, j)
		if err != nil {
			return err
		}
		d.abortEarlier(ctx, j, bucket)
		err = d.upload(ctx, j, bucket, staging)
		staging.Close() //nolint:errcheck // nothing more is written through it
		if err == nil {
			return d.finish(j, bucket)
		}
		if !errors.Is(err, errTaken) {
			return err
		}
		if err := d.nextRevision(ctx, j); err != nil {
			return err
		}
	}
}

// probe makes a request to the bucket before anything is rendered, so that waiting recordings cost
// neither disk nor CPU during an outage of the bucket.
func probe(ctx context.Context, j *job, bucket objstore.Bucket) error {
	_, err := bucket.Stat(ctx, j.rec.Info().KeyPrefix+textegress.ManifestName)
	if err != nil && !objstore.IsNotFound(err) {
		return bucketError{&stepError{"check the bucket", err}}
	}
	return nil
}

// prepare returns a staging directory that holds exactly the planned objects. It makes the plan if
// there is none.
func (d *Dispatcher) prepare(ctx context.Context, j *job) (*Staging, error) {
	if j.plan.Revision == 0 {
		plan, ok, err := LoadPlan(j.rec)
		if damaged, is := errors.AsType[*DamagedPlanError](err); is {
			d.logger(j).Error("cannot read the delivery plan; starting the next revision", "error",
				damaged)
			return d.makePlan(ctx, j, damaged.Revision+1)
		}
		if err != nil {
			return nil, err
		}
		if !ok {
			revision, err := FirstRevision(j.rec)
			if err != nil {
				return nil, permanentError{err}
			}
			return d.makePlan(ctx, j, revision)
		}
		j.setPlan(plan)
		j.resumed = true
	}
	if s, err := OpenStaging(j.rec.StagingDir()); err == nil {
		if j.holds(ctx, s) {
			return s, nil
		}
		s.Close() //nolint:errcheck // it is created again
	}
	s, plan, err := d.stage(ctx, j, j.plan.Revision, j.plan.views())
	if err == nil && plan.Equal(j.plan) {
		return s, nil
	}
	if s != nil {
		s.Close() //nolint:errcheck // likewise
	}
	if _, unknown := errors.AsType[*render.ViewError](err); err != nil && !unknown {
		return nil, err
	}
	d.logger(j).Warn("cannot render the planned objects again; starting the next revision",
		"revision", j.plan.Revision, "exporter_then", j.plan.Exporter, "exporter_now",
		d.o.Exporter)
	return d.makePlan(ctx, j, j.plan.Revision+1)
}

// nextRevision plans another revision because keys of this one are taken.
func (d *Dispatcher) nextRevision(ctx context.Context, j *job) error {
	first, err := FirstRevision(j.rec)
	if err != nil {
		return permanentError{err}
	}
	if j.plan.Revision-first >= maxRevisions {
		return permanentError{&stepError{"revision " + strconv.Itoa(j.plan.Revision), errAllTaken}}
	}
	d.logger(j).Warn("a key holds other content; starting the next revision",
		"revision", j.plan.Revision)
	s, err := d.makePlan(ctx, j, j.plan.Revision+1)
	if err != nil {
		return err
	}
	return s.Close()
}

// makePlan renders a revision and makes its plan durable.
func (d *Dispatcher) makePlan(ctx context.Context, j *job, revision int) (*Staging, error) {
	views := render.CurrentViews()
	s, plan, err := d.stage(ctx, j, revision, views)
	if err != nil {
		return nil, err
	}
	plan.Views = views
	if err := plan.Save(j.rec); err != nil {
		s.Close() //nolint:errcheck // there is an error already
		return nil, err
	}
	j.setPlan(plan)
	return s, nil
}

// stage renders a revision into the staging directory.
func (d *Dispatcher) stage(ctx context.Context, j *job, revision int, views render.Views) (
	_ *Staging, _ Plan, err error,
) {
	if err := j.rec.CheckStaging(); err != nil {
		return nil, Plan{}, err
	}
	s, err := NewStaging(j.rec.StagingDir())
	if err != nil {
		return nil, Plan{}, err
	}
	defer func() {
		if err != nil {
			s.Close() //nolint:errcheck // there is an error already
			// A partial staging directory must not take space on a disk that may be full.
			os.RemoveAll(j.rec.StagingDir()) //nolint:errcheck // likewise
		}
	}()
	info := j.rec.Info()
	o := render.Options{
		Revision: revision, Exporter: d.o.Exporter, Views: views,
		Keys: d.o.Projects.Keys(info.ProjectID),
	}
	if info.Pseudonyms {
		if o.Pseudonyms, err = d.o.Projects.Pseudonyms(info); err != nil {
			return nil, Plan{}, permanentError{err}
		}
	}
	m, err := render.Build(ctx, render.FromSpool(j.rec), o,
		render.NewSpaceGuard(j.rec.CheckRoom).Sink(s))
	if err != nil {
		return nil, Plan{}, err
	}
	plan, err := NewPlan(info, m)
	return s, plan, err
}

package erasure

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// replace searches for the participant and replaces the recording with one that lacks the
// participant. It returns nil if there is nothing to replace, and for a dry run.
func (f *Eraser) replace(ctx context.Context, rec *spool.Recording, q Request,
	r *Recording,
) (*spool.Recording, error) {
	revision, err := nextRevision(rec)
	if err != nil {
		return nil, err
	}
	src, err := f.source(ctx, rec)
	if errors.Is(err, render.ErrPseudonyms) {
		return nil, f.checkPseudonym(ctx, rec, q.Identity)
	}
	if err != nil {
		return nil, err
	}
	keys := f.o.Projects.Keys(rec.Info().ProjectID)
	where, err := deliveredTo(rec)
	if err != nil {
		return nil, err
	}
	o := decode.Options{Keys: keys, Scratch: render.NewDiscardSink(f.o.KeepFree).Scratch}
	return replace(ctx, f.o.Spool, src, o, delivery.Rewrite{Revision: revision, Bucket: where}, q,
		r,
		nil)
}

func replace(
	ctx context.Context, sp *spool.Spool, src render.Source, o decode.Options,
	next delivery.Rewrite,
	q Request, r *Recording,
	check func(*erasePlan) error, // rejects the plan with an error; nil: no check
) (*spool.Recording, error) {
	plan, err := newErasePlan(ctx, src, o, q.Identity)
	if err != nil {
		return nil, err
	}
	if plan.frames > 0 && check != nil {
		if err := check(plan); err != nil {
			return nil, err
		}
	}
	r.Frames, r.Lines = plan.frames, plan.lines
	if q.DryRun || plan.frames == 0 {
		return nil, nil //nolint:nilnil // nothing was replaced
	}
	note, err := next.Note()
	if err != nil {
		return nil, err
	}
	segments, err := src.Segments(ctx)
	if err != nil {
		return nil, err
	}
	sealed, ok := src.Sealed()
	if !ok {
		return nil, errors.New("the recording is not sealed")
	}
	return sp.Rewrite(src.Info(), sealed, segments, note,
		func(f *segment.Frame) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return plan.edit(f)
		})
}

// deliveredTo returns the bucket that holds older revisions, "" if none does.
func deliveredTo(rec *spool.Recording) (string, error) {
	unsettled, err := rec.PurgePending()
	if err != nil {
		return "", err
	}
	if unsettled { // revisions older than the previous one also remain to be deleted
		r, _, err := delivery.LoadRewrite(rec)
		if err != nil || r.Bucket != "" {
			return r.Bucket, err
		}
	}
	b, ok, err := rec.Uploaded()
	if err != nil || !ok {
		return "", err
	}
	var up struct {
		Bucket string `json:"bucket"`
	}
	if err := textegress.DecodeJSON(b, &up); err != nil {
		return "", fmt.Errorf("read uploaded.json: %w", err)
	}
	return up.Bucket, nil
}

// nextRevision returns the number of a revision under whose prefix nothing was delivered.
func nextRevision(rec *spool.Recording) (int, error) {
	frozen, ok, err := delivery.LoadPlan(rec)
	damaged, isDamaged := errors.AsType[*delivery.DamagedPlanError](err)
	switch {
	case isDamaged:
		return damaged.Revision + 1, nil
	case err != nil:
		return 0, err
	case ok:
		return frozen.Revision + 1, nil
	}
	return delivery.FirstRevision(rec)
}

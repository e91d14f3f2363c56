package erasure

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/objstore/objfs"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// source returns the recording from the disk, or from the bucket if its copy on the disk is gone or
// differs from the sealed state.
func (f *Eraser) source(ctx context.Context, rec *spool.Recording) (render.Source, error) {
	disk, err := onDisk(ctx, rec)
	if err != nil {
		return nil, err
	}
	if disk == whole {
		return render.FromSpool(rec), nil
	}
	src, err := f.fromBucket(ctx, rec)
	if disk == damaged && errors.Is(err, render.ErrPseudonyms) {
		return render.FromSpool(rec), nil // no better copy exists
	}
	return src, err
}

func (f *Eraser) fromBucket(ctx context.Context, rec *spool.Recording) (render.Source, error) {
	frozen, ok, err := delivery.LoadPlan(rec)
	if err != nil || !ok {
		return nil, errors.Join(errors.New("the local data is removed and the delivered objects "+
			"are unknown"), err)
	}
	bucket, err := f.o.Projects.Bucket(rec.Info().ProjectID)
	if err != nil {
		return nil, err
	}
	src, err := delivered(ctx, bind(objfs.New(ctx, bucket, frozen.Prefix), frozen.Objects))
	if err != nil {
		return nil, err
	}
	return local{src, rec}, nil
}

// local is a recording with segments in the bucket and everything else on the disk. Only the disk
// determines its Info, its place and how it ended.
type local struct {
	render.Source

	rec *spool.Recording
}

func (l local) Info() spool.Info             { return l.rec.Info() }
func (l local) Sealed() (spool.Sealed, bool) { return l.rec.Sealed() }

func (l local) StateFile(name string) ([]byte, error) { return l.rec.StateFile(name) }

// delivered opens a delivered recording and verifies it against its manifest, because damaged
// objects must not replace the delivery.
func delivered(ctx context.Context, fsys fs.FS) (render.Source, error) {
	rec, err := textegress.Open(fsys)
	if err != nil {
		return nil, err
	}
	if err := rec.Verify(ctx, nil); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, errors.New("the delivered objects do not match the manifest, see " +
			"`textegress verify`; nothing was changed")
	}
	src, err := render.FromDelivered(fsys)
	if err != nil && !errors.Is(err, render.ErrPseudonyms) {
		return nil, fmt.Errorf("%w; nothing was changed", err)
	}
	return src, err
}

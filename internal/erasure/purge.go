package erasure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/spool"
)

// finish delivers a replaced recording and deletes its earlier deliveries.
func (f *Eraser) finish(ctx context.Context, rec *spool.Recording, r *Recording) error {
	if s := rec.State(); s == spool.StateSealed || s == spool.StateExported {
		if err := f.o.Dispatcher.Deliver(ctx, rec); err != nil {
			return fmt.Errorf("removed from the disk, not yet from the bucket: %w", err)
		}
	}
	frozen, ok, err := delivery.LoadPlan(rec)
	if err != nil || !ok {
		return errors.Join(errors.New("the delivered objects are unknown"), err)
	}
	r.Revision = frozen.Revision
	bucket, err := f.o.Projects.Bucket(rec.Info().ProjectID)
	if err != nil {
		return err
	}
	if was, ok, err := delivery.LoadRewrite(rec); err != nil {
		return err
	} else if ok && was.Bucket != "" && was.Bucket != bucket.String() {
		// Deletion needs access to that bucket, which is no longer configured.
		return fmt.Errorf("the recording was delivered to %s, which is no longer the project's "+
			"bucket; the objects there are not deleted: use --from with the settings of that "+
			"bucket, or delete them there", was.Bucket)
	}
	complete, err := f.purge(ctx, bucket, rec.Info(), frozen, r)
	if err != nil || !complete {
		return err
	}
	if err := rec.MarkPurged(); err != nil {
		return err
	}
	r.Outcome = Erased
	f.o.Logger.Info("removed a participant from a recording", "egress_id", rec.ID(),
		"session_id", rec.Info().SessionID,
		"frames", r.Frames, "revision", r.Revision, "deleted", r.Deleted)
	return nil
}

// purge verifies the frozen revision again and then deletes every other one.
func (f *Eraser) purge(ctx context.Context, bucket objstore.Bucket, info spool.Info,
	frozen delivery.Plan,
	r *Recording,
) (complete bool, err error) {
	if frozen.Revision == 1 {
		return true, nil // nothing was delivered before
	}
	// The prefix must belong to this recording alone, because everything else below it is deleted.
	if !strings.HasSuffix(info.KeyPrefix, "/"+info.EgressID+"/") ||
		!strings.HasPrefix(frozen.Prefix, info.KeyPrefix) || frozen.Prefix == info.KeyPrefix {
		return false, errors.New("the key prefix does not belong to this recording alone; " +
			"nothing was deleted")
	}
	for _, o := range frozen.Objects {
		if err := objstore.Verify(ctx, bucket, frozen.Prefix+o.Key, o.Size, o.SHA256); err != nil {
			return false, fmt.Errorf("cannot verify the new revision, so the old one is not "+
				"deleted: %s", objstore.Redacted(err, plain(err)))
		}
	}
	keep := func(key string) bool { return strings.HasPrefix(key, frozen.Prefix) }
	if f.shared {
		// Only the manifests identify the objects that they name, so they are deleted last.
		but := func(key string) bool {
			return keep(key) ||
				isManifest(strings.TrimPrefix(key, info.KeyPrefix))
		}
		if done, err := r.purge(ctx, bucket, info.KeyPrefix, but); err != nil || !done {
			return false, err
		}
	}
	return r.purge(ctx, bucket, info.KeyPrefix, keep)
}

// purge deletes the objects below a prefix, and adds to the figures and problems of the recording.
func (r *Recording) purge(ctx context.Context, bucket objstore.Bucket, prefix string,
	keep func(key string) bool,
) (complete bool, err error) {
	p, err := objstore.Purge(ctx, bucket, prefix, prefix+textegress.ManifestName, keep)
	r.Deleted += p.Deleted
	if p.Versions != "" {
		r.Problems = append(r.Problems, "cannot list earlier versions: "+p.Versions)
	}
	if p.Uploads != "" {
		r.Problems = append(r.Problems, "cannot list or remove the parts of interrupted "+
			"uploads: "+p.Uploads)
	}
	var why []string
	for text, n := range p.Failed {
		why = append(why, fmt.Sprintf("cannot delete %d objects or versions: %s", n, text))
	}
	slices.Sort(why)
	r.Problems = append(r.Problems, why...)
	return err == nil && p.Complete(), err
}

// Resume finishes erasures that an earlier process left unfinished or that failed because the
// bucket refused. The next call retries those that fail again.
func (f *Eraser) Resume(ctx context.Context) {
	select {
	case f.busy <- struct{}{}:
		defer func() { <-f.busy }()
	default:
		return // a request is in progress
	}
	for _, rec := range f.o.Spool.Recordings() {
		if ctx.Err() != nil {
			return
		}
		if s := rec.State(); s != spool.StateUploaded && s != spool.StateRemoved {
			continue // the dispatcher delivers it
		}
		if begun, err := rec.PurgePending(); err != nil || !begun {
			continue
		}
		var r Recording
		err := f.finish(ctx, rec, &r)
		if err != nil || len(r.Problems) > 0 {
			f.o.Logger.Warn("cannot delete all data of a removed participant yet",
				"egress_id", rec.ID(), "error", plain(err), "problems", r.Problems)
		}
	}
}

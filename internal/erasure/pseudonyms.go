package erasure

import (
	"context"
	"errors"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/objstore/objfs"
	"github.com/syncflow/textegress/internal/spool"
)

// errVeiled says that nothing can be done to one participant's part of a delivered recording.
var errVeiled = errors.New("it was delivered under pseudonyms, without raw segments, and the " +
	"recorder does not have those any more: one participant " +
	"cannot be removed from it; delete it in the bucket as a whole, or what bears the pseudonym, " +
	"which `textegress pseudonyms` tells")

// veiled looks for the participant's pseudonym in what was delivered of a recording that the disk
// does not have any more.
func (f *Forgetter) veiled(ctx context.Context, rec *spool.Recording, identity string) error {
	if f.o.PseudonymsFor == nil {
		return errVeiled
	}
	names, err := f.o.PseudonymsFor(rec.Info())
	if err != nil {
		return errors.Join(errVeiled, err)
	}
	frozen, ok, err := delivery.LoadPlan(rec)
	if err != nil || !ok {
		return errors.Join(errVeiled, err)
	}
	bucket, err := f.o.BucketFor(rec.Info().ProjectID)
	if err != nil {
		return err
	}
	recording, err := textegress.Open(bind(objfs.New(ctx, bucket, frozen.Prefix), frozen.Objects))
	if err != nil {
		return err
	}
	name := names.Of(identity)
	for _, c := range recording.Manifest().Completeness.Connections {
		if c.Identity == name {
			return errVeiled
		}
	}
	for m, err := range recording.Messages() {
		if err != nil {
			return err
		}
		if m.Identity == name || m.Transcription != nil &&
			m.Transcription.ParticipantIdentity == name {
			return errVeiled
		}
	}
	return nil // there is nothing of them
}

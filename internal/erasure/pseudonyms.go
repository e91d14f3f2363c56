package erasure

import (
	"context"
	"errors"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/objstore/objfs"
	"github.com/syncflow/textegress/internal/spool"
)

// errPseudonyms reports that one participant cannot be removed from a delivered recording.
var errPseudonyms = errors.New("the recording was delivered under pseudonyms, without raw " +
	"segments, and its local data is gone: a single participant cannot be removed from it; " +
	"delete the whole recording in the bucket, or the objects that contain the pseudonym (see " +
	"`textegress pseudonyms`)")

// checkPseudonym searches the delivery of a recording that is no longer on the disk for the
// participant's pseudonym.
func (f *Eraser) checkPseudonym(ctx context.Context, rec *spool.Recording, identity string) error {
	names, err := f.o.Projects.Pseudonyms(rec.Info())
	if err != nil {
		return errors.Join(errPseudonyms, err)
	}
	frozen, ok, err := delivery.LoadPlan(rec)
	if err != nil || !ok {
		return errors.Join(errPseudonyms, err)
	}
	bucket, err := f.o.Projects.Bucket(rec.Info().ProjectID)
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
			return errPseudonyms
		}
	}
	for m, err := range recording.Messages() {
		if err != nil {
			return err
		}
		if m.Identity == name || m.Transcription != nil &&
			m.Transcription.ParticipantIdentity == name {
			return errPseudonyms
		}
	}
	return nil // the delivery contains no data of the participant
}

package delivery

import (
	"errors"

	"github.com/syncflow/textegress/internal/objstore"
)

// bucketDown marks an error that any recording of the project would have met.
type bucketDown struct{ error }

func (e bucketDown) Unwrap() error { return e.error }

// isOutage reports whether err is the bucket's, so that the other recordings of the project would
// probably fail, too.
func isOutage(err error) bool {
	if _, ok := errors.AsType[bucketDown](err); ok {
		return true
	}
	_, ok := errors.AsType[*objstore.Error](err)
	return ok && !objstore.IsNotFound(err) && !errors.Is(err, objstore.ErrDiffers)
}

// waitsForPerson marks an error that no retry cures.
type waitsForPerson struct{ error }

func (e waitsForPerson) Unwrap() error { return e.error }

func isPermanent(err error) bool {
	if _, ok := errors.AsType[waitsForPerson](err); ok {
		return true
	}
	// Not found is permanent for a store, but for us an object that has vanished is one to upload
	// again.
	return objstore.IsPermanent(err) && !objstore.IsNotFound(err)
}

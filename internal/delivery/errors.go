package delivery

import (
	"errors"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/redact"
)

// bucketError is an error that would affect any recording of the project.
type bucketError struct{ error }

func (e bucketError) Unwrap() error { return e.error }

// isBucketError reports whether err is an error of the bucket, which probably affects the other
// recordings of the project too.
func isBucketError(err error) bool {
	if _, ok := errors.AsType[bucketError](err); ok {
		return true
	}
	_, ok := errors.AsType[*objstore.Error](err)
	return ok && !objstore.IsNotFound(err) && !errors.Is(err, objstore.ErrDiffers)
}

// permanentError is an error that needs operator action.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

func isPermanent(err error) bool {
	if _, ok := errors.AsType[permanentError](err); ok {
		return true
	}
	// For a store, not found is permanent. Here, a missing object is uploaded again.
	return objstore.IsPermanent(err) && !objstore.IsNotFound(err)
}

// stepError is an error with the failed step. Its text contains no key.
type stepError struct {
	step string
	err  error
}

func (e *stepError) Error() string { return e.step + ": " + errorText(e.err) }
func (e *stepError) Unwrap() error { return e.err }

// errorText returns the text of err without keys. Errors of spool and render contain none.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	if s, ok := errors.AsType[*stepError](err); ok {
		return s.Error()
	}
	return objstore.Redacted(err, redact.Text(err.Error()))
}

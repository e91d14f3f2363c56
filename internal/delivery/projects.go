package delivery

import (
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// Projects says how the recordings of a project are delivered. It is asked for each attempt, so
// that changed settings apply to the next one.
type Projects interface {
	// Bucket returns where the recordings are delivered. An error means that there is no bucket
	// now; the recordings wait.
	Bucket(projectID string) (objstore.Bucket, error)
	// Keys returns what decrypts packets of encrypted rooms, nil if there is nothing.
	Keys(projectID string) *render.Keys
	// Pseudonyms returns the pseudonyms under which a recording is delivered; it is asked only for
	// recordings that may be delivered under pseudonyms alone. An error means that there are none
	// now; the recording waits.
	Pseudonyms(info spool.Info) (redact.Pseudonyms, error)
}

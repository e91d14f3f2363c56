package delivery

import (
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// Projects provides what is needed to deliver the recordings of a project. It is called for each
// attempt, so that changed settings apply to the next one.
type Projects interface {
	// Bucket returns the bucket for the recordings. On an error, there is currently no bucket, and
	// the recordings wait.
	Bucket(projectID string) (objstore.Bucket, error)
	// Keys returns the keys that decrypt packets of encrypted rooms, nil if there are none.
	Keys(projectID string) *render.Keys
	// Pseudonyms returns the pseudonyms under which a recording is delivered. It is called only for
	// recordings that may be delivered only under pseudonyms. On an error, there are currently
	// none, and the recording waits.
	Pseudonyms(info spool.Info) (redact.Pseudonyms, error)
}

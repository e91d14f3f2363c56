package delivery

import (
	"encoding/json"
	"fmt"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/spool"
)

// Rewrite is the content of rewrite.json, which exists if a participant was erased from the
// recording. It states the revision with which delivery starts, and the bucket in which older
// revisions must still be deleted.
type Rewrite struct {
	FormatVersion int `json:"format_version"`
	// Revision is the first revision that may be delivered. Nothing was delivered under its prefix
	// before.
	Revision int `json:"revision"`
	// Bucket is the bucket in which older revisions were delivered and must be deleted, "" if none
	// were delivered.
	Bucket string `json:"bucket,omitempty"`
}

const rewriteFormat = 1

// Note returns the note for [spool.Spool.Rewrite].
func (r Rewrite) Note() ([]byte, error) {
	r.FormatVersion = rewriteFormat
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode rewrite.json: %w", err)
	}
	return append(b, '\n'), nil
}

// FirstRevision returns the revision with which the delivery of a recording starts: 1, or a later
// one if others were delivered before a participant was erased.
func FirstRevision(rec *spool.Recording) (int, error) {
	r, ok, err := LoadRewrite(rec)
	if err != nil || !ok {
		return 1, err
	}
	return r.Revision, nil
}

// LoadRewrite reads rewrite.json; it returns false if there is none.
func LoadRewrite(rec *spool.Recording) (Rewrite, bool, error) {
	b, ok, err := rec.RewriteNote()
	if err != nil || !ok {
		return Rewrite{}, false, err
	}
	var r Rewrite
	if err := textegress.DecodeJSON(b, &r); err != nil {
		return Rewrite{}, false, fmt.Errorf("read rewrite.json: %w", err)
	}
	if r.FormatVersion != rewriteFormat || r.Revision < 1 {
		return Rewrite{}, false,
			fmt.Errorf("read rewrite.json: format version %d, this program supports %d",
				r.FormatVersion, rewriteFormat)
	}
	return r, true, nil
}

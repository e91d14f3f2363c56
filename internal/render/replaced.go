package render

import (
	"encoding/json"
	"fmt"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/spool"
)

// Replaced is replaced.json of a recording from which somebody was removed: what is still to be
// done.
type Replaced struct {
	FormatVersion int `json:"format_version"`
	// Revision is the first one that may be delivered: nothing was ever delivered under its prefix.
	Revision int `json:"revision"`
	// Bucket is where it had been delivered, "" if it had not; the revisions to be deleted are
	// there.
	Bucket string `json:"bucket,omitempty"`
}

const replacedFormat = 1

// Note returns the note for [spool.Spool.Replace].
func (r Replaced) Note() ([]byte, error) {
	r.FormatVersion = replacedFormat
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode replaced.json: %w", err)
	}
	return append(b, '\n'), nil
}

// FirstRevision returns the revision with which the delivery of a recording begins: 1, or a later
// one where others were delivered before somebody was removed from it.
func FirstRevision(rec *spool.Recording) (int, error) {
	r, ok, err := LoadReplaced(rec)
	if err != nil || !ok {
		return 1, err
	}
	return r.Revision, nil
}

// LoadReplaced returns replaced.json, false where there is none.
func LoadReplaced(rec *spool.Recording) (Replaced, bool, error) {
	b, ok, err := rec.Replaced()
	if err != nil || !ok {
		return Replaced{}, false, err
	}
	var r Replaced
	if err := textegress.DecodeJSON(b, &r); err != nil {
		return Replaced{}, false, fmt.Errorf("read replaced.json: %w", err)
	}
	if r.FormatVersion != replacedFormat || r.Revision < 1 {
		return Replaced{}, false,
			fmt.Errorf("read replaced.json: format version %d, this program knows %d",
				r.FormatVersion, replacedFormat)
	}
	return r, true, nil
}

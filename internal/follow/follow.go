// Package follow reads a recording as lines of events.jsonl while it is being recorded.
//
// The lines have the same bytes and the same numbers as those that events.jsonl will have. A [Hub]
// decodes each recording once, however many readers follow it, and only while somebody does. It
// reads the segments from disk, so it is never in the way of a recording.
package follow

import (
	"encoding/json"
	"errors"
	"log/slog"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// Errors that callers distinguish.
var (
	// ErrUnknown means that the spool has no such recording.
	ErrUnknown = errors.New("no such recording")
	// ErrGone means that the recording was delivered and its local data removed. Its lines are in
	// the delivered events.jsonl.
	ErrGone = errors.New("the local data of the recording was removed after its delivery")
	// ErrClosed means that the reader or the hub is closed.
	ErrClosed = errors.New("closed")
	// ErrChanged means that the recording is now decoded with another version or with other keys.
	// A new reader numbers its lines anew, see [Reader.Version].
	ErrChanged = errors.New("the lines have changed, and with them their numbers")
)

// Line is a line of events.jsonl. Readers share it; it must not be changed.
type Line struct {
	N    int64  // 1, 2, 3 …
	JSON []byte // without the line feed
	// The fields by which lines are selected, as in JSON.
	Kind            segment.Kind
	Topic, Identity string
	UnixNS          int64
}

// Message decodes the line.
func (l *Line) Message() (textegress.Message, error) {
	var m textegress.Message
	err := json.Unmarshal(l.JSON, &m)
	return m, err
}

// Decoding is how the frames of one recording become lines.
type Decoding struct {
	Keys       *render.Keys      // of encrypted rooms; nil: none
	Pseudonyms redact.Pseudonyms // required if spool.Info.Pseudonyms is set
	// KeyName names Keys and Pseudonyms, without revealing them. Other keys have another name,
	// because they can change lines and their numbers. See [Reader.Version].
	KeyName string
}

// Options of [New].
type Options struct {
	Spool *spool.Spool
	// Decode returns how a recording is decoded; nil: without keys. It is called once for all
	// readers that follow the recording at the same time.
	Decode func(*spool.Recording) (Decoding, error)
	Logger *slog.Logger // nil: silent

	scratch string // directory for files without a name; "": the data directory
}

package spool

import (
	"crypto/rand"
	"errors"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

// FormatVersion is the version of recording.json, sealed.json and the segments.
const FormatVersion = 1

// Errors of this package that callers decide by.
var (
	// ErrSealed: the recording is sealed, nothing can be appended.
	ErrSealed = errors.New("recording is sealed")
	// ErrBusy: the recording has a writer already.
	ErrBusy = errors.New("recording has a writer")
	// ErrReadOnly: the spool was opened with OpenReadOnly.
	ErrReadOnly = errors.New("spool is open for reading only")
	// ErrClosed: the spool or the writer is closed.
	ErrClosed = errors.New("closed")
	// ErrState: the recording is not in the state that the call needs.
	ErrState = errors.New("wrong state")
)

// Info is what is known of a recording when it begins. It is recording.json,
// written once, but for what [Spool.Correct] says; finishing the recording needs
// nothing that is not in it.
type Info struct {
	FormatVersion int    `json:"format_version"` // set by Create
	EgressID      string `json:"egress_id"`      // set by Create where empty
	SessionID     string `json:"session_id"`
	RoomName      string `json:"room_name"`
	ProjectID     string `json:"project_id"`
	ProjectName   string `json:"project_name"`
	// Topic limits the recording to one topic; empty means all.
	Topic string `json:"topic,omitempty"`
	// KeyPrefix is where the recording is delivered, with a slash at the end.
	KeyPrefix string `json:"key_prefix"`
	// LiveKitURL is the address of the room's server, as far as it was known when the recording
	// began.
	LiveKitURL string `json:"livekit_url,omitempty"`
	// Instance is the name of the service instance.
	Instance string `json:"instance,omitempty"`
	// Part is 1 for the first recording of a session; Previous, its end and the
	// reason of that tell of the part before.
	Part                int    `json:"part"`
	Previous            string `json:"previous,omitempty"`
	PreviousEndedUnixNS int64  `json:"previous_ended_unix_ns,omitempty"`
	PreviousReason      string `json:"previous_reason,omitempty"`
	// Source is what announced the session: "rabbitmq", "reconcile", "command".
	Source          string `json:"source,omitempty"`
	AnnouncedUnixNS int64  `json:"announced_unix_ns,omitempty"`
	CreatedUnixNS   int64  `json:"created_unix_ns"` // set by Create where 0
	// Merged names the recordings of which this one was made; nil where it was
	// recorded.
	Merged []textegress.MergedRecording `json:"merged,omitempty"`
	// Pseudonyms: it may be delivered under pseudonyms only, whatever the settings
	// are by then. PseudonymKey names the key that they are made with; empty: it
	// could not be read when the recording began, and the project's key is meant.
	Pseudonyms   bool   `json:"pseudonyms,omitempty"`
	PseudonymKey string `json:"pseudonym_key,omitempty"`
}

// Sealed is how a recording ended. It is sealed.json, written once.
type Sealed struct {
	Status      textegress.Status `json:"status"`
	Reason      string            `json:"reason,omitempty"`
	EndedUnixNS int64             `json:"ended_unix_ns"` // set by Seal where 0
	Segments    []segment.Info    `json:"segments"`      // set by Seal
	// Suspect is set where an fsync of a segment failed: the bytes were
	// readable when the recording was sealed, but the disk reported an error.
	Suspect bool `json:"suspect,omitempty"`
}

// State says how far a recording has come; it follows from the files that are
// there.
type State string

// The states, in the order in which a recording passes them.
const (
	StateOpen     State = "open"     // recording.json
	StateSealed   State = "sealed"   // … and sealed.json
	StateExported State = "exported" // … and export.json
	StateUploaded State = "uploaded" // … and uploaded.json
	StateRemoved  State = "removed"  // … and neither segments nor staging left
)

const (
	idPrefix   = "DE_"
	idLen      = 12
	idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// NewEgressID returns a random name for a recording: "DE_" (data egress) and 12
// characters of [A-Za-z0-9], in the manner of LiveKit's "EG_…".
func NewEgressID() string {
	id := make([]byte, 0, len(idPrefix)+idLen)
	id = append(id, idPrefix...)
	var random [32]byte
	for len(id) < cap(id) {
		_, _ = rand.Read(random[:]) // never fails, see crypto/rand
		for _, b := range random {
			// 248 is the greatest multiple of 62 in a byte; above it the first
			// letters would come up more often.
			if b < 248 && len(id) < cap(id) {
				id = append(id, idAlphabet[int(b)%len(idAlphabet)])
			}
		}
	}
	return string(id)
}

// validEgressID keeps an id from being anything but a plain file name.
func validEgressID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

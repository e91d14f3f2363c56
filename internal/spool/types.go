package spool

import (
	"crypto/rand"
	"errors"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

// FormatVersion is the version of recording.json, sealed.json and the segments.
const FormatVersion = 1

// Errors that callers distinguish.
var (
	// ErrSealed means that the recording is sealed and accepts no more frames.
	ErrSealed = errors.New("recording is sealed")
	// ErrBusy means that the recording already has a writer.
	ErrBusy = errors.New("recording has a writer")
	// ErrReadOnly means that the spool was opened with OpenReadOnly.
	ErrReadOnly = errors.New("spool is open for reading only")
	// ErrClosed means that the spool or the writer is closed.
	ErrClosed = errors.New("closed")
	// ErrState means that the recording is not in the state that the call requires.
	ErrState = errors.New("wrong state")
)

// Info is the content of recording.json: the data about a recording that is available at its start.
// The file is written once, except by [Spool.Correct]. It holds everything that is needed to finish
// the recording.
type Info struct {
	FormatVersion int    `json:"format_version"` // set by Create
	EgressID      string `json:"egress_id"`      // set by Create if empty
	SessionID     string `json:"session_id"`
	RoomName      string `json:"room_name"`
	ProjectID     string `json:"project_id"`
	ProjectName   string `json:"project_name"`
	// Topic limits the recording to one topic; empty means all.
	Topic string `json:"topic,omitempty"`
	// Selection limits the recording within the rules of its project, from its start on; nil: no
	// limits. It contains allow lists, and denies every topic if none is left.
	Selection *textegress.SelectionRules `json:"selection,omitempty"`
	// RequestID is the id that the API request for the recording carried; "" if there was none.
	RequestID string `json:"request_id,omitempty"`
	// Prefix is the path below the project's that the request chose for the delivery.
	Prefix string `json:"prefix,omitempty"`
	// Webhooks are the URLs that the request named for reports about the recording. They stay on
	// this machine, because a URL may contain a password.
	Webhooks []string `json:"webhooks,omitempty"`
	// KeyPrefix is the key prefix of the delivery, with a trailing slash.
	KeyPrefix string `json:"key_prefix"`
	// LiveKitURL is the address of the room's server, empty if it was not available when the
	// recording started.
	LiveKitURL string `json:"livekit_url,omitempty"`
	// Instance is the name of the service instance.
	Instance string `json:"instance,omitempty"`
	// Run is the id by which the platform knew the session at the start of the recording, if that
	// was no longer SessionID, see [Recording.AddRun].
	Run string `json:"run,omitempty"`
	// Part is 1 for the first recording of a session. Previous names the preceding part;
	// PreviousEndedUnixNS and PreviousReason say when and why it ended.
	Part                int    `json:"part"`
	Previous            string `json:"previous,omitempty"`
	PreviousEndedUnixNS int64  `json:"previous_ended_unix_ns,omitempty"`
	PreviousReason      string `json:"previous_reason,omitempty"`
	// Source is the source of the announcement: "rabbitmq", "reconcile", "command", "api".
	Source          string `json:"source,omitempty"`
	AnnouncedUnixNS int64  `json:"announced_unix_ns,omitempty"`
	CreatedUnixNS   int64  `json:"created_unix_ns"` // set by Create if 0
	// Merged names the recordings that were merged into this one; nil if it was recorded.
	Merged []textegress.MergedRecording `json:"merged,omitempty"`
	// Pseudonyms restricts the delivery to pseudonyms, whatever the settings at the time of
	// delivery. PseudonymKey names the key for the pseudonyms. It is empty if the key could not be
	// read when the recording started; the project's key then applies.
	Pseudonyms   bool   `json:"pseudonyms,omitempty"`
	PseudonymKey string `json:"pseudonym_key,omitempty"`
}

// Sealed is how a recording ended. It is sealed.json, written once.
type Sealed struct {
	Status      textegress.Status `json:"status"`
	Reason      string            `json:"reason,omitempty"`
	EndedUnixNS int64             `json:"ended_unix_ns"` // set by Seal if 0
	Segments    []segment.Info    `json:"segments"`      // set by Seal
	// Suspect is set if an fsync of a segment failed: the bytes were readable when the recording
	// was sealed, but the disk reported an error.
	Suspect bool `json:"suspect,omitempty"`
}

// State is the state of a recording. The files that exist determine it.
type State string

// The states in the order in which a recording passes through them.
const (
	StateOpen     State = "open"     // recording.json
	StateSealed   State = "sealed"   // … and sealed.json
	StateExported State = "exported" // … and export.json
	StateUploaded State = "uploaded" // … and uploaded.json
	StateRemoved  State = "removed"  // … and neither segments nor staging
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
			// 248 is the greatest multiple of 62 that fits in a byte. Larger values would favour
			// the first letters.
			if b < 248 && len(id) < cap(id) {
				id = append(id, idAlphabet[int(b)%len(idAlphabet)])
			}
		}
	}
	return string(id)
}

// validEgressID reports whether id is a plain file name.
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

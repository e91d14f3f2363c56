package overview

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/syncflow/textegress/internal/timeline"
)

// Errors of a [Service]. The texts of errors that wrap them are for people and name no participant.
var (
	// ErrNotFound means that there is no such recording or session.
	ErrNotFound = errors.New("not found")
	// ErrInvalid means that the request is malformed.
	ErrInvalid = errors.New("invalid")
	// ErrNotNow means that the data is not available at present, for example because the store does
	// not answer or the disk is low.
	ErrNotNow = errors.New("not available now")
	// ErrGone means that the data was removed.
	ErrGone = errors.New("gone")
	// ErrRefused means that the action is not possible in the present state.
	ErrRefused = errors.New("refused")
)

// Service is what the page and the API show and do. Its methods may be called at any time and from
// any goroutine. They do not check rights: callers do.
type Service interface {
	// Overview returns the present state. It does not block on disk or network.
	Overview() Overview
	// Recordings returns recordings, running ones included, newest first.
	Recordings(ctx context.Context, q Query) (RecordingPage, error)
	// Recording returns one recording, or ErrNotFound.
	Recording(ctx context.Context, egressID string) (Recording, error)
	// Events returns the lines of events.jsonl from line from on, 1 being the first. While the
	// recording is open, its Next waits for more. Where LIVE_TEXT does not allow it, they are
	// without text.
	Events(ctx context.Context, egressID string, from int64) (Events, error)
	// Timeline returns the recording over time, up to now.
	Timeline(ctx context.Context, egressID string) (timeline.Data, error)
	// Report returns report.html.
	Report(ctx context.Context, egressID string) (io.ReadCloser, error)
	// Zip writes all objects of a delivered recording as one archive.
	Zip(ctx context.Context, egressID string, w io.Writer) error

	// Stop ends the recording of a session. The decision is durable when it returns nil.
	Stop(ctx context.Context, egressID string) error
	// Record starts the recording of a running session and returns its egress id.
	Record(ctx context.Context, sessionID, project string) (string, error)
	// Exclude ends the recording of a participant, durably, from the next packet on. An empty
	// session id means all sessions of the project.
	Exclude(ctx context.Context, identity, sessionID, project string) error
	// Rehearse makes a test recording in a project and removes it again. It returns the steps, and
	// an error if one of them failed. It takes some seconds, and minutes if the store is slow.
	Rehearse(ctx context.Context, project string) ([]RehearsalStep, error)
}

// Results of a [RehearsalStep].
const (
	StepOK       = "ok"
	StepFailed   = "failed"
	StepNotTried = "not_tried" // the platform does not allow it
)

// RehearsalStep is one step of a test recording.
type RehearsalStep struct {
	Name   string
	Result string // one of the Step… constants
	Detail string
	Took   time.Duration
}

// Query selects recordings.
type Query struct {
	Text    string // in the room's name, the session id or the egress id, in any case
	Project string // id
	// From and To limit the start of the recording; zero: no limit. To is exclusive.
	From, To time.Time
	Cursor   string // RecordingPage.Next of the page before
	Limit    int    // 0: 50; at most MaxLimit
}

// Limits of [Query.Limit].
const (
	DefaultLimit = 50
	MaxLimit     = 500
)

// RecordingPage is one page of a list of recordings, without their people.
type RecordingPage struct {
	Recordings []Recording `json:"recordings"`
	Next       string      `json:"next,omitempty"` // cursor of the next page, if there is one
}

// Phrase is the completeness of a recording in a few words, such as "nothing missed".
type Phrase struct {
	Text  string `json:"text"`
	Level Level  `json:"level"`
}

// Recording is a recording, running or past.
type Recording struct {
	Session

	// Bucket and Prefix are where it is or will be delivered, such as "s3://study" and "a/b/".
	Bucket string `json:"bucket,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	// Captured is its completeness in a phrase; empty while it is not known.
	Captured Phrase `json:"captured,omitzero"`
	// Statement is its completeness in sentences, and Methods a sentence or two that is fit for the
	// methods section of a publication. Only of a single recording, once it is rendered.
	Statement []string `json:"statement,omitempty"`
	Methods   string   `json:"methods,omitempty"`
	// Participants who were there at any time.
	Attended int   `json:"attended"`
	Files    int   `json:"files"`   // files that participants sent
	Objects  int   `json:"objects"` // delivered objects
	Bytes    int64 `json:"bytes"`   // of those
	// HasReport is set if report.html can be had, HasEvents if Events works.
	HasReport bool `json:"has_report"`
	HasEvents bool `json:"has_events"`
}

// Event is one line of events.jsonl.
type Event struct {
	N    int64
	JSON []byte // the line without its line feed; not changed after it was returned
	Kind string // as in the line
	// Topic and Identity of the sender, empty if the line has none.
	Topic, Identity string
	UnixNS          int64
}

// Events is a reader of the lines of one recording. It is not safe for concurrent use.
type Events interface {
	// Next returns the next line. It waits for one while the recording is open, and returns io.EOF
	// after the last line of a complete recording.
	Next(ctx context.Context) (Event, error)
	// Ready returns the last n that Next returns without waiting.
	Ready() int64
	// Text reports whether the lines contain what was said. It is false where LIVE_TEXT does not
	// allow it; the lines are then those of [WithoutText].
	Text() bool
	// Version identifies how the lines were made. With another version they are numbered anew.
	Version() string
	Close() error
}

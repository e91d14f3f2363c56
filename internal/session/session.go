// Package session defines sessions and the interfaces to the platforms that run them. A platform
// (SyncFlow, or a LiveKit server by itself) implements [Registry], which answers questions about
// sessions. Each way to learn of new sessions (a broker, webhooks, polling) implements [Source].
// The controller and the recorder depend on these interfaces and on no platform.
//
// The guarantee: an announcement is a hint, and the registry decides. A session has ended when its
// registry says so, not when its room closes. If the registry cannot tell, it returns an error, and
// such an error ends no session.
package session

import (
	"errors"
	"log/slog"
	"time"
)

// Session is one run of a room.
type Session struct {
	// ID identifies the session within its project and is never reused. Treat it as opaque: its
	// form depends on the platform (SyncFlow: a UUID, LiveKit: the sid of the room).
	ID   string
	Room string // name of the LiveKit room; any text
	// StartedAt is the start by the platform's clock, see [Registry.ClockOffset]; zero if unknown.
	StartedAt time.Time
	// State is the state in the answer that contained the session; 0 if the answer did not state
	// it.
	State State
	// Limits are what the room's creator asks to have recorded; zero: everything.
	Limits Limits
}

// Limits narrow one recording within the selection rules of its project.
type Limits struct {
	Topics       []string // in the form of TOPICS_ALLOW; empty: all
	Participants []string // identities, in the form of IDENTITIES_ALLOW; empty: all
}

// IsZero reports whether there are no limits.
func (l Limits) IsZero() bool { return len(l.Topics) == 0 && len(l.Participants) == 0 }

// State is the state of a session. The zero value means unknown.
type State int

// The states of a session.
const (
	Running State = iota + 1 // running, with somebody in the room
	// Empty means that the platform counts the session as running, but its room is empty or does
	// not exist.
	Empty
	Ended
	// Replaced means that another run of the session's room is open. It occurs only on platforms
	// where a session is one run of a room. The other run is another session, unless the server
	// crashed and made the room again.
	Replaced
)

// String implements [fmt.Stringer].
func (s State) String() string {
	switch s {
	case Running:
		return "running"
	case Empty:
		return "empty"
	case Ended:
		return "ended"
	case Replaced:
		return "replaced"
	}
	return "unknown"
}

// Project describes a project, as its platform reports it.
type Project struct {
	Name       string // free text
	LiveKitURL string // URL of the LiveKit server: ws, wss, http or https
}

// Room describes a room that was joined, as LiveKit reports it.
type Room struct {
	SID      string // identifies this run of the room
	Metadata string // any text
}

// Token admits one participant to a room.
type Token struct {
	URL string // of the LiveKit server: ws, wss, http or https
	JWT string
}

// LogValue keeps the token out of logs.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// String keeps the token out of formatted text.
func (t Token) String() string { return "token for " + t.URL }

// GoString keeps the token out of text formatted with %#v.
func (t Token) GoString() string { return t.String() }

// The definite answers of a [Registry]. Test with [errors.Is]; any other error means that the
// answer is unknown.
var (
	ErrUnknown = errors.New("no such session")
	ErrEnded   = errors.New("the session has ended")
	// ErrRoomMissing means that the platform counts the session as running, but LiveKit has no such
	// room.
	ErrRoomMissing = errors.New("the session's room does not exist")
	// ErrWrongRoom means that the session is running, but in a room with a different name.
	ErrWrongRoom = errors.New("the session's room has another name")
	// ErrUnauthorized means that the platform refuses our credentials.
	ErrUnauthorized = errors.New("not authorized")
)

// Package session says what a session is, who announces one and who answers for one. A platform
// (SyncFlow, or a LiveKit server by itself) implements [Registry]; each way of hearing of its
// sessions (a broker, webhooks, polling) implements [Source]. Whoever records sessions knows these
// interfaces and no platform.
//
// The guarantee: an announcement is a hint, and the registry decides. A session is over when its
// registry says so, not when its room closes; where the registry cannot tell, it returns an error,
// and nothing ends because of that.
package session

import (
	"errors"
	"log/slog"
	"time"
)

// Session is one run of a room.
type Session struct {
	// ID names the session within its project, and is never used again. Compare it as a whole:
	// its form is the platform's (SyncFlow: a UUID, LiveKit: the sid of the room).
	ID   string
	Room string // name of its LiveKit room; any text
	// StartedAt is by the platform's clock, see [Registry.ClockOffset]; zero: not known.
	StartedAt time.Time
	// State is as of the answer that the session comes from; 0: the answer does not say it.
	State State
}

// State says whether a session runs. Zero is no state: nobody knows.
type State int

// The states of a session.
const (
	Running State = iota + 1 // it runs, and somebody is in its room
	// Empty: it counts as running, but nobody is in its room, or LiveKit has no such room.
	Empty
	Ended
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
	}
	return "unknown"
}

// Project is what a platform says of the project that its sessions belong to.
type Project struct {
	Name       string // free text
	LiveKitURL string // of its LiveKit server: ws, wss, http or https
}

// Room is what LiveKit says of a room that was joined.
type Room struct {
	SID      string // of this run of the room
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

// The definite answers of a [Registry]. Test with [errors.Is]; any other error means that nobody
// knows.
var (
	ErrUnknown = errors.New("no such session")
	ErrEnded   = errors.New("the session has ended")
	// ErrRoomMissing: the session counts as running, but LiveKit has no such room.
	ErrRoomMissing = errors.New("the session's room does not exist")
	// ErrWrongRoom: the session runs, and its room has another name than the one asked for.
	ErrWrongRoom = errors.New("the session's room has another name")
	// ErrUnauthorized: the platform refuses our credentials.
	ErrUnauthorized = errors.New("not authorized")
)

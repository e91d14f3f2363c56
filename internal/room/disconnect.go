package room

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
)

// Reason says why a connection ended. What is not one of the constants does not occur; a caller
// should treat every Reason it has no rule for like ReasonConnectionLost.
type Reason string

// The reasons. Only ReasonRoomDeleted and ReasonRoomClosed mean that the room is over.
const (
	// the room was deleted through the server API
	ReasonRoomDeleted Reason = "room_deleted"
	// the last participant who counts left, and the server closed the room
	ReasonRoomClosed         Reason = "room_closed"
	ReasonParticipantRemoved Reason = "participant_removed" // an administrator removed us
	// another client joined under our identity
	ReasonDuplicateIdentity Reason = "duplicate_identity"
	ReasonServerShutdown    Reason = "server_shutdown" // the server announced its end
	// the data channels ended without a reason, or the server saw them end
	ReasonConnectionLost Reason = "connection_lost"
	// the server has no such session (it was restarted) or wants a new one
	ReasonStateMismatch Reason = "state_mismatch"
	// the server moves the room to another node
	ReasonMigration  Reason = "migration"
	ReasonJoinFailed Reason = "join_failed" // the connection was not established
	ReasonLeft       Reason = "left"        // we left: Conn.Leave
	ReasonRefused    Reason = "refused"     // Handler.Joined returned an error
	// anything else; Disconnect.Detail has the server's words
	ReasonOther Reason = "other"
)

// RoomEnded reports whether the reason means that the room itself is over, so that joining again
// would create a new one.
func (r Reason) RoomEnded() bool { return r == ReasonRoomDeleted || r == ReasonRoomClosed }

// Disconnect is how a connection ended. Detail is for people: it holds neither payloads nor
// identities nor tokens.
type Disconnect struct {
	Reason Reason
	Detail string
	// LastReceived is when the server was last heard over the data channels' path, or when this
	// process fell asleep; zero if that is not known. What the server sent later has not arrived;
	// what it sent shortly before may be missing too.
	LastReceived time.Time
}

// String returns the reason with its detail.
func (e Disconnect) String() string {
	if e.Detail == "" {
		return string(e.Reason)
	}
	return string(e.Reason) + " (" + e.Detail + ")"
}

// DisconnectError is returned by Client.Join when the connection ended before it was established:
// the server said so, or Handler.Joined returned an error, which Err then is.
type DisconnectError struct {
	Disconnect Disconnect
	Err        error
}

// Error implements error.
func (e *DisconnectError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("room: join ended: %s: %v", e.Disconnect, e.Err)
	}
	return "room: join ended: " + e.Disconnect.String()
}

// Unwrap returns the error of Handler.Joined, if that was the reason.
func (e *DisconnectError) Unwrap() error { return e.Err }

// JoinError is returned by Client.Join when no connection came about.
type JoinError struct {
	// what was being done: "url", "offer", "websocket", "join response", "relay", "answer", "data
	// channels"
	Phase string
	// HTTP status with which the server refused the websocket; 0 if it did not get so far
	Status int
	Body   string // the first 300 bytes of its answer, see redact.Text
	Err    error  // the cause; wraps context.DeadlineExceeded after a timeout
}

// Error implements error.
func (e *JoinError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "room: joining: %s", e.Phase)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": HTTP status %d", e.Status)
		if e.Unsupported() {
			b.WriteString(": the server has no /rtc/v1: LiveKit 1.11 or later is needed " +
				"(or a proxy in front of it does not pass /rtc/v1 on as a websocket)")
		}
		if e.Body != "" {
			fmt.Fprintf(&b, ": %q", e.Body)
		}
		return b.String()
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap returns the cause.
func (e *JoinError) Unwrap() error { return e.Err }

// Unauthorized reports whether the server refused the token.
func (e *JoinError) Unauthorized() bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
}

// RoomNotFound reports whether the server does not create rooms for those who join
// (room.auto_create: false) and has none of that name. The text is livekit-server's ErrRoomNotFound
// (pkg/service/errors.go).
func (e *JoinError) RoomNotFound() bool {
	return e.Status == http.StatusNotFound && strings.Contains(e.Body, "room does not exist")
}

// Unsupported reports whether the server lacks what we join with, /rtc/v1: LiveKit has it since
// 1.11. A server without it answers 404 with the text of Go's default mux, and one with it answers
// 404 without a text to requests that ask for no websocket.
func (e *JoinError) Unsupported() bool {
	return e.Status == http.StatusNotFound &&
		!e.RoomNotFound()
}

// reasons follows livekit.DisconnectReason as livekit-server uses it (pkg/rtc/types/interfaces.go,
// ToDisconnectReason).
var reasons = map[livekit.DisconnectReason]Reason{
	livekit.DisconnectReason_ROOM_DELETED:        ReasonRoomDeleted,
	livekit.DisconnectReason_ROOM_CLOSED:         ReasonRoomClosed,
	livekit.DisconnectReason_PARTICIPANT_REMOVED: ReasonParticipantRemoved,
	livekit.DisconnectReason_DUPLICATE_IDENTITY:  ReasonDuplicateIdentity,
	livekit.DisconnectReason_SERVER_SHUTDOWN:     ReasonServerShutdown,
	livekit.DisconnectReason_STATE_MISMATCH:      ReasonStateMismatch,
	livekit.DisconnectReason_JOIN_FAILURE:        ReasonJoinFailed,
	livekit.DisconnectReason_MIGRATION:           ReasonMigration,
	livekit.DisconnectReason_SIGNAL_CLOSE:        ReasonConnectionLost,
	livekit.DisconnectReason_CONNECTION_TIMEOUT:  ReasonConnectionLost,
}

// disconnectFrom translates the server's LeaveRequest.
func disconnectFrom(l *livekit.LeaveRequest) *Disconnect {
	return &Disconnect{
		Reason: cmp.Or(reasons[l.GetReason()], ReasonOther),
		Detail: "server: " + l.GetReason().String() + ", " + l.GetAction().String(),
	}
}

package room

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
)

// Reason is the reason why a connection ended. It is always one of the constants. A caller should
// treat a Reason that it does not handle like ReasonConnectionLost.
type Reason string

// The reasons. Only ReasonRoomDeleted and ReasonRoomClosed mean that the room has ended.
const (
	// the room was deleted through the server API
	ReasonRoomDeleted Reason = "room_deleted"
	// the last participant that LiveKit counts left, and the server closed the room
	ReasonRoomClosed         Reason = "room_closed"
	ReasonParticipantRemoved Reason = "participant_removed" // an administrator removed us
	// another client joined under our identity
	ReasonDuplicateIdentity Reason = "duplicate_identity"
	ReasonServerShutdown    Reason = "server_shutdown" // the server announced its shutdown
	// the data channels ended without a reason, or the server reported their end
	ReasonConnectionLost Reason = "connection_lost"
	// the server has no such session (it was restarted) or requires a new one
	ReasonStateMismatch Reason = "state_mismatch"
	// the server moves the room to another node
	ReasonMigration  Reason = "migration"
	ReasonJoinFailed Reason = "join_failed" // the connection was not established
	ReasonLeft       Reason = "left"        // we called Conn.Leave
	ReasonRefused    Reason = "refused"     // Handler.Joined returned an error
	// any other reason; Disconnect.Detail contains the server's text
	ReasonOther Reason = "other"
)

// RoomEnded reports whether the reason means that the room itself has ended. Joining again would
// then create a new room.
func (r Reason) RoomEnded() bool { return r == ReasonRoomDeleted || r == ReasonRoomClosed }

// Disconnect describes how a connection ended. Detail is text for people, without payloads,
// identities or tokens.
type Disconnect struct {
	Reason Reason
	Detail string
	// LastReceived is the time of the last packet from the server over the data channels' path, or
	// the time at which this process was suspended; zero if unknown. Packets that the server sent
	// later have not arrived, and those it sent shortly before may be missing, too.
	LastReceived time.Time
}

// String returns the reason with its detail.
func (e Disconnect) String() string {
	if e.Detail == "" {
		return string(e.Reason)
	}
	return string(e.Reason) + " (" + e.Detail + ")"
}

// DisconnectError is returned by Client.Join if the connection was ended before it was established,
// either by the server or by an error of Handler.Joined, which is then Err.
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

// JoinError is returned by Client.Join if no connection could be established.
type JoinError struct {
	// the failed step: "url", "offer", "websocket", "join response", "relay", "answer", "data
	// channels"
	Phase string
	// HTTP status with which the server refused the websocket; 0 if it did not
	Status int
	Body   string // first 300 bytes of the response body, see redact.Text
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

// RoomNotFound reports whether the room does not exist on a server that does not create rooms on
// join (room.auto_create: false). The text is livekit-server's ErrRoomNotFound
// (pkg/service/errors.go).
func (e *JoinError) RoomNotFound() bool {
	return e.Status == http.StatusNotFound && strings.Contains(e.Body, "room does not exist")
}

// Unsupported reports whether the server lacks /rtc/v1, which LiveKit provides since 1.11 and which
// a join requires. A server without it answers 404 with the text of Go's default mux. A server with
// it answers 404 without a text to requests that do not request a websocket.
func (e *JoinError) Unsupported() bool {
	return e.Status == http.StatusNotFound &&
		!e.RoomNotFound()
}

// reasons maps livekit.DisconnectReason as used by livekit-server (pkg/rtc/types/interfaces.go,
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

// disconnectFrom converts the server's LeaveRequest.
func disconnectFrom(l *livekit.LeaveRequest) *Disconnect {
	return &Disconnect{
		Reason: cmp.Or(reasons[l.GetReason()], ReasonOther),
		Detail: "server: " + l.GetReason().String() + ", " + l.GetAction().String(),
	}
}

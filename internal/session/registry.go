package session

import (
	"context"
	"time"
)

// Registry answers questions about the sessions of one project. It is safe for concurrent use.
// Questions change nothing on the platform; in particular, they create no room.
type Registry interface {
	// Platform returns the name of the platform, for messages: "SyncFlow" or "LiveKit".
	Platform() string
	// Project reads the project, which also proves that the credentials are valid.
	Project(ctx context.Context) (Project, error)
	// Register registers this service with a platform that announces sessions to registered
	// services only. It may be called repeatedly.
	Register(ctx context.Context) error
	// Sessions lists the sessions that the platform counts as running, in no particular order. The
	// list may include a session whose end the platform missed, with the state [Empty].
	Sessions(ctx context.Context) ([]Session, error)
	// Session returns a running session; [ErrUnknown], [ErrEnded] and [ErrRoomMissing] are definite
	// answers. The request may cost the platform more than State.
	Session(ctx context.Context, id string) (Session, error)
	// State reports whether a session is running and whether anybody is in its room; [ErrUnknown]
	// is a definite answer.
	State(ctx context.Context, s Session) (State, error)
	// Token returns a token that admits a hidden recorder with the given identity to the room of a
	// session; [ErrUnknown], [ErrEnded] and [ErrWrongRoom] are definite answers. A token proves
	// that the session is running and that the room belongs to it.
	Token(ctx context.Context, s Session, identity string) (Token, error)
	// SessionOf returns the id of the session that a room names as its own, or "" if it names none.
	// On platforms where a session is one run of a room, that is the sid of the room.
	SessionOf(r Room) string
	// CanonicalID converts an id as typed by a person to the form used in announcements.
	CanonicalID(text string) string
	// ClockOffset returns how far the platform's clock is ahead of ours; known is false before the
	// first measurement.
	ClockOffset() (offset time.Duration, known bool)
}

package session

import (
	"context"
	"time"
)

// Registry answers for the sessions of one project. It is safe for concurrent use. Asking changes
// nothing on the platform; above all it creates no room.
type Registry interface {
	// Project reads the project, which proves the credentials.
	Project(ctx context.Context) (Project, error)
	// Register makes this service known to a platform that announces sessions only to those that
	// it knows. It may be called again.
	Register(ctx context.Context) error
	// Sessions lists the sessions that run, as far as the platform knows, in no order. One whose
	// end the platform missed may be among them, with the state [Empty].
	Sessions(ctx context.Context) ([]Session, error)
	// Session returns one that runs: [ErrUnknown], [ErrEnded] and [ErrRoomMissing] are definite. It
	// may cost the platform more than State.
	Session(ctx context.Context, id string) (Session, error)
	// State says whether a session runs and whether somebody is in its room; [ErrUnknown] is
	// definite.
	State(ctx context.Context, s Session) (State, error)
	// Token returns a token that admits a hidden recorder to the room of a session, under an
	// identity: [ErrUnknown], [ErrEnded] and [ErrWrongRoom] are definite. A token proves that the
	// session runs and that the room is its own.
	Token(ctx context.Context, s Session, identity string) (Token, error)
	// SessionOf returns the id of the session that a room says it belongs to; "" where it does not
	// say.
	SessionOf(r Room) string
	// CanonicalID returns the id that a person's spelling of it means, as announcements have it.
	CanonicalID(text string) string
	// ClockOffset returns how far the platform's clock is ahead of ours; false: not known yet.
	ClockOffset() (offset time.Duration, known bool)
}

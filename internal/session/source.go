package session

import (
	"context"
	"errors"
	"time"
)

// Announcement reports that a session may have started. It is a hint, not a proof: it may be old,
// duplicated or forged. [Registry.Token] verifies it.
type Announcement struct {
	SessionID string
	Room      string // name of the LiveKit room; any text
	// Source is the name of the source, as stated in the recording: "rabbitmq", "webhook", …
	Source     string
	ReceivedAt time.Time
	// Redelivered is true if the announcement was delivered before and may not have been accepted.
	Redelivered bool
	// Backlog is true if the announcement waited while we were not connected. The session may have
	// ended since.
	Backlog bool
	Limits  Limits // what the room's creator asks to have recorded; zero: everything
}

// Fresh reports whether the session has just started. Its room then exists.
func (a Announcement) Fresh() bool { return !a.Backlog && !a.Redelivered }

// Gap is an interval, by our clock, in which announcements may have been lost.
type Gap struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Handler receives the announcements of a source. Its methods are called concurrently, even for the
// same session.
type Handler interface {
	// Announce handles an announcement. It returns nil once the intent to record the session is
	// durable, or if there is nothing to record. The announcement is then not delivered again;
	// after an error it is delivered again.
	Announce(ctx context.Context, a Announcement) error
	// Withdraw ends the recording of a session because the room's creator does not want it any
	// more. It returns nil once that is durable, or if there is nothing to end. If the session is
	// announced again and is running, its next part is recorded. After an error, it is called
	// again.
	Withdraw(ctx context.Context, sessionID string) error
	// Resync is called at the start, and whenever the source receives announcements again after an
	// interval in which it may have missed some. It returns nil once the sessions that started in
	// these gaps have been searched for. After an error, it is called again with the same gaps.
	Resync(ctx context.Context, missed []Gap) error
}

// ErrLater is returned by [Handler.Announce] if it is not known yet whether the room that was
// announced continues a session whose recorder is out of the room. The source announces it again.
var ErrLater = errors.New("the room may continue a session that is being recorded; announce it " +
	"again")

// Source announces the sessions of one project.
type Source interface {
	// Run receives announcements until ctx ends, and reconnects indefinitely. An error means that
	// it can never receive any.
	Run(ctx context.Context, h Handler) error
	// State returns the current state of the source. It may be called at any time.
	State() SourceState
}

// SourceState is the current state of a source.
type SourceState struct {
	Name      string    // as in [Announcement]
	Connected bool      // announcements are being received
	Since     time.Time // when Connected last changed
	LastError string    // why the source is not connected, or another problem; without secrets
	// Queue is the queue in which announcements wait for us; "" if there is none or it is not known
	// yet.
	Queue string
	// Exclusive is true if the announcements in Queue are lost with the connection.
	Exclusive bool
	// Missed lists the gaps whose sessions have not been searched for yet.
	Missed []Gap
	// Received is when the last message arrived on a source that only receives; zero if none has.
	Received time.Time
	// Silent is the time since which the platform itself cannot announce sessions; zero if it can.
	Silent time.Time
}

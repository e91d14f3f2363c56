package session

import (
	"context"
	"time"
)

// Announcement says that a session may have begun. It is a hint, not a proof: it may be old,
// duplicated or forged. [Registry.Token] verifies it.
type Announcement struct {
	SessionID string
	Room      string // name of its LiveKit room; any text
	// Source names the source, for the record: "rabbitmq", "webhook", …
	Source     string
	ReceivedAt time.Time
	// Redelivered: it was delivered to us before, and we did not accept it or may not have.
	Redelivered bool
	// Backlog: it waited while we were not connected, so the session may be over by now.
	Backlog bool
}

// Fresh reports whether the session began moments ago, in which case its room exists.
func (a Announcement) Fresh() bool { return !a.Backlog && !a.Redelivered }

// Gap is an interval, by our clock, in which announcements may have been lost.
type Gap struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Handler receives what a source hears. Its methods are called concurrently, even for the same
// session.
type Handler interface {
	// Announce handles an announcement. It returns nil once the intent to record the session is
	// durable, or if there is nothing to record; the announcement is then not delivered again.
	// After an error it is.
	Announce(ctx context.Context, a Announcement) error
	// Resync is called at the start, and whenever the source hears announcements again after an
	// interval in which it did not, or may not have. It returns nil once the sessions that began in
	// the missed intervals have been looked for; after an error it is called again with the same
	// gaps.
	Resync(ctx context.Context, missed []Gap) error
}

// Source announces the sessions of one project.
type Source interface {
	// Run listens until ctx ends, and reconnects indefinitely. An error means that it can never
	// listen.
	Run(ctx context.Context, h Handler) error
	// State returns the current state of the source. It may be called at any time.
	State() SourceState
}

// SourceState is the current state of a source.
type SourceState struct {
	Connected bool      // announcements are being received
	Since     time.Time // when Connected last changed
	LastError string    // why it is not connected, or another problem; no secrets
	// Queue is the queue in which announcements wait for us; "" if there is none, or not known yet.
	Queue string
	// Exclusive: the announcements in Queue are lost with the connection.
	Exclusive bool
	// Missed are the gaps whose sessions have not been looked for yet.
	Missed []Gap
	// Silent is when the platform itself became unable to announce sessions; zero if it is able.
	Silent time.Time
}

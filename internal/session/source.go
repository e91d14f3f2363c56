package session

import (
	"context"
	"time"
)

// Announcement says that a session may have begun. It is a hint, not a proof: it may be old, come
// twice, or be made up. [Registry.Token] is what verifies it.
type Announcement struct {
	SessionID string
	Room      string // name of its LiveKit room; any text
	// Source is what heard of it, a word for the record: "rabbitmq", "webhook", …
	Source     string
	ReceivedAt time.Time
	// Redelivered: it was given to us before, and we did not accept it, or that is not known.
	Redelivered bool
	// Backlog: it waited while we were not connected, so the session may be over by now.
	Backlog bool
}

// Fresh reports whether the session began moments ago: then its room is there.
func (a Announcement) Fresh() bool { return !a.Backlog && !a.Redelivered }

// Gap is a time in which announcements may have been lost. By our clock.
type Gap struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Handler receives what a source hears. Its methods are called concurrently, also for one session.
type Handler interface {
	// Announce takes an announcement. It returns nil when the intent to record the session is
	// durable, or when there is nothing to record: the announcement does not come again then. After
	// an error it comes again.
	Announce(ctx context.Context, a Announcement) error
	// Resync is called whenever the source hears announcements after a time in which it did not, or
	// in which it cannot be sure that it did; at the start too. It returns nil when the sessions
	// that began in missed have been looked for; after an error it is called again with those gaps.
	Resync(ctx context.Context, missed []Gap) error
}

// Source announces the sessions of one project.
type Source interface {
	// Run listens until ctx ends, and reconnects without end. An error means that it can never
	// listen.
	Run(ctx context.Context, h Handler) error
	// State returns what the source does at the moment. It may be called at any time.
	State() SourceState
}

// SourceState is what a source does at the moment.
type SourceState struct {
	Connected bool      // announcements reach us
	Since     time.Time // when Connected became what it is
	LastError string    // why it is not connected, or what else is wrong; no secrets
	// Queue is where announcements wait for us; "": nowhere, or not known yet.
	Queue string
	// Exclusive: what waits in Queue is lost with the connection.
	Exclusive bool
	// Missed are the gaps whose sessions have not been looked for yet.
	Missed []Gap
	// Silent, if not zero, is since when the platform itself cannot announce sessions.
	Silent time.Time
}

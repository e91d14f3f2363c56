package livekit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/recent"
	"github.com/syncflow/textegress/internal/session"
)

// countDelay is the age below which a room with a participant count of 0 may be in use. The server
// updates the count every five seconds; the rest covers timestamps in whole seconds and the error
// of the measured clock offset.
const countDelay = 10 * time.Second

// projectProbe is the room name in the request that verifies a key. The answer does not depend on
// whether the room exists.
const projectProbe = CheckPrefix + "key"

// Options describes a project that is a LiveKit server.
type Options struct {
	URL  string // of the server: ws, wss, http or https
	Key  Key
	Name string // of the project
	// Records decides which rooms are recorded, usually [Policy.Verdict]. It is called
	// concurrently.
	Records func(Room) Verdict
	Logger  *slog.Logger // nil: discard
}

// Registry presents the rooms of a LiveKit server as the sessions of a project. The id of a session
// is the sid of the room, so each run of a room is a separate session. It implements
// [session.Registry].
//
// The guarantee: no request creates a room, and an answer about a session never describes another
// run of its room.
type Registry struct {
	name, url string
	rooms     *Rooms
	records   func(Room) Verdict
	log       *slog.Logger

	memory memory

	seen     recent.Set // rooms that the server has listed
	joined   recent.Set // rooms that this process joined before the server listed them
	reported recent.Set // rooms whose metadata was reported as malformed
}

// NewRegistry returns the registry of a project. It does not connect.
func NewRegistry(o Options) (*Registry, error) {
	rooms, err := NewRooms(o.URL, o.Key)
	if err != nil {
		return nil, err
	}
	if o.Records == nil {
		return nil, errors.New("livekit: Options.Records is required")
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Registry{
		name: o.Name, url: strings.TrimSpace(o.URL), rooms: rooms, records: o.Records, log: log,
	}, nil
}

// SetKey replaces the API key for all later requests.
func (r *Registry) SetKey(key Key) { r.rooms.SetKey(key) }

// Close closes idle connections.
func (r *Registry) Close() { r.rooms.http.CloseIdleConnections() }

// Platform implements [session.Registry].
func (r *Registry) Platform() string { return "LiveKit" }

// Project implements [session.Registry]. The name and the URL are settings; a request for a list of
// rooms verifies the key.
func (r *Registry) Project(ctx context.Context) (session.Project, error) {
	if _, err := r.rooms.List(ctx, projectProbe); err != nil {
		return session.Project{}, err
	}
	return session.Project{Name: r.name, LiveKitURL: r.url}, nil
}

// Register implements [session.Registry]. LiveKit needs no registration.
func (r *Registry) Register(context.Context) error { return nil }

// Sessions implements [session.Registry]. The sessions are the rooms that are to be recorded.
func (r *Registry) Sessions(ctx context.Context) ([]session.Session, error) {
	sessions, _, err := r.List(ctx)
	return sessions, err
}

// List lists the rooms to record, and the sids of rooms that have opted out in their metadata.
func (r *Registry) List(ctx context.Context) (sessions []session.Session, optedOut []string,
	err error,
) {
	rooms, err := r.list(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, room := range rooms {
		v := r.verdict(room)
		switch {
		case v.Record:
			sessions = append(sessions, r.session(room, v))
		case v.OptedOut:
			optedOut = append(optedOut, room.SID)
		}
	}
	return sessions, optedOut, nil
}

// Session implements [session.Registry]. It finds every room that has not opted out, also one that
// no pattern matches, by its sid or by its name. The server keeps no rooms that have ended, so such
// a session is unknown.
func (r *Registry) Session(ctx context.Context, id string) (session.Session, error) {
	rooms, err := r.list(ctx)
	if err != nil {
		return session.Session{}, err
	}
	found := -1
	for i, room := range rooms {
		if room.SID == id {
			found = i
			break
		}
		if room.Name == id {
			found = i
		}
	}
	if found < 0 {
		return session.Session{}, fmt.Errorf("LiveKit has no room with this sid or name: %w",
			session.ErrUnknown)
	}
	v := r.verdict(rooms[found])
	if v.OptedOut {
		return session.Session{}, errOptedOut
	}
	return r.session(rooms[found], v), nil
}

// errOptedOut means that the room has opted out of recording in its metadata.
var errOptedOut = fmt.Errorf("the room's metadata says that it is not to be recorded: %w",
	session.ErrEnded)

// State implements [session.Registry]. A room that does not exist has closed if the server keeps
// its rooms in Redis, which outlives a crash. Otherwise the room is Empty: the server may have
// crashed, and its participants may be about to recreate the room.
func (r *Registry) State(ctx context.Context, s session.Session) (session.State, error) {
	room, found, err := r.find(ctx, s.Room)
	switch {
	case err != nil:
		return 0, err
	case !found && r.keepsRooms(ctx):
		return session.Ended, nil
	case !found:
		return session.Empty, nil
	case room.SID != s.ID:
		return session.Replaced, nil
	case r.verdict(room).OptedOut:
		return session.Ended, nil
	}
	return r.state(room), nil
}

// memory is the server's latest answer to whether it keeps its rooms in its memory alone.
type memory struct {
	mu    sync.Mutex // held during the request
	alone bool
	asked time.Time
}

// askAgain is how long an answer about the server's memory is used.
const askAgain = time.Minute

// keepsRooms reports whether the server keeps its rooms over a crash, see [Key.SingleNode]. It
// returns false if the server does not answer.
func (r *Registry) keepsRooms(ctx context.Context) bool {
	m := &r.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.asked.IsZero() && time.Since(m.asked) < askAgain {
		return !m.alone
	}
	alone, err := r.rooms.Key().SingleNode(ctx, r.url)
	if err != nil {
		return false
	}
	m.alone, m.asked = alone, time.Now()
	return !alone
}

// Confirm returns the current state and limits of an announced run of a room. recorded is false if
// the run does not exist or is not to be recorded.
func (r *Registry) Confirm(ctx context.Context, s session.Session) (confirmed session.Session,
	recorded bool, err error,
) {
	room, found, err := r.find(ctx, s.Room)
	if err != nil || !found || room.SID != s.ID {
		return session.Session{}, false, err
	}
	v := r.verdict(room)
	return r.session(room, v), v.Record, nil
}

// Token implements [session.Registry]. It signs the token after the server has confirmed that the
// run of the room exists.
func (r *Registry) Token(ctx context.Context, s session.Session, identity string) (session.Token,
	error,
) {
	room, found, err := r.find(ctx, s.Room)
	switch {
	case err != nil:
		return session.Token{}, err
	case !found:
		return session.Token{}, fmt.Errorf("LiveKit has no room of this name: %w",
			session.ErrRoomMissing)
	case room.SID != s.ID:
		// not final: the server may have crashed and recreated the room
		return session.Token{}, errors.New("another run of the session's room is open")
	case r.verdict(room).OptedOut:
		return session.Token{}, errOptedOut
	}
	token, err := r.rooms.Key().JoinToken(s.Room, identity)
	if err != nil {
		return session.Token{}, err
	}
	return session.Token{URL: r.url, JWT: token}, nil
}

// SessionOf implements [session.Registry]. It is called at every join of a room, so it also marks a
// room that the join may have created, see [Registry.state].
func (r *Registry) SessionOf(room session.Room) string {
	if !r.seen.Has(room.SID) {
		r.joined.Add(room.SID)
	}
	return room.SID
}

// list lists all rooms.
func (r *Registry) list(ctx context.Context) ([]Room, error) {
	rooms, err := r.rooms.List(ctx)
	for _, room := range rooms {
		r.seen.Add(room.SID)
	}
	return rooms, err
}

// find returns the room with a name.
func (r *Registry) find(ctx context.Context, name string) (room Room, found bool, err error) {
	if room, found, err = r.rooms.Find(ctx, name); found {
		r.seen.Add(room.SID)
	}
	return room, found, err
}

// CanonicalID implements [session.Registry]. Sids and names are case-sensitive.
func (r *Registry) CanonicalID(text string) string { return strings.TrimSpace(text) }

// ClockOffset implements [session.Registry].
func (r *Registry) ClockOffset() (time.Duration, bool) { return r.rooms.ClockOffset() }

// session returns a room as a session.
func (r *Registry) session(room Room, v Verdict) session.Session {
	return session.Session{
		ID: room.SID, Room: room.Name, StartedAt: room.Created, State: r.state(room),
		Limits: v.Limits,
	}
}

// state reports whether anybody is in a room. The server's count may be up to five seconds late, so
// a new room counts as in use.
//
// A room that our own join created is new, too, but must not count as in use: it would be recorded
// as a session although it is empty. It is marked as joined. A join does not mark a room that the
// server listed before, because the join did not create it: such a room still counts as new, for
// example when a recorder checks whether its run continues the session. Other recorders in the
// room, such as LiveKit's egress, do not count.
func (r *Registry) state(room Room) session.State {
	switch {
	case room.Participants > 0:
		return session.Running
	case r.joined.Has(room.SID) || room.Created.IsZero():
		return session.Empty
	}
	offset, _ := r.rooms.ClockOffset()
	if time.Now().Add(offset).Sub(room.Created) < countDelay {
		return session.Running
	}
	return session.Empty
}

// OptedOut reports whether the room has opted out of recording in its metadata.
func (r *Registry) OptedOut(room session.Room) bool {
	return r.records(Room{SID: room.SID, Metadata: room.Metadata}).OptedOut
}

// verdict decides about a room, and reports malformed metadata once.
func (r *Registry) verdict(room Room) Verdict {
	v := r.records(room)
	if v.Problem != nil && r.reported.Add(room.SID) {
		r.log.Warn("a room is not recorded: its metadata is malformed", "room", room.Name,
			"session_id", room.SID, "error", v.Problem)
	}
	return v
}

package controller_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/recorder/recordertest"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
)

// bareLiveKit is a LiveKit server without SyncFlow, to test that the controller and the recorder do
// not depend on SyncFlow. A session is one run of a room, and its id is the room's sid, which is
// not a UUID and has upper and lower case. There is nothing to register with, the registry makes
// tokens itself, and rooms carry no metadata. It is registry, source, key and server in one.
type bareLiveKit struct {
	handler chan session.Handler // of the source, as soon as it runs

	mu      sync.Mutex
	rooms   map[string]string             // sid by name: those that are open
	conns   map[string]*recordertest.Conn // the recorder's, by sid
	out     map[string]bool               // by sid: the room's creator has opted out
	wants   map[string]session.Limits     // by sid: the limits of the room's creator
	empty   map[string]bool               // by sid: nobody is in the room
	ins     []string                      // the sids of all joins that were accepted
	made    int                           // rooms that a join made
	node    string
	redis   bool  // the servers share their rooms
	cut     bool  // the recorder does not reach the server
	unknown error // error of SingleNode; nil: the correct answer
}

func newBareLiveKit() *bareLiveKit {
	return &bareLiveKit{
		handler: make(chan session.Handler, 1), rooms: map[string]string{},
		conns: map[string]*recordertest.Conn{}, out: map[string]bool{},
		wants: map[string]session.Limits{}, empty: map[string]bool{}, node: "ND_1",
	}
}

// errCut is the error of every request while the recorder does not reach the server.
var errCut = errors.New("fake: the server cannot be reached")

// open opens a room and announces it as a source does, again after an error; a room of that name is
// closed before.
func (l *bareLiveKit) open(t *testing.T, h session.Handler, name, sid string) {
	t.Helper()
	l.closeRoom(name)
	l.appear(name, sid)
	for range 5 {
		err := h.Announce(t.Context(), session.Announcement{
			SessionID: sid, Room: name, Source: "webhook", ReceivedAt: time.Now(),
		})
		if err == nil {
			return
		}
		if !errors.Is(err, session.ErrLater) {
			t.Error(err)
		}
		time.Sleep(time.Second)
	}
	t.Error("the announcement was not accepted")
}

// appear opens a room without an announcement.
func (l *bareLiveKit) appear(name, sid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rooms[name] = sid
}

func (l *bareLiveKit) closeRoom(name string) {
	if conn := l.vanish(name); conn != nil {
		conn.Stop(room.ReasonRoomDeleted)
	}
}

// vanish closes a room without notifying the recorder, and returns the recorder's connection.
func (l *bareLiveKit) vanish(name string) *recordertest.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	conn := l.conns[l.rooms[name]]
	delete(l.rooms, name)
	return conn
}

// set changes the server.
func (l *bareLiveKit) set(change func(*bareLiveKit)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

// loseAll breaks all connections of the recorder, which cannot reconnect until l.cut is false.
func (l *bareLiveKit) loseAll() {
	l.set(func(l *bareLiveKit) { l.cut = true })
	for _, c := range l.conns {
		c.Stop(room.ReasonConnectionLost)
	}
}

// restart kills the server and starts it again. Without Redis, it forgets its rooms.
func (l *bareLiveKit) restart() {
	l.loseAll()
	l.set(func(l *bareLiveKit) {
		l.node += "'"
		if !l.redis {
			clear(l.rooms)
		}
		l.cut = false
	})
}

// optOut changes the opt-out of the room's creator.
func (l *bareLiveKit) optOut(sid string, yes bool) {
	l.set(func(l *bareLiveKit) { l.out[sid] = yes })
}

// joins returns the sids of the rooms that the recorder joined, in order.
func (l *bareLiveKit) joins() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ins)
}

// conn returns the recorder's connection to a run of a room, nil if there is none.
func (l *bareLiveKit) conn(sid string) *recordertest.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[sid]
}

// Run implements [session.Source].
func (l *bareLiveKit) Run(ctx context.Context, h session.Handler) error {
	if err := h.Resync(ctx, nil); err != nil {
		return err
	}
	l.handler <- h
	<-ctx.Done()
	return nil
}

func (l *bareLiveKit) source() session.Source { return bareSource{l} }

type bareSource struct{ *bareLiveKit }

func (bareSource) State() session.SourceState { return session.SourceState{Connected: true} }

// locked calls f with the lock, unless the server cannot be reached.
func (l *bareLiveKit) locked(f func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return errCut
	}
	return f()
}

func (l *bareLiveKit) Project(context.Context) (session.Project, error) {
	return session.Project{LiveKitURL: "ws://fake"}, nil
}

// JoinToken implements [controller.Key].
func (l *bareLiveKit) JoinToken(room, _ string) (string, error) { return room, nil }

// FindRoom implements [controller.Key].
func (l *bareLiveKit) FindRoom(_ context.Context, _, name string) (found session.Room, ok bool,
	err error,
) {
	err = l.locked(func() error {
		found.SID, ok = l.rooms[name]
		return nil
	})
	return found, ok, err
}

// SingleNode implements [controller.Key].
func (l *bareLiveKit) SingleNode(context.Context, string) (single bool, err error) {
	err = l.locked(func() error {
		single = !l.redis && l.unknown == nil
		return l.unknown
	})
	return single, err
}

func (l *bareLiveKit) Register(context.Context) error { return nil }

func (l *bareLiveKit) Sessions(context.Context) (list []session.Session, err error) {
	err = l.locked(func() error {
		for name, sid := range l.rooms {
			if l.out[sid] {
				continue
			}
			list = append(list, session.Session{
				ID: sid, Room: name, State: l.state(name, sid), Limits: l.wants[sid],
			})
		}
		return nil
	})
	return list, err
}

func (l *bareLiveKit) state(name, sid string) session.State {
	switch open := l.rooms[name]; {
	case open == "":
		return session.Empty
	case open != sid:
		return session.Replaced
	case l.out[sid]:
		return session.Ended
	case l.empty[sid]:
		return session.Empty
	}
	return session.Running
}

func (l *bareLiveKit) Session(_ context.Context, id string) (s session.Session, err error) {
	err = l.locked(func() error {
		for name, sid := range l.rooms {
			switch {
			case sid != id:
				continue
			case l.out[id]:
				return session.ErrEnded
			}
			s = session.Session{ID: id, Room: name, Limits: l.wants[id]}
			return nil
		}
		return session.ErrUnknown // it keeps nothing of a room that has closed
	})
	return s, err
}

func (l *bareLiveKit) State(_ context.Context, s session.Session) (state session.State, err error) {
	err = l.locked(func() error {
		state = l.state(s.Room, s.ID)
		return nil
	})
	return state, err
}

func (l *bareLiveKit) Token(_ context.Context, s session.Session, _ string) (t session.Token,
	err error,
) {
	err = l.locked(func() error {
		switch {
		case l.rooms[s.Room] == "":
			return session.ErrRoomMissing
		case l.rooms[s.Room] != s.ID:
			return errors.New("fake: another run of the room is open")
		case l.out[s.ID]:
			return session.ErrEnded
		}
		t = session.Token{URL: "ws://fake", JWT: s.Room}
		return nil
	})
	return t, err
}

func (l *bareLiveKit) SessionOf(r session.Room) string { return r.SID }

func (*bareLiveKit) Platform() string { return "LiveKit" }

func (l *bareLiveKit) CanonicalID(text string) string { return text }

func (l *bareLiveKit) ClockOffset() (time.Duration, bool) { return 0, false }

// Join implements [recorder.Room]. Like LiveKit, it creates a room that does not exist.
func (l *bareLiveKit) Join(_ context.Context, o room.JoinOptions) (recorder.Conn, error) {
	in := room.Info{RoomName: o.Token}
	err := l.locked(func() error {
		sid, ok := l.rooms[o.Token]
		if !ok {
			l.made++
			sid = fmt.Sprintf("RM_made%d", l.made)
			l.rooms[o.Token], l.empty[sid] = sid, true
		}
		in.RoomSID, in.NodeID = sid, l.node
		if !l.empty[sid] {
			in.Participants = []room.Participant{{SID: "PA_" + sid + "_alice", Identity: "alice"}}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := o.Handler.Joined(in); err != nil {
		return nil, err
	}
	c := recordertest.NewConn(o.Handler)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[in.RoomSID] = c
	l.ins = append(l.ins, in.RoomSID)
	return c, nil
}

package controller_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/recorder/recordertest"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// bareLiveKit is a platform of another kind than SyncFlow, to show that nothing in the controller
// and the recorder depends on that one: a LiveKit server by itself. A session is one run of a room,
// and its id is the room's sid, which is no UUID and has upper and lower case. There is nothing to
// register with, the registry makes tokens itself, and rooms carry no metadata. It is registry,
// webhook (the source) and server in one.
type bareLiveKit struct {
	handler chan session.Handler // of the source, as soon as it runs

	mu    sync.Mutex
	rooms map[string]string             // sid by name: those that are open
	conns map[string]*recordertest.Conn // the recorder's, by sid
	out   map[string]bool               // by sid: the room's creator wants no recording
	wants map[string]session.Limits     // by sid: what the room's creator wants recorded
	ins   []string                      // the sids of all joins
}

func newBareLiveKit() *bareLiveKit {
	return &bareLiveKit{
		handler: make(chan session.Handler, 1), rooms: map[string]string{},
		conns: map[string]*recordertest.Conn{}, out: map[string]bool{}, wants: map[string]session.Limits{},
	}
}

// open opens a room and announces it; a room of that name is closed before.
func (l *bareLiveKit) open(t *testing.T, h session.Handler, name, sid string) {
	t.Helper()
	l.closeRoom(name)
	l.mu.Lock()
	l.rooms[name] = sid
	l.mu.Unlock()
	if err := h.Announce(t.Context(), session.Announcement{
		SessionID: sid, Room: name, Source: "webhook", ReceivedAt: time.Now(),
	}); err != nil {
		t.Error(err)
	}
}

func (l *bareLiveKit) closeRoom(name string) {
	l.mu.Lock()
	conn := l.conns[l.rooms[name]]
	delete(l.rooms, name)
	l.mu.Unlock()
	if conn != nil {
		conn.Stop(room.ReasonRoomDeleted)
	}
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

func (l *bareLiveKit) Project(context.Context) (session.Project, error) {
	return session.Project{LiveKitURL: "ws://fake"}, nil
}

// JoinToken implements [controller.Key].
func (l *bareLiveKit) JoinToken(room, _ string) (string, error) { return room, nil }

// FindRoom implements [controller.Key].
func (l *bareLiveKit) FindRoom(_ context.Context, _, name string) (session.Room, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sid, ok := l.rooms[name]
	return session.Room{SID: sid}, ok, nil
}

func (l *bareLiveKit) Register(context.Context) error { return nil }

func (l *bareLiveKit) Sessions(context.Context) ([]session.Session, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []session.Session
	for name, sid := range l.rooms {
		if l.out[sid] {
			continue
		}
		list = append(list, session.Session{
			ID: sid, Room: name, State: session.Running, Limits: l.wants[sid],
		})
	}
	return list, nil
}

func (l *bareLiveKit) Session(ctx context.Context, id string) (session.Session, error) {
	list, err := l.Sessions(ctx)
	for _, s := range list {
		if s.ID == id {
			return s, nil
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil && l.out[id]:
		err = session.ErrEnded
	case err == nil:
		err = session.ErrUnknown // it keeps nothing of a room that has closed
	}
	return session.Session{}, err
}

func (l *bareLiveKit) State(_ context.Context, s session.Session) (session.State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rooms[s.Room] == s.ID && !l.out[s.ID] {
		return session.Running, nil
	}
	return session.Ended, nil
}

func (l *bareLiveKit) Token(ctx context.Context, s session.Session, _ string) (session.Token,
	error,
) {
	if state, err := l.State(ctx, s); err != nil || state == session.Ended {
		return session.Token{}, session.ErrEnded
	}
	return session.Token{URL: "ws://fake", JWT: s.Room}, nil
}

func (l *bareLiveKit) SessionOf(r session.Room) string { return r.SID }

func (*bareLiveKit) Platform() string { return "LiveKit" }

func (l *bareLiveKit) CanonicalID(text string) string { return text }

func (l *bareLiveKit) ClockOffset() (time.Duration, bool) { return 0, false }

// Join implements [recorder.Room].
func (l *bareLiveKit) Join(_ context.Context, o room.JoinOptions) (recorder.Conn, error) {
	l.mu.Lock()
	sid := l.rooms[o.Token]
	l.mu.Unlock()
	if err := o.Handler.Joined(room.Info{RoomSID: sid, RoomName: o.Token}); err != nil {
		return nil, err
	}
	c := recordertest.NewConn(o.Handler)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[sid] = c
	l.ins = append(l.ins, sid)
	return c, nil
}

// TestAnotherPlatform records sessions of a platform that is not SyncFlow, from the announcement to
// the end, over a restart.
func TestAnotherPlatform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, dir := newBareLiveKit(), t.TempDir()
		start := func() (ctl *controller.Controller, s *spool.Spool, stop func()) {
			s, err := spool.Open(dir, spool.Options{
				SyncInterval: time.Hour, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctl = controller.New(controller.Options{
				ProjectID: "school", Instance: "i", Registry: l,
				Sources: []session.Source{l.source()}, Spool: s, Room: l,
				RejoinWindow: 10 * time.Minute,
				Logger:       slog.New(slog.NewTextHandler(t.Output(), nil)),
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); ctl.Run(ctx) }()
			synctest.Wait()
			return ctl, s, func() {
				cancel()
				<-done
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		want := func(s *spool.Spool, lines ...string) {
			t.Helper()
			synctest.Wait()
			(&world{t: t, spool: s}).want(lines...)
		}

		_, s, stop := start()
		h := <-l.handler
		l.open(t, h, "class", "RM_aB3dE")
		want(s, "RM_aB3dE part 1 open")
		l.conn("RM_aB3dE").Handler.Packet(room.Reliable, time.Now(), []byte("one"))
		l.conn("RM_aB3dE").Handler.Packet(room.Reliable, time.Now(), []byte("two"))
		time.Sleep(time.Second) // recordings are listed by the time of their creation
		stop()

		// The session continues after a restart as its next part.
		ctl, s, stop := start()
		defer stop()
		h = <-l.handler
		want(s, "RM_aB3dE part 1 sealed COMPLETE service_stopped", "RM_aB3dE part 2 open")
		if r := s.Recordings()[0].Info(); r.Source != "webhook" || r.RoomName != "class" {
			t.Errorf("%+v", r)
		}

		time.Sleep(time.Second)
		// The name is used again, by a session of its own, whose id differs in case only.
		l.open(t, h, "class", "RM_Ab3De")
		time.Sleep(time.Minute)
		want(s, "RM_aB3dE part 1 sealed COMPLETE service_stopped",
			"RM_aB3dE part 2 sealed COMPLETE room_deleted", "RM_Ab3De part 1 open")
		if id, err := ctl.Record(t.Context(), "RM_Ab3De"); err != nil ||
			id != s.Recordings()[2].ID() {
			t.Errorf("Record = %q, %v", id, err)
		}
		l.closeRoom("class")
		time.Sleep(time.Hour)
		want(s, "RM_aB3dE part 1 sealed COMPLETE service_stopped",
			"RM_aB3dE part 2 sealed COMPLETE room_deleted",
			"RM_Ab3De part 1 sealed COMPLETE room_deleted")
		if snap := ctl.Snapshot(); snap.State != controller.StateRunning ||
			len(snap.Recorders)+len(snap.Unrequested)+len(snap.Unrecorded) != 0 {
			t.Errorf("%+v", snap)
		}
	})
}

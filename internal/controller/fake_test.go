package controller_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/recorder/recordertest"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/session/sessiontest"
	"github.com/syncflow/textegress/internal/spool"
)

const project = "0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11"

// fakeRegistry is a platform with one project. Its answers follow the contract: an
// ended session has no token, a started one whose room is gone says so.
type fakeRegistry struct {
	mu       sync.Mutex
	sessions map[string]fakeSession
	roomless map[string]bool // started, but LiveKit has no such room
	noRedis  bool            // the list, and any started session, are an error
	// detailsFail makes the details of a session an error, but not the list.
	detailsFail bool
	down        int // answers that fail before the API is back
	calls       map[string]int
	order       []string // the calls in their order
	// hook is called with each call, without the lock, when its answer is fixed; nil: none. The
	// answer waits for it.
	hook func(name, id string)
	// silent: nothing is answered; the client gives up after 40 s.
	silent bool
	ahead  time.Duration // the platform's clock, before ours
	// detailsTake is how long the answer with the details of a session takes.
	detailsTake time.Duration
}

type fakeSession struct {
	session.Session

	status string // "Started", "Stopped"
}

// wait is how a silent API answers.
func (a *fakeRegistry) wait(ctx context.Context) error {
	a.mu.Lock()
	silent := a.silent
	a.mu.Unlock()
	if !silent {
		return nil
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(40 * time.Second):
		return errDown
	}
}

func (a *fakeRegistry) fallSilent(yes bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.silent = yes
}

var errDown = errors.New("fake: the API is down")

func newRegistry() *fakeRegistry {
	return &fakeRegistry{
		sessions: map[string]fakeSession{}, roomless: map[string]bool{},
		calls: map[string]int{},
	}
}

func (a *fakeRegistry) set(id, status string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[id] = fakeSession{session.Session{ID: id, Room: "room-" + id}, status}
}

// everybodyLeaves closes the room of a session that goes on being Started; comeBack opens it again.
func (a *fakeRegistry) everybodyLeaves(id string) { a.setRoomless(id, true) }
func (a *fakeRegistry) comeBack(id string)        { a.setRoomless(id, false) }

func (a *fakeRegistry) setRoomless(id string, is bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roomless[id] = is
}

// inUse reports whether a session has a room with somebody in it.
func (a *fakeRegistry) inUse(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sessions[id].status == "Started" && !a.roomless[id]
}

// count returns how often something was called.
func (a *fakeRegistry) count(name string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[name]
}

func (a *fakeRegistry) setHook(f func(name, id string)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hook = f
}

func (a *fakeRegistry) call(name string) error {
	a.calls[name]++
	a.order = append(a.order, name)
	if a.down > 0 {
		a.down--
		return errDown
	}
	return nil
}

func (a *fakeRegistry) Project(ctx context.Context) (session.Project, error) {
	if err := a.wait(ctx); err != nil {
		return session.Project{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return session.Project{Name: "Study", LiveKitURL: "ws://fake"}, a.call("project")
}

func (a *fakeRegistry) Register(ctx context.Context) error {
	if err := a.wait(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.call("register")
}

func (a *fakeRegistry) Sessions(ctx context.Context) ([]session.Session, error) {
	if err := a.wait(ctx); err != nil {
		return nil, err
	}
	list, err := a.list()
	a.mu.Lock()
	hook := a.hook
	a.mu.Unlock()
	if hook != nil {
		hook("sessions", "")
	}
	return list, err
}

func (a *fakeRegistry) list() ([]session.Session, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.call("sessions"); err != nil {
		return nil, err
	}
	var out []session.Session
	for _, s := range a.sessions {
		if s.status != "Started" {
			continue
		}
		if a.noRedis {
			return nil, errors.New("fake: egress not connected (redis required)")
		}
		s.State = session.Running
		if a.roomless[s.ID] {
			s.State = session.Empty
		}
		out = append(out, s.Session)
	}
	return out, nil
}

func (a *fakeRegistry) Session(ctx context.Context, id string) (session.Session, error) {
	a.mu.Lock()
	takes := a.detailsTake
	a.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return session.Session{}, context.Cause(ctx)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.call("session"); err != nil {
		return session.Session{}, err
	}
	s, ok := a.sessions[id]
	switch {
	case !ok:
		return session.Session{}, session.ErrUnknown
	case s.status != "Started":
		return session.Session{}, session.ErrEnded
	case a.roomless[id]:
		return session.Session{}, session.ErrRoomMissing
	case a.noRedis || a.detailsFail:
		return session.Session{}, errors.New("fake: egress not connected (redis required)")
	}
	return s.Session, nil
}

func (a *fakeRegistry) State(ctx context.Context, s session.Session) (session.State, error) {
	if err := a.wait(ctx); err != nil {
		return 0, err
	}
	state, err := a.state(s.ID)
	a.mu.Lock()
	hook := a.hook
	a.mu.Unlock()
	if hook != nil {
		hook("state", s.ID)
	}
	return state, err
}

func (a *fakeRegistry) state(id string) (session.State, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.call("state"); err != nil {
		return 0, err
	}
	s, ok := a.sessions[id]
	switch {
	case !ok:
		return 0, session.ErrUnknown
	case s.status != "Started":
		return session.Ended, nil
	case a.roomless[id]:
		return session.Empty, nil
	}
	return session.Running, nil
}

func (a *fakeRegistry) Token(ctx context.Context, of session.Session, _ string) (session.Token,
	error,
) {
	if err := a.wait(ctx); err != nil {
		return session.Token{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.call("token"); err != nil {
		return session.Token{}, err
	}
	s, ok := a.sessions[of.ID]
	switch {
	case !ok:
		return session.Token{}, session.ErrUnknown
	case s.Room != of.Room:
		return session.Token{}, session.ErrWrongRoom
	case s.status != "Started":
		return session.Token{}, session.ErrEnded
	}
	return session.Token{JWT: of.ID, URL: "ws://fake"}, nil
}

// SessionOf implements [session.Registry]: the metadata is the id.
func (a *fakeRegistry) SessionOf(r session.Room) string { return r.Metadata }

// Platform implements [session.Registry].
func (*fakeRegistry) Platform() string { return "SyncFlow" }

// CanonicalID implements [session.Registry].
func (a *fakeRegistry) CanonicalID(text string) string { return strings.ToLower(text) }

// ClockOffset implements [session.Registry].
func (a *fakeRegistry) ClockOffset() (time.Duration, bool) { return a.ahead, true }

// fakeSource announces the sessions of the fake registry.
type fakeSource struct{ *sessiontest.Source }

func (s *fakeSource) announce(t *testing.T, id string) {
	t.Helper()
	s.announceRoom(t, id, "room-"+id)
}

func (s *fakeSource) announceRoom(t *testing.T, id, roomName string) {
	t.Helper()
	if err := s.Announce(session.Announcement{
		SessionID: id, Room: roomName, Source: "rabbitmq", ReceivedAt: time.Now(),
	}); err != nil {
		t.Errorf("the announcement of %s was not accepted: %v", id, err)
	}
}

// fakeRoom holds every room open until it is closed for the session. A join of a room that is gone
// would bring it back, and fails the test.
type fakeRoom struct {
	t        *testing.T
	registry *fakeRegistry
	mu       sync.Mutex
	joined   map[string]int
	conns    map[string]*recordertest.Conn
	panics   map[string]int // how often the join of a session panics
}

func (f *fakeRoom) Join(_ context.Context, o room.JoinOptions) (recorder.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.joined[o.Token]++
	if !f.registry.inUse(o.Token) {
		f.t.Errorf("a join brings back the room of %s", o.Token)
	}
	if f.panics[o.Token] > 0 {
		f.panics[o.Token]--
		panic("fake: a bug")
	}
	in := room.Info{RoomSID: "RM_" + o.Token, RoomMetadata: o.Token}
	if err := o.Handler.Joined(in); err != nil {
		return nil, err
	}
	c := recordertest.NewConn(o.Handler)
	f.conns[o.Token] = c
	return c, nil
}

func (f *fakeRoom) joins(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.joined[id]
}

func (f *fakeRoom) closeRoom(t *testing.T, id string) {
	t.Helper()
	f.end(t, id, room.ReasonRoomDeleted)
}

// end ends our stay in the room of a session.
func (f *fakeRoom) end(t *testing.T, id string, reason room.Reason) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.conns[id]
	if c == nil {
		t.Fatalf("we are not in the room of %s", id)
	}
	c.Stop(reason)
}

type world struct {
	t        *testing.T
	dir      string
	registry *fakeRegistry
	room     *fakeRoom
	all      bool
	fs       durable.FS // nil: the operating system's
	min      int64      // DISK_MIN_FREE
	log      *slog.Logger

	pseudonyms string // name of the key; empty: with identities

	login func(ctx context.Context) // of the source

	joinToken fakeKey // nil: no key of LiveKit

	spool *spool.Spool
	src   *fakeSource
	ctl   *controller.Controller
	stop  func()
}

func newWorld(t *testing.T) *world {
	registry := newRegistry()
	return &world{
		t: t, dir: t.TempDir(), registry: registry,
		room: &fakeRoom{
			t: t, registry: registry, joined: map[string]int{},
			conns: map[string]*recordertest.Conn{}, panics: map[string]int{},
		},
	}
}

// settings are ways to have a session recorded. The end of a recording is the same under each.
var settings = map[string]func(*world){
	"announced":           func(*world) {},
	"RECORD_SESSIONS=all": func(w *world) { w.all = true },
	"without Redis":       func(w *world) { w.registry.noRedis = true },
}

// start begins a process on the world's data directory.
func (w *world) start() {
	w.t.Helper()
	log := w.log
	if log == nil {
		log = slog.New(slog.NewTextHandler(w.t.Output(), nil))
	}
	s, err := spool.Open(w.dir, spool.Options{
		SyncInterval: time.Hour, FS: w.fs, DiskMinFree: w.min,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.spool, w.src = s, &fakeSource{sessiontest.NewSource()}
	w.src.Login = w.login
	w.ctl = controller.New(controller.Options{
		ProjectID: project, Instance: "i", RecordAll: w.all, Registry: w.registry,
		Sources: []session.Source{w.src}, Spool: s, Room: w.room,
		RejoinWindow: 10 * time.Minute, Logger: log, Key: w.joinToken.key(),
		Pseudonyms: w.pseudonyms != "", PseudonymKey: w.pseudonyms,
	})
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.ctl.Run(ctx) }()
	w.stop = func() {
		cancel()
		<-done
		if err := s.Close(); err != nil {
			w.t.Error(err)
		}
	}
	synctest.Wait()
}

// recordings says what is on disk, one line a recording.
func (w *world) recordings() []string {
	var out []string
	for _, r := range w.spool.Recordings() {
		i := r.Info()
		line := fmt.Sprintf("%s part %d %s", i.SessionID, i.Part, r.State())
		if s, ok := r.Sealed(); ok {
			line += fmt.Sprintf(" %s %s", s.Status, s.Reason)
		}
		out = append(out, line)
	}
	return out
}

func (w *world) want(lines ...string) {
	w.t.Helper()
	synctest.Wait()
	if got := w.recordings(); fmt.Sprint(got) != fmt.Sprint(lines) {
		w.t.Errorf("recordings:\n%q\nwant:\n%q", got, lines)
	}
}

// fakeKey makes join tokens. Its server has every room.
type fakeKey func(room, identity string) (string, error)

func (k fakeKey) JoinToken(room, identity string) (string, error) { return k(room, identity) }

func (k fakeKey) FindRoom(_ context.Context, _, name string) (session.Room, bool, error) {
	id := strings.TrimPrefix(name, "room-")
	return session.Room{SID: "RM_" + id, Metadata: id}, true, nil
}

func (k fakeKey) SingleNode(context.Context, string) (bool, error) { return false, nil }

func (k fakeKey) key() controller.Key {
	if k == nil {
		return nil
	}
	return k
}

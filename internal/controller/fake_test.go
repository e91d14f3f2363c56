package controller_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/source"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/syncflow"
)

const project = "0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11"

// fakeAPI is a SyncFlow with one project. Its answers follow the contract: an
// ended session has no token, a started one whose room is gone says so.
type fakeAPI struct {
	mu       sync.Mutex
	sessions map[string]syncflow.Session
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
	// detailsTake is how long the answer with the details of a session takes.
	detailsTake time.Duration
}

// wait is how a silent API answers.
func (a *fakeAPI) wait(ctx context.Context) error {
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

func (a *fakeAPI) fallSilent(yes bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.silent = yes
}

var errDown = errors.New("fake: the API is down")

func newAPI() *fakeAPI {
	return &fakeAPI{
		sessions: map[string]syncflow.Session{}, roomless: map[string]bool{},
		calls: map[string]int{},
	}
}

func (a *fakeAPI) set(id, status string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[id] = syncflow.Session{ID: id, Name: "class", RoomName: "room-" + id, Status: status}
}

// everybodyLeaves closes the room of a session that goes on being Started; comeBack opens it again.
func (a *fakeAPI) everybodyLeaves(id string) { a.setRoomless(id, true) }
func (a *fakeAPI) comeBack(id string)        { a.setRoomless(id, false) }

func (a *fakeAPI) setRoomless(id string, is bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roomless[id] = is
}

// inUse reports whether a session has a room with somebody in it.
func (a *fakeAPI) inUse(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sessions[id].Status == "Started" && !a.roomless[id]
}

// count returns how often something was called.
func (a *fakeAPI) count(name string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[name]
}

func (a *fakeAPI) setHook(f func(name, id string)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hook = f
}

func (a *fakeAPI) call(name string) error {
	a.calls[name]++
	a.order = append(a.order, name)
	if a.down > 0 {
		a.down--
		return errDown
	}
	return nil
}

func (a *fakeAPI) Project(ctx context.Context) (syncflow.Project, error) {
	if err := a.wait(ctx); err != nil {
		return syncflow.Project{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return syncflow.Project{ID: project, Name: "Study", LiveKitURL: "ws://fake"}, a.call("project")
}

func (a *fakeAPI) EnsureDevice(ctx context.Context, _, _ string) (syncflow.Device, error) {
	if err := a.wait(ctx); err != nil {
		return syncflow.Device{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return syncflow.Device{}, a.call("device")
}

func (a *fakeAPI) Sessions(ctx context.Context) ([]syncflow.Session, error) {
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

func (a *fakeAPI) list() ([]syncflow.Session, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.call("sessions"); err != nil {
		return nil, err
	}
	var out []syncflow.Session
	for _, s := range a.sessions {
		if a.noRedis && s.Status == "Started" {
			return nil, errors.New("fake: egress not connected (redis required)")
		}
		if s.Status == "Started" {
			s.NumParticipants = syncflow.Count{N: 2, Known: true}
			if a.roomless[s.ID] {
				s.NumParticipants.N = 0
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func (a *fakeAPI) Session(ctx context.Context, id string) (syncflow.Session, error) {
	a.mu.Lock()
	takes := a.detailsTake
	a.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return syncflow.Session{}, context.Cause(ctx)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.call("session"); err != nil {
		return syncflow.Session{}, err
	}
	s, ok := a.sessions[id]
	switch {
	case !ok:
		return s, syncflow.ErrNotFound
	case s.Status != "Started":
		return s, nil
	case a.roomless[id]:
		return s, syncflow.ErrRoomNotFound
	case a.noRedis || a.detailsFail:
		return s, errors.New("fake: egress not connected (redis required)")
	}
	return s, nil
}

func (a *fakeAPI) Participants(ctx context.Context, id string) (int, error) {
	if err := a.wait(ctx); err != nil {
		return 0, err
	}
	n, err := a.participants(id)
	a.mu.Lock()
	hook := a.hook
	a.mu.Unlock()
	if hook != nil {
		hook("participants", id)
	}
	return n, err
}

func (a *fakeAPI) participants(id string) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.call("participants"); err != nil {
		return 0, err
	}
	s, ok := a.sessions[id]
	switch {
	case !ok:
		return 0, syncflow.ErrNotFound
	case s.Status != "Started":
		return 0, syncflow.ErrSessionNotActive
	case a.roomless[id]:
		return 0, nil
	}
	return 2, nil
}

func (a *fakeAPI) Token(ctx context.Context, id, roomName, identity string) (syncflow.SessionToken,
	error,
) {
	if err := a.wait(ctx); err != nil {
		return syncflow.SessionToken{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.call("token"); err != nil {
		return syncflow.SessionToken{}, err
	}
	s, ok := a.sessions[id]
	switch {
	case !ok:
		return syncflow.SessionToken{}, syncflow.ErrNotFound
	case s.RoomName != roomName:
		return syncflow.SessionToken{}, syncflow.ErrWrongRoom
	case s.Status != "Started":
		return syncflow.SessionToken{}, syncflow.ErrSessionNotActive
	}
	return syncflow.SessionToken{Token: id, URL: "ws://fake"}, nil
}

// fakeSource delivers what the test announces, and hands back what the
// controller said to each.
type fakeSource struct {
	in    chan announcement
	call  chan call                 // calls of connected
	login func(ctx context.Context) // nil: it takes no time
}

type call struct {
	gaps   []source.Gap
	answer chan error
}

type announcement struct {
	source.Announcement
	answer chan error
}

func (s *fakeSource) Run(ctx context.Context, handle func(context.Context,
	source.Announcement) error, connected func(context.Context, []source.Gap) error,
) error {
	if s.login != nil {
		s.login(ctx)
	}
	if err := connected(ctx, nil); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case a := <-s.in:
			a.answer <- handle(ctx, a.Announcement)
		case k := <-s.call:
			go func() { k.answer <- connected(ctx, k.gaps) }()
		}
	}
}

func (s *fakeSource) State() source.State { return source.State{Connected: true} }

func (s *fakeSource) announce(t *testing.T, id string) {
	t.Helper()
	s.announceRoom(t, id, "room-"+id)
}

func (s *fakeSource) announceRoom(t *testing.T, id, roomName string) {
	t.Helper()
	a := announcement{source.Announcement{
		SessionID: id, RoomName: roomName,
		ReceivedAt: time.Now(),
	}, make(chan error, 1)}
	s.in <- a
	if err := <-a.answer; err != nil {
		t.Errorf("the announcement of %s was not accepted: %v", id, err)
	}
}

// fakeRoom holds every room open until it is closed for the session. A join of a room that is gone
// would bring it back, and fails the test.
type fakeRoom struct {
	t      *testing.T
	api    *fakeAPI
	mu     sync.Mutex
	joined map[string]int
	conns  map[string]*fakeConn
	panics map[string]int // how often the join of a session panics
}

type fakeConn struct {
	h    room.Handler
	done chan struct{}
	once sync.Once
	end  room.Disconnect
}

func (c *fakeConn) stop(r room.Reason) {
	c.once.Do(func() { c.end = room.Disconnect{Reason: r}; close(c.done) })
}
func (c *fakeConn) Done() <-chan struct{} { return c.done }
func (c *fakeConn) End() room.Disconnect  { return c.end }
func (c *fakeConn) Leave(context.Context) { c.stop(room.ReasonLeft) }

func (f *fakeRoom) Join(_ context.Context, o room.JoinOptions) (recorder.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.joined[o.Token]++
	if !f.api.inUse(o.Token) {
		f.t.Errorf("a join brings back the room of %s", o.Token)
	}
	if f.panics[o.Token] > 0 {
		f.panics[o.Token]--
		panic("fake: a bug")
	}
	in := room.Info{RoomSID: "RM_" + o.Token, RoomMetadata: "|session_id:" + o.Token +
		"|project_id:x|comments:|"}
	if err := o.Handler.Joined(in); err != nil {
		return nil, err
	}
	c := &fakeConn{h: o.Handler, done: make(chan struct{})}
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
	c.stop(reason)
}

type world struct {
	t    *testing.T
	dir  string
	api  *fakeAPI
	room *fakeRoom
	all  bool
	fs   durable.FS // nil: the operating system's
	min  int64      // DISK_MIN_FREE
	log  *slog.Logger

	pseudonyms string // name of the key; empty: with identities

	ahead time.Duration             // SyncFlow's clock
	login func(ctx context.Context) // of the source

	joinToken fakeKey // nil: no key of LiveKit

	spool *spool.Spool
	src   *fakeSource
	ctl   *controller.Controller
	stop  func()
}

func newWorld(t *testing.T) *world {
	api := newAPI()
	return &world{
		t: t, dir: t.TempDir(), api: api,
		room: &fakeRoom{
			t: t, api: api, joined: map[string]int{}, conns: map[string]*fakeConn{},
			panics: map[string]int{},
		},
	}
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
	w.spool, w.src = s, &fakeSource{
		in: make(chan announcement), call: make(chan call),
		login: w.login,
	}
	w.ctl = controller.New(controller.Options{
		ProjectID: project, Group: "text-egress", Instance: "i", RecordAll: w.all, API: w.api,
		Source: w.src, Spool: s, Room: w.room,
		RejoinWindow: 10 * time.Minute, Logger: log, Key: w.joinToken.key(),
		Pseudonyms: w.pseudonyms != "", PseudonymKey: w.pseudonyms,
		ClockOffset: func() time.Duration { return w.ahead },
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

func (k fakeKey) RoomExists(context.Context, string, string) (bool, error) { return true, nil }

func (k fakeKey) key() controller.Key {
	if k == nil {
		return nil
	}
	return k
}

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

	"github.com/syncflow/textegress"
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
	return &fakeAPI{sessions: map[string]syncflow.Session{}, roomless: map[string]bool{}, calls: map[string]int{}}
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

func (a *fakeAPI) Session(_ context.Context, id string) (syncflow.Session, error) {
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

func (a *fakeAPI) Token(ctx context.Context, id, roomName, identity string) (syncflow.SessionToken, error) {
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

func (s *fakeSource) Run(ctx context.Context, handle func(context.Context, source.Announcement) error, connected func(context.Context, []source.Gap) error) error {
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
	a := announcement{source.Announcement{SessionID: id, RoomName: roomName, ReceivedAt: time.Now()}, make(chan error, 1)}
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
	end  room.End
}

func (c *fakeConn) stop(r room.Reason) {
	c.once.Do(func() { c.end = room.End{Reason: r}; close(c.done) })
}
func (c *fakeConn) Done() <-chan struct{} { return c.done }
func (c *fakeConn) End() room.End         { return c.end }
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
	in := room.Info{RoomSID: "RM_" + o.Token, RoomMetadata: "|session_id:" + o.Token + "|project_id:x|comments:|"}
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

	joinToken func(room, identity string) (string, error) // nil: no key of LiveKit

	spool *spool.Spool
	src   *fakeSource
	ctl   *controller.Controller
	stop  func()
}

func newWorld(t *testing.T) *world {
	api := newAPI()
	return &world{
		t: t, dir: t.TempDir(), api: api,
		room: &fakeRoom{t: t, api: api, joined: map[string]int{}, conns: map[string]*fakeConn{}, panics: map[string]int{}},
	}
}

// start begins a process on the world's data directory.
func (w *world) start() {
	w.t.Helper()
	log := w.log
	if log == nil {
		log = slog.New(slog.NewTextHandler(w.t.Output(), nil))
	}
	s, err := spool.Open(w.dir, spool.Options{SyncInterval: time.Hour, FS: w.fs, DiskMinFree: w.min, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.spool, w.src = s, &fakeSource{in: make(chan announcement), call: make(chan call), login: w.login}
	w.ctl = controller.New(controller.Options{
		ProjectID: project, Group: "text-egress", Instance: "i", RecordAll: w.all, API: w.api, Source: w.src, Spool: s, Room: w.room,
		RejoinWindow: 10 * time.Minute, Logger: log, JoinToken: w.joinToken,
		Pseudonyms: w.pseudonyms != "", PseudonymKey: w.pseudonyms, ClockOffset: func() time.Duration { return w.ahead },
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

func TestAnnouncedSessionIsRecordedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.api.set("s1", "Started")
		w.start()
		defer w.stop()
		w.src.announce(t, "s1")
		w.src.announce(t, "s1") // the group stood twice in the request
		synctest.Wait()
		if n := w.room.joins("s1"); n != 1 {
			t.Errorf("%d joins, want 1", n)
		}
		w.want("s1 part 1 open")
		w.api.set("s1", "Stopped")
		w.room.closeRoom(t, "s1")
		w.want("s1 part 1 sealed COMPLETE room_deleted")
		w.src.announce(t, "s1") // redelivered after the end
		w.want("s1 part 1 sealed COMPLETE room_deleted")
	})
}

func TestAnnouncedAndEndedBeforeWeCouldJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.api.set("s1", "Stopped")
		w.start()
		defer w.stop()
		w.src.announce(t, "s1")
		w.want("s1 part 1 sealed ABORTED session_ended")
		if n := w.room.joins("s1"); n != 0 {
			t.Errorf("%d joins: a join makes the room of an ended session again", n)
		}
	})
}

func TestRestartContinuesAsASecondPart(t *testing.T) {
	for _, noRedis := range []bool{false, true} {
		t.Run(fmt.Sprintf("without Redis: %v", noRedis), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.api.noRedis = noRedis
				w.api.set("s1", "Started")
				w.start()
				w.src.announce(t, "s1")
				synctest.Wait()
				w.stop()
				w.start()
				defer func() { w.stop() }()
				w.want("s1 part 1 sealed COMPLETE service_stopped", "s1 part 2 open")
				w.api.set("s1", "Stopped")
				w.room.closeRoom(t, "s1")
				w.want("s1 part 1 sealed COMPLETE service_stopped", "s1 part 2 sealed COMPLETE room_deleted")
				second := w.spool.Recordings()[1].Info()
				if first := w.spool.Recordings()[0]; second.Previous != first.ID() || second.PreviousEndedUnixNS == 0 {
					t.Errorf("part 2 names %q (ended %d) as the one before, want %q", second.Previous, second.PreviousEndedUnixNS, first.ID())
				}
			})
		})
	}
}

// Whether a session runs is asked with the gentlest question: for details of a session the API
// needs two of its few database connections at once, so that a recorder of four sessions stalls it
// for everybody.
func TestStateIsAskedGently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 4 {
			w.api.set(fmt.Sprintf("s%d", i), "Started")
		}
		w.start()
		for i := range 4 {
			w.src.announce(t, fmt.Sprintf("s%d", i))
		}
		synctest.Wait()
		w.stop()
		w.start()
		defer func() { w.stop() }()
		synctest.Wait()
		if n := w.room.joins("s3"); n != 2 {
			t.Errorf("%d joins, want one before and one after the restart", n)
		}
		w.api.mu.Lock()
		defer w.api.mu.Unlock()
		if w.api.calls["session"] != 0 || w.api.calls["participants"] == 0 {
			t.Errorf("asked %v, want participants only", w.api.calls)
		}
	})
}

// TestPseudonymsGoOnInTheNextPart: a sid that is in both parts would give away who is who.
func TestPseudonymsGoOnInTheNextPart(t *testing.T) {
	for _, c := range []struct{ before, after, want string }{{"k1", "", "k1"}, {"k1", "k2", "k2"}, {"", "k2", "k2"}, {"", "", ""}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.pseudonyms = c.before
			w.api.set("s1", "Started")
			w.start()
			w.src.announce(t, "s1")
			synctest.Wait()
			w.stop()
			w.pseudonyms = c.after
			w.start()
			defer func() { w.stop() }()
			w.want("s1 part 1 sealed COMPLETE service_stopped", "s1 part 2 open")
			first, second := w.spool.Recordings()[0].Info(), w.spool.Recordings()[1].Info()
			if first.Pseudonyms != (c.before != "") || first.PseudonymKey != c.before || second.Pseudonyms != (c.want != "") || second.PseudonymKey != c.want {
				t.Errorf("%+v: part 1 %v %q, part 2 %v %q", c, first.Pseudonyms, first.PseudonymKey, second.Pseudonyms, second.PseudonymKey)
			}
		})
	}
}

// An announcement that waited in the queue while we were down finds the session
// sealed by the stop: it is the second part.
func TestQueuedAnnouncementAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.api.set("s1", "Started")
		w.start()
		w.src.announce(t, "s1")
		synctest.Wait()
		w.stop()
		w.api.set("s1", "Stopped")
		w.start()
		defer func() { w.stop() }()
		w.want("s1 part 1 sealed COMPLETE service_stopped")
	})
}

func TestUnannouncedSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.api.set("s1", "Started")
		w.api.set("s2", "Stopped")
		w.start()
		w.want()
		got := w.ctl.Snapshot().Unrequested
		if len(got) != 1 || got[0].SessionID != "s1" {
			t.Errorf("pointed out: %v, want s1 alone", got)
		}
		if _, err := w.ctl.Record(t.Context(), "s1"); err != nil {
			t.Errorf("record s1 on request: %v", err)
		}
		w.want("s1 part 1 open")
		if got := w.ctl.Snapshot().Unrequested; len(got) != 0 {
			t.Errorf("still pointed out: %v", got)
		}
		if _, err := w.ctl.Record(t.Context(), "s2"); !errors.Is(err, syncflow.ErrSessionNotActive) {
			t.Errorf("record s2: %v, want ErrSessionNotActive", err)
		}
		if _, err := w.ctl.Record(t.Context(), "s3"); !errors.Is(err, syncflow.ErrNotFound) {
			t.Errorf("record s3: %v, want ErrNotFound", err)
		}
		w.stop()
	})
}

func TestRecordAllTakesWhatLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.all = true
		w.api.set("s1", "Started")
		w.api.set("zombie", "Started")
		w.api.roomless["zombie"] = true
		w.start()
		defer w.stop()
		w.want("s1 part 1 open")
		if n := w.room.joins("zombie"); n != 0 {
			t.Errorf("%d joins of a session whose room is gone", n)
		}
		w.api.set("s2", "Started")
		time.Sleep(6 * time.Minute) // fake time: the next look at the list
		w.want("s1 part 1 open", "s2 part 1 open")
	})
}

// The broker's announcements wait until the project could be read; the service
// tries for as long as it takes.
func TestAPIDownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.api.set("s1", "Started")
		w.api.down = 7
		w.start()
		defer w.stop()
		if s := w.ctl.Snapshot(); s.State != controller.StateRetrying || s.Error == "" {
			t.Errorf("state %s (%q), want retrying and why", s.State, s.Error)
		}
		w.src.announce(t, "s1")
		w.want("s1 part 1 open")
		if s := w.ctl.Snapshot(); s.State != controller.StateRunning || s.Error != "" {
			t.Errorf("state %s (%q), want running", s.State, s.Error)
		}
	})
}

// A panic in one recorder is that session's trouble alone, and it goes on.
func TestOneSessionsPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.api.set("s1", "Started")
		w.api.set("s2", "Started")
		w.room.panics["s1"] = 2
		w.start()
		defer w.stop()
		w.src.announce(t, "s1")
		w.src.announce(t, "s2")
		time.Sleep(time.Minute) // fake time
		w.want("s1 part 1 open", "s2 part 1 open")
		for _, r := range w.ctl.Snapshot().Recorders {
			if !r.Connected || r.Status != textegress.StatusActive {
				t.Errorf("%s: connected %v, %s; want it in the room", r.Info.SessionID, r.Connected, r.Status)
			}
		}
	})
}

// Nothing is begun once the service stops: the announcement goes back to the
// queue, for the next start or another instance.
func TestNothingBeginsWhileStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.api.set("s1", "Started")
		w.start()
		w.stop()
		if _, err := w.ctl.Record(t.Context(), "s1"); !errors.Is(err, controller.ErrStopping) {
			t.Errorf("record: %v, want ErrStopping", err)
		}
	})
}

// An idle project asks the API for next to nothing.
func TestLightOnTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.api.set("s1", "Started")
		w.start()
		defer w.stop()
		w.src.announce(t, "s1")
		time.Sleep(time.Hour)
		w.api.mu.Lock()
		defer w.api.mu.Unlock()
		total := 0
		for _, n := range w.api.calls {
			total += n
		}
		// Project, device, token, and the list at the start and every five minutes.
		if total > 4+12+1 {
			t.Errorf("%d requests in an hour: %v", total, w.api.calls)
		}
	})
}

// meetingFS lets the directories of two recordings be made only at the same time.
type meetingFS struct {
	durable.OS

	here chan struct{}
}

func (f *meetingFS) Mkdir(op, name string) error {
	if op == "create" {
		select {
		case f.here <- struct{}{}:
		case <-f.here:
		}
	}
	return f.OS.Mkdir(op, name)
}

// A slow disk makes sessions that are announced together wait once, not one after the other; and a session that is asked for from
// two sides at once gets one recording.
func TestSessionsBeginSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fs = &meetingFS{here: make(chan struct{})}
		for _, id := range []string{"s1", "s2"} {
			w.api.set(id, "Started")
		}
		w.start()
		defer func() { w.stop() }()
		var wg sync.WaitGroup
		ids := make(chan string, 6)
		for range 3 {
			for _, id := range []string{"s1", "s2"} {
				wg.Go(func() {
					egress, err := w.ctl.Record(t.Context(), id)
					if err != nil {
						t.Error(err)
					}
					ids <- egress
				})
			}
		}
		wg.Wait() // for ever, if one waited for the other
		synctest.Wait()
		w.want("s1 part 1 open", "s2 part 1 open")
		seen := map[string]int{}
		for range cap(ids) {
			seen[<-ids]++
		}
		if len(seen) != 2 {
			t.Errorf("egress ids and how often they were answered: %v", seen)
		}
	})
}

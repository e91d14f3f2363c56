package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/syncflow"
	"github.com/syncflow/textegress/segment"
)

const sessionID = "c1d2e3f4-0000-4000-8000-000000000001"

// ours is the metadata that SyncFlow gives the room of the session.
const ours = "|session_id:" + sessionID + "|project_id:p|comments:x|"

// fakeRoom is a LiveKit that does what a script says, one step a join.
type fakeRoom struct {
	mu    sync.Mutex
	steps []step
	joins []join
}

// step is what happens at one join.
type step struct {
	info room.Info
	err  error // the join fails before the room is entered
	// fails is the error of a join that the room has accepted.
	fails error
	// run is called once the room has accepted us; the connection ends with the reason that it
	// returns. It must return when left is closed.
	run func(h room.Handler, left <-chan struct{}) room.Reason
	// heard is when the server was last heard, opens how long the channels take.
	heard time.Time
	opens time.Duration
}

type join struct {
	token string
	at    time.Time
	o     room.JoinOptions
}

type fakeConn struct {
	done chan struct{}
	left chan struct{}
	once sync.Once
	end  room.Disconnect
}

func (c *fakeConn) Done() <-chan struct{} { return c.done }
func (c *fakeConn) End() room.Disconnect  { <-c.done; return c.end }
func (c *fakeConn) Leave(context.Context) {
	c.once.Do(func() { close(c.left) })
	<-c.done
}

func (f *fakeRoom) Join(_ context.Context, o room.JoinOptions) (recorder.Conn, error) {
	f.mu.Lock()
	n := len(f.joins)
	f.joins = append(f.joins, join{token: o.Token, at: time.Now(), o: o})
	if n >= len(f.steps) {
		f.mu.Unlock()
		return nil, errors.New("fake: nothing listens")
	}
	s := f.steps[n]
	f.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if err := o.Handler.Joined(s.info); err != nil {
		return nil, fmt.Errorf("refused: %w", err)
	}
	if s.fails != nil {
		return nil, s.fails
	}
	c := &fakeConn{done: make(chan struct{}), left: make(chan struct{})}
	go func() {
		defer close(c.done)
		reason := s.run(o.Handler, c.left)
		c.end = room.Disconnect{Reason: reason, LastReceived: s.heard}
	}()
	time.Sleep(s.opens)
	return c, nil
}

func (f *fakeRoom) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.joins)
}

// fakeAuthority answers from functions; the default is a session that runs.
type fakeAuthority struct {
	mu         sync.Mutex
	identities []string
	asked      int
	token      func(n int) error
	state      func(n int) (session.State, error)
	// How long the n-th answer takes; nil: no time.
	tokenTakes, stateTakes func(n int) time.Duration
	givenUp                int // questions that were given up
}

// take lets time pass, unless the question is given up.
func (a *fakeAuthority) take(ctx context.Context, n int, takes func(n int) time.Duration) error {
	if takes == nil {
		return nil
	}
	select {
	case <-time.After(takes(n)):
		return nil
	case <-ctx.Done():
		a.mu.Lock()
		defer a.mu.Unlock()
		a.givenUp++
		return context.Cause(ctx)
	}
}

func (a *fakeAuthority) Token(ctx context.Context, identity string) (string, string, error) {
	a.mu.Lock()
	n := len(a.identities) + 1
	a.mu.Unlock()
	if err := a.take(ctx, n, a.tokenTakes); err != nil {
		return "", "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.identities = append(a.identities, identity)
	if a.token != nil {
		if err := a.token(len(a.identities)); err != nil {
			return "", "", err
		}
	}
	return "ws://fake", fmt.Sprintf("token-%d", len(a.identities)), nil
}

func (a *fakeAuthority) State(ctx context.Context) (session.State, error) {
	a.mu.Lock()
	a.asked++
	n := a.asked
	a.mu.Unlock()
	if err := a.take(ctx, n, a.stateTakes); err != nil {
		return 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state == nil {
		return session.Running, nil
	}
	return a.state(n)
}

// world is one spool with one recording.
type world struct {
	t      *testing.T
	spool  *spool.Spool
	rec    *spool.Recording
	room   *fakeRoom
	auth   *fakeAuthority
	own    func(identity string) (url, token string, err error)
	exists func(ctx context.Context) (bool, error)
	filter *filter.Filter
	stale  bool // the announcement was not made moments ago
}

func newWorld(t *testing.T, change func(*spool.Info), steps ...step) *world {
	t.Helper()
	s, err := spool.Open(t.TempDir(),
		spool.Options{SyncInterval: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	info := spool.Info{
		EgressID: spool.NewEgressID(), SessionID: sessionID, RoomName: "class-1", ProjectID: "p",
		ProjectName: "Study", Part: 1,
		Source: "rabbitmq", AnnouncedUnixNS: time.Now().UnixNano(),
		CreatedUnixNS: time.Now().UnixNano(),
	}
	if change != nil {
		change(&info)
	}
	rec, err := s.Create(info)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, spool: s, rec: rec, room: &fakeRoom{steps: steps}, auth: &fakeAuthority{}}
}

func (w *world) options() recorder.Options {
	return recorder.Options{
		Room: w.room, Authority: w.auth, OwnToken: w.own, FindRoom: w.findRoom(), Fresh: !w.stale,
		RejoinWindow: 10 * time.Minute, SessionOf: syncflow.SessionOf,
		Logger: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
	}
}

func (w *world) findRoom() func(context.Context) (session.Room, bool, error) {
	if w.exists == nil {
		return nil
	}
	return func(ctx context.Context) (session.Room, bool, error) {
		ok, err := w.exists(ctx)
		return session.Room{}, ok, err
	}
}

func (w *world) run(ctx context.Context) spool.Sealed {
	w.t.Helper()
	if err := recorder.New(w.rec, w.options()).Run(ctx); err != nil {
		w.t.Fatal(err)
	}
	sealed, ok := w.rec.Sealed()
	if !ok {
		w.t.Fatal("Run returned nil, but the recording is not sealed")
	}
	return sealed
}

// story is what the recording says, one word a frame. It also checks that every state in it is what
// follows from the frames before it.
func (w *world) story() []string {
	w.t.Helper()
	var out []string
	follows := recorder.NewFollower(w.filter)
	for f, err := range w.rec.Frames() {
		if err != nil {
			w.t.Fatal(err)
		}
		if f.Type == segment.FrameState {
			got, err := segment.DecodeState(f.Payload)
			if err != nil {
				w.t.Fatal(err)
			}
			got.Synced, got.Suspect, got.Streams = 0, "", nil
			if d := cmp.Diff(follows.State(), got); d != "" {
				w.t.Errorf("the state in frame %d (-what follows +what it says):\n%s", f.Index, d)
			}
			continue
		}
		follows.Frame(f)
		if f.Type == segment.FramePacket {
			out = append(out, fmt.Sprintf("packet %s epoch %d", f.Payload, f.Epoch))
			continue
		}
		ev, err := segment.DecodeEvent(f.Payload)
		if err != nil {
			w.t.Fatal(err)
		}
		line := string(ev.Kind)
		switch ev.Kind {
		case textegress.KindJoined:
			line += " " + ev.RoomSID
		case textegress.KindParticipantJoined, textegress.KindParticipantLeft:
			line += " " + ev.Identity
		case textegress.KindOutageStarted:
			line += " " + ev.Cause
		case textegress.KindRecordingEnded:
			line += " " + ev.Status + " " + ev.Reason
		}
		out = append(out, line)
	}
	return out
}

// events returns the events of these kinds in the recording, in order.
func (w *world) events(kinds ...textegress.Kind) []segment.Event {
	w.t.Helper()
	var out []segment.Event
	for f, err := range w.rec.Frames() {
		if err != nil {
			w.t.Fatal(err)
		}
		if f.Type != segment.FrameEvent {
			continue
		}
		ev, err := segment.DecodeEvent(f.Payload)
		if err != nil {
			w.t.Fatal(err)
		}
		if slices.Contains(kinds, ev.Kind) {
			out = append(out, ev)
		}
	}
	return out
}

func info(sid, metadata string, who ...string) room.Info {
	in := room.Info{
		RoomSID: sid, RoomName: "class-1", RoomMetadata: metadata,
		ServerVersion: "1.13.5",
	}
	for _, w := range who {
		in.Participants = append(in.Participants, room.Participant{SID: "PA_" + w, Identity: w})
	}
	return in
}

// send delivers packets and then ends the connection for the given reason.
func send(reason room.Reason, packets ...string) func(room.Handler, <-chan struct{}) room.Reason {
	return func(h room.Handler, _ <-chan struct{}) room.Reason {
		for _, p := range packets {
			h.Packet(room.Reliable, time.Now(), []byte(p))
		}
		return reason
	}
}

// untilLeft delivers packets and stays connected until the recorder leaves.
func untilLeft(packets ...string) func(room.Handler, <-chan struct{}) room.Reason {
	return func(h room.Handler, left <-chan struct{}) room.Reason {
		for _, p := range packets {
			h.Packet(room.Reliable, time.Now(), []byte(p))
		}
		<-left
		return room.ReasonLeft
	}
}

func eventFrame(t *testing.T, unixNS int64, ev segment.Event) segment.Frame {
	t.Helper()
	payload, err := segment.EncodeEvent(ev)
	if err != nil {
		t.Fatal(err)
	}
	return segment.Frame{Type: segment.FrameEvent, UnixNS: unixNS, Payload: payload}
}

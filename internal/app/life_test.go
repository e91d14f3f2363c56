package app_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/syncflow"
	"github.com/syncflow/textegress/segment"
)

const (
	lifeSession = "c1d2e3f4-0000-4000-8000-000000000001"
	lifeProject = "p"
	messages    = 12
	lostAfter   = 6 // the connection is lost once, after this message
	// interval is that of the syncer. Some messages come within one, some do not.
	interval = 200 * time.Millisecond
)

// class is a session in the world outside of the service: its messages are sent
// once, whoever listens.
type class struct {
	next int  // the message that is sent next
	over bool // the room was deleted
	// What the recorder was told, and what it counted as written and as durable.
	offered, recorded, durable map[int]bool
}

func newClass() class {
	return class{
		next: 1, offered: map[int]bool{}, recorded: map[int]bool{},
		durable: map[int]bool{},
	}
}

func (s class) clone() class {
	s.offered, s.recorded, s.durable = maps.Clone(s.offered), maps.Clone(s.recorded),
		maps.Clone(s.durable)
	return s
}

// life is one recording from the announcement to the last trace of it, over as
// many processes as it takes.
type life struct {
	t       *testing.T
	dir     string // of the spool; the staging of exports is there on the real disk
	session class
	bucket  *objtest.Memory
	stored  map[string][]byte // every object as it was first seen
	acked   bool              // the announcement was acknowledged
	boots   int

	// before is called before each message is sent, by number.
	before func(n int)

	mu  sync.Mutex
	rec *recorder.Recorder // the one that works
}

func newLife(t *testing.T, dir string) *life {
	return &life{
		t: t, dir: dir, session: newClass(), bucket: objtest.NewMemory("b", true),
		stored: map[string][]byte{}, before: func(int) {},
	}
}

// clone returns a life that goes on from the same moment.
func (l *life) clone() *life {
	c := newLife(l.t, l.dir)
	c.session, c.acked, c.boots, c.stored = l.session.clone(), l.acked, l.boots,
		maps.Clone(l.stored)
	for key, data := range l.bucket.Objects() {
		c.bucket.Put(key, data)
	}
	return c
}

// process is one process of the service: it takes the announcement, records,
// delivers, and removes what has passed its time. It ends when crashed says that
// the machine has, or when nothing is left to do; false is a crash.
func (l *life) process(fsys durable.FS, crashed func() bool) (done bool) {
	if l.boots++; l.boots > 1 && l.boots < 5 && !l.session.over && l.session.next <= messages {
		l.session.next++ // a message that nobody hears
	}
	sp, err := spool.Open(l.dir, spool.Options{
		FS: fsys, SyncInterval: interval, SegmentSize: 700,
		DiskMinFree: 16 << 10,
	})
	if err != nil {
		if !crashed() {
			time.Sleep(time.Second)
		}
		return false
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	stop := func() {
		cancel()
		wg.Wait()
		_ = sp.Close() // after a crash, or a fault, it says so
	}
	defer stop()
	rec, base := l.announced(sp)
	if rec == nil && l.acked {
		return l.gone(sp)
	}
	if rec == nil {
		if !crashed() {
			time.Sleep(time.Second)
		}
		return false
	}
	if err := os.MkdirAll(rec.Dir(), 0o700); err != nil { // for the staging
		l.t.Fatal(err)
	}
	up := delivery.New(delivery.Options{
		Spool: sp, Retention: time.Hour, KeepState: 2 * time.Hour,
		Projects: l,
	})
	wg.Go(func() { l.supervise(ctx, rec); up.Wake() })
	wg.Go(func() { _ = up.Run(ctx) })
	for begun := time.Now(); !crashed(); {
		if time.Since(begun) > 48*time.Hour {
			l.t.Errorf("after two days the recording is %s: %+v", rec.State(), up.Snapshot())
			return true
		}
		pause := 100 * time.Millisecond
		if rec.State() == spool.StateUploaded || rec.State() == spool.StateRemoved {
			pause = 5 * time.Minute // until its time has passed
		}
		time.Sleep(pause)
		l.look()
		if len(sp.Recordings()) == 0 {
			return l.gone(sp)
		}
	}
	stop()
	l.countDurable(fsys, base)
	return false
}

// Bucket, Keys and Pseudonyms implement [delivery.Projects].
func (l *life) Bucket(string) (objstore.Bucket, error)         { return l.bucket, nil }
func (*life) Keys(string) *render.Keys                         { return nil }
func (*life) Pseudonyms(spool.Info) (redact.Pseudonyms, error) { return nil, nil }

// announced returns the recording, which it begins where the announcement was not
// acknowledged yet, and the index of the last frame in it; nil where it could not.
func (l *life) announced(sp *spool.Spool) (*spool.Recording, uint64) {
	if all := sp.Recordings(); len(all) > 0 {
		last := uint64(0)
		for f, err := range all[0].Frames() {
			if err != nil {
				break
			}
			last = f.Index
		}
		l.acked = true // the broker's redelivery finds it
		return all[0], last
	}
	if l.acked {
		return nil, 0
	}
	const id = "DE_life"
	rec, err := sp.Create(spool.Info{
		EgressID: id, SessionID: lifeSession, RoomName: "class 1", ProjectID: lifeProject,
		ProjectName:   "P",
		KeyPrefix:     textegress.Prefix("P", lifeProject, "class 1", "", id),
		CreatedUnixNS: time.Now().UnixNano(),
	})
	if err != nil {
		return nil, 0
	}
	l.acked = true
	return rec, 0
}

// supervise keeps a recorder at work until the recording is sealed.
func (l *life) supervise(ctx context.Context, rec *spool.Recording) {
	for rec.State() == spool.StateOpen && ctx.Err() == nil {
		r := recorder.New(rec, recorder.Options{
			Room: l, Authority: l, SessionOf: syncflow.SessionOf,
			Logger: slog.New(slog.DiscardHandler), RejoinWindow: 10 * time.Minute,
		})
		l.mu.Lock()
		l.rec = r
		l.mu.Unlock()
		if err := r.Run(ctx); err != nil && ctx.Err() == nil {
			time.Sleep(time.Second)
		}
	}
}

func (l *life) recorder() *recorder.Recorder {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rec
}

// countDurable notes which messages the recorder had counted as durable: of the
// frames that it wrote, the first so many.
func (l *life) countDurable(fsys durable.FS, base uint64) {
	mem, ok := fsys.(*durabletest.CrashFS)
	r := l.recorder()
	l.rec = nil
	if !ok || r == nil {
		return
	}
	sp, err := spool.Open(l.dir, spool.Options{FS: mem.Killed(), SyncInterval: time.Hour})
	if err != nil {
		l.t.Fatal(err)
	}
	defer sp.Close()
	upTo := base + r.Snapshot().Durable
	for _, rec := range sp.Recordings() {
		for f, err := range rec.Frames() {
			if err != nil {
				l.t.Fatal(err)
			}
			if n, ok := number(f); ok && f.Index > base && f.Index <= upTo {
				l.session.durable[n] = true
			}
		}
	}
}

// number returns which message a frame holds.
func number(f segment.Frame) (n int, ok bool) {
	var p livekit.DataPacket
	if f.Type != segment.FramePacket || proto.Unmarshal(f.Payload, &p) != nil {
		return 0, false
	}
	_, err := fmt.Sscanf(string(p.GetUser().GetPayload()), "message %d", &n)
	return n, err == nil
}

// Token implements [recorder.Authority].
func (l *life) Token(context.Context, string) (url, token string, err error) {
	if l.session.over {
		return "", "", session.ErrEnded
	}
	return "ws://fake", "t", nil
}

// State implements [recorder.Authority].
func (l *life) State(context.Context) (session.State, error) {
	if l.session.over {
		return session.Ended, nil
	}
	return session.Running, nil
}

// Join implements [recorder.Room].
func (l *life) Join(_ context.Context, o room.JoinOptions) (recorder.Conn, error) {
	if l.session.over {
		return nil, errors.New("no such room")
	}
	in := room.Info{
		RoomSID: "RM_1", RoomMetadata: "|session_id:" + lifeSession + "|",
		Participants: []room.Participant{{SID: "PA_1", Identity: "alice"}},
	}
	if err := o.Handler.Joined(in); err != nil {
		return nil, err
	}
	c := &stay{done: make(chan struct{}), left: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.end = room.Disconnect{Reason: l.send(o.Handler, c.left)}
	}()
	return c, nil
}

// send sends what is left to a recorder that is in the room.
func (l *life) send(h room.Handler, left <-chan struct{}) room.Reason {
	s := &l.session
	for s.next <= messages {
		n := s.next
		s.next++
		l.before(n)
		b, err := proto.Marshal(&livekit.DataPacket{
			ParticipantIdentity: "alice",
			ParticipantSid:      "PA_1", Sequence: uint32(n), Value: &livekit.DataPacket_User{
				User: &livekit.UserPacket{Payload: fmt.Appendf(nil, "message %d", n)},
			},
		})
		if err != nil {
			l.t.Error(err)
		}
		s.offered[n] = true
		was := l.recorder().Snapshot().Packets
		h.Packet(room.Reliable, time.Now(), b)
		if l.recorder().Snapshot().Packets > was {
			s.recorded[n] = true
		}
		if n == lostAfter {
			return room.ReasonConnectionLost
		}
		pause := time.Duration(0)
		if n%3 == 0 {
			pause = 2 * interval
		}
		select {
		case <-left:
			return room.ReasonLeft
		case <-time.After(pause):
		}
	}
	s.over = true
	return room.ReasonRoomDeleted
}

type stay struct {
	done, left chan struct{}
	once       sync.Once
	end        room.Disconnect
}

func (c *stay) Done() <-chan struct{} { return c.done }
func (c *stay) End() room.Disconnect  { return c.end }
func (c *stay) Leave(context.Context) {
	c.once.Do(func() { close(c.left) })
	<-c.done
}

// look checks what must hold at any moment: an object, once it is there, stays as
// it is.
func (l *life) look() {
	now := l.bucket.Objects()
	for key, data := range l.stored {
		if string(now[key]) != string(data) {
			l.t.Errorf("%s was replaced by other bytes", key)
		}
	}
	l.stored = now
	if o := l.bucket.Overwrites(); len(o) > 0 {
		l.t.Errorf("overwritten: %v", o)
	}
}

// gone reports whether all is done: nothing of the recording is left on the disk,
// and that is right only where it is in the bucket.
func (l *life) gone(sp *spool.Spool) bool {
	l.look()
	if p := sp.Problems(); len(p) > 0 {
		l.t.Errorf("problems: %v", p)
	}
	return true
}

// verify compares what is in the bucket with what was sent, written and durable.
// must are the messages that have to be there. It returns the manifest's statement.
func (l *life) verify(must map[int]bool) textegress.Completeness {
	l.t.Helper()
	fsys := fstest.MapFS{}
	manifests := 0
	prefix := textegress.Prefix("P", lifeProject, "class 1", "", "DE_life")
	for key, data := range l.bucket.Objects() {
		name, ok := strings.CutPrefix(key, prefix)
		if !ok {
			l.t.Fatalf("%s is not below %s", key, prefix)
		}
		fsys[name] = &fstest.MapFile{Data: data}
		if filepath.Base(key) == textegress.ManifestName {
			manifests++
		}
	}
	if manifests != 1 {
		l.t.Fatalf("%d manifests", manifests)
	}
	rec, err := textegress.Open(fsys)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := rec.Verify(context.Background(), nil); err != nil {
		l.t.Errorf("verify: %v", err)
	}
	var got []int
	// apart: since the last message there was an outage, or frames that could not be read. Where
	// the latter may be is the caller's to judge.
	last, apart := 0, true
	for m, err := range rec.Messages() {
		if err != nil {
			l.t.Fatal(err)
		}
		switch m.Kind {
		case textegress.KindOutageStarted:
			apart = true
		case textegress.KindCorrupt:
			apart = apart || m.Event.FramesMissing > 0
		case textegress.KindData:
			var n int
			if _, err := fmt.Sscanf(*m.Text, "message %d", &n); err != nil ||
				!l.session.offered[n] {
				l.t.Errorf("%q was delivered and never received", *m.Text)
			}
			if slices.Contains(got, n) || n <= last {
				l.t.Errorf("message %d is there twice, or out of order, behind %v", n, got)
			}
			if n != last+1 && !apart {
				l.t.Errorf("messages %d to %d are missing, and nothing says so", last+1, n-1)
			}
			got = append(got, n)
			last, apart = n, false
		}
	}
	if last != messages && !apart {
		l.t.Errorf("messages %d to %d are missing, and nothing says so", last+1, messages)
	}
	for n := range must {
		if !slices.Contains(got, n) {
			l.t.Errorf("message %d is missing", n)
		}
	}
	return rec.Manifest().Completeness
}

// finish lives on, on a disk that does not crash, until nothing is left to do.
func (l *life) finish(fsys durable.FS) {
	l.t.Helper()
	for range 100 {
		if l.process(fsys, func() bool { return false }) {
			return
		}
	}
	l.t.Fatal("the recording is not delivered")
}

package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// countingFS counts what is read of segments and what is synced.
type countingFS struct {
	durable.FS

	mu     sync.Mutex
	read   map[string]int64 // bytes, by the name of the segment
	synced map[string]int   // by the name of the file
}

func counting(fsys durable.FS) *countingFS {
	return &countingFS{FS: fsys, read: map[string]int64{}, synced: map[string]int{}}
}

func (c *countingFS) Open(op, name string) (durable.File, error) {
	f, err := c.FS.Open(op, name)
	return &countingFile{f, c, filepath.Base(name)}, err
}

func (c *countingFS) OpenWrite(op, name string) (durable.File, error) {
	f, err := c.FS.OpenWrite(op, name)
	return &countingFile{f, c, filepath.Base(name)}, err
}

func (c *countingFS) SyncDir(op, name string) error {
	c.mu.Lock()
	c.synced[filepath.Base(name)]++
	c.mu.Unlock()
	return c.FS.SyncDir(op, name)
}

type countingFile struct {
	durable.File
	fs   *countingFS
	name string
}

func (f *countingFile) Read(b []byte) (int, error) {
	n, err := f.File.Read(b)
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.fs.read[f.name] += int64(n)
	return n, err
}

func (f *countingFile) Sync() error {
	f.fs.mu.Lock()
	f.fs.synced[f.name]++
	f.fs.mu.Unlock()
	return f.File.Sync()
}

func (c *countingFS) totals() (bytes int64, syncs int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.read {
		bytes += n
	}
	for _, n := range c.synced {
		syncs += n
	}
	return bytes, syncs
}

// segmentSyncs returns how often a segment was synced.
func (c *countingFS) segmentSyncs() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, times := range c.synced {
		if _, ok := segment.Number(name); ok {
			n += times
		}
	}
	return n
}

const segmentSize = 64 << 10

// openSegments opens a spool with small segments, whose syncer does nothing by itself.
func openSegments(t *testing.T, fsys durable.FS) *spool.Spool {
	t.Helper()
	s, err := spool.Open("/data", spool.Options{
		FS: fsys, SyncInterval: time.Hour, SegmentSize: segmentSize,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// interrupted makes a recording of about so many bytes and returns the file system as it is when
// its process is killed.
func interrupted(t *testing.T, size int) *durabletest.CrashFS {
	t.Helper()
	mem := durabletest.NewCrashFS(0, 0)
	s := openSegments(t, mem)
	rec, err := s.Create(spool.Info{EgressID: "DE_long", SessionID: sessionID, ProjectID: "p"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, kill := context.WithCancel(t.Context())
	var killed *durabletest.CrashFS
	payload := strings.Repeat("x", 1000)
	r := &fakeRoom{steps: []step{{
		info: info("RM_1", ours, "alice", "bob"),
		run: func(h room.Handler, left <-chan struct{}) room.Reason {
			for range size / len(payload) {
				packet(h, payload)
			}
			killed = mem.Killed()
			kill()
			<-left
			return room.ReasonLeft
		},
	}}}
	w := &world{t: t, spool: s, rec: rec, room: r, auth: &fakeAuthority{}}
	if err := recorder.New(rec, w.options()).Run(ctx); err != nil {
		t.Fatal(err)
	}
	return killed
}

// What is read and synced before a recorder is in the room again does not depend on how long it has
// recorded.
func TestRejoinDoesNotGrow(t *testing.T) {
	recoverFrom := func(t *testing.T, killed durable.FS) (bytes int64, syncs int, packets uint64) {
		fsys := counting(killed)
		s := openSegments(t, fsys)
		rec, _ := s.Recording("DE_long")
		var snapshot func() recorder.Snapshot
		w := &world{t: t, spool: s, rec: rec, auth: &fakeAuthority{}}
		w.room = &fakeRoom{steps: []step{{
			info: info("RM_1", ours, "alice"),
			run: func(room.Handler, <-chan struct{}) room.Reason {
				bytes, syncs = fsys.totals()
				packets = snapshot().Packets
				return room.ReasonRoomDeleted
			},
		}}}
		o := w.options()
		o.RejoinWindow = 0 // no token is saved, which would be done while this test counts
		r := recorder.New(rec, o)
		snapshot = r.Snapshot
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"outage_started process_died", "joined RM_1", "outage_ended", "participant_left bob",
			"recording_ended COMPLETE room_deleted",
		}
		story := w.story()
		if d := cmp.Diff(want, story[len(story)-len(want):]); d != "" {
			t.Errorf("after the restart (-want +got):\n%s", d)
		}
		return bytes, syncs, packets
	}
	synctest.Test(t, func(t *testing.T) {
		short := interrupted(t, 2*segmentSize)
		long := interrupted(t, 200*segmentSize)
		bytes, syncs, packets := recoverFrom(t, short)
		longBytes, longSyncs, longPackets := recoverFrom(t, long)
		if syncs != longSyncs || bytes > 2*segmentSize || longBytes > 2*segmentSize {
			t.Errorf("before rejoining: %d bytes read and %d fsyncs of a short recording, %d and "+
				"%d of one that is a hundred times as long", bytes, syncs, longBytes, longSyncs)
		}
		if packets != 2*segmentSize/1000 || longPackets != 200*segmentSize/1000 {
			t.Errorf("%d and %d packets are known", packets, longPackets)
		}
	})
}

// A recording whose segments begin without a state, as the version before wrote them, is recovered
// from all of its segments.
func TestResumeWithoutStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := durabletest.NewCrashFS(0, 0)
		s := openSegments(t, mem)
		rec, err := s.Create(spool.Info{EgressID: "DE_long", SessionID: sessionID, ProjectID: "p"})
		if err != nil {
			t.Fatal(err)
		}
		old, err := rec.Writer() // which writes no states
		if err != nil {
			t.Fatal(err)
		}
		append1 := func(f segment.Frame) {
			f.Epoch = 3
			if err := old.Append(f); err != nil {
				t.Fatal(err)
			}
		}
		for _, ev := range []segment.Event{
			{Kind: textegress.KindRecordingStarted},
			{Kind: textegress.KindJoined, RoomSID: "RM_1"},
			{Kind: textegress.KindParticipantJoined, ParticipantSID: "PA_alice", Identity: "alice"},
		} {
			b, err := segment.EncodeEvent(ev)
			if err != nil {
				t.Fatal(err)
			}
			append1(segment.Frame{Type: segment.FrameEvent, Payload: b})
		}
		for range 300 {
			append1(segment.Frame{
				Type: segment.FramePacket, Channel: segment.ChannelReliable,
				Payload: make([]byte, 1000),
			})
		}
		killed := mem.Killed()
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
		fsys := counting(killed)
		s = openSegments(t, fsys)
		rec, _ = s.Recording("DE_long")
		w := &world{t: t, spool: s, rec: rec, auth: &fakeAuthority{}}
		synced := 0
		w.room = &fakeRoom{steps: []step{{
			info: info("RM_1", ours, "alice"),
			run: func(room.Handler, <-chan struct{}) room.Reason {
				synced = fsys.segmentSyncs()
				return room.ReasonRoomDeleted
			},
		}}}
		w.run(t.Context())
		story := w.story()
		want := []string{
			"outage_started process_died", "joined RM_1", "outage_ended",
			"recording_ended COMPLETE room_deleted",
		}
		if d := cmp.Diff(want, story[len(story)-len(want):]); d != "" {
			t.Errorf("after the restart (-want +got):\n%s", d)
		}
		if synced != 5 {
			t.Errorf("%d of 5 segments were made durable, of which it is not known whether they "+
				"were", synced)
		}
		for f, err := range rec.Frames() {
			if err != nil {
				t.Fatal(err)
			}
			if f.Type == segment.FrameState && f.Epoch != 3 {
				t.Errorf("the next segment begins with epoch %d, want 3", f.Epoch)
			}
		}
	})
}

// Where the head of a segment is damaged, what it said is derived from the segments before.
func TestResumeWithDamagedHeads(t *testing.T) {
	for damaged := range 4 {
		t.Run(fmt.Sprintf("the last %d", damaged), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				killed := interrupted(t, 6*segmentSize)
				s := openSegments(t, killed)
				rec, _ := s.Recording("DE_long")
				names := segments(t, killed, rec.Dir())
				for _, name := range names[len(names)-damaged:] {
					overwrite(t, killed, filepath.Join(rec.Dir(), name), segment.HeaderSize+60)
				}
				f := recorder.NewFollower(nil)
				w, err := rec.Resume(f)
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				got := f.State()
				if len(got.Present) != 2 || got.Epoch != 1 || len(got.RoomSIDs) != 1 ||
					got.Packets != 6*segmentSize/1000 {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

func segments(t *testing.T, fsys durable.FS, dir string) []string {
	t.Helper()
	entries, err := fsys.ReadDir("test", dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if _, ok := segment.Number(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	return names
}

// overwrite changes one byte of a file.
func overwrite(t *testing.T, fsys durable.FS, name string, at int) {
	t.Helper()
	b, err := fsys.ReadFile("test", name)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 0xff
	if err := fsys.Remove("test", name); err != nil {
		t.Fatal(err)
	}
	f, err := fsys.Create("test", name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// A segment that was not synced when the process died is synced by the next one, although nothing
// waits for that: afterwards it survives a power failure.
func TestResumeSyncsWhatWasNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		killed := interrupted(t, 4*segmentSize)
		s := openSegments(t, killed)
		rec, _ := s.Recording("DE_long")
		w, err := rec.Resume(recorder.NewFollower(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Sync(); err != nil {
			t.Fatal(err)
		}
		after := openSegments(t, killed.Restart(rand.New(rand.NewPCG(1, 2)))) //nolint:gosec // a test
		rec, _ = after.Recording("DE_long")
		packets := 0
		for f, err := range rec.Frames() {
			if err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if f.Type == segment.FramePacket {
				packets++
			}
		}
		if packets != 4*segmentSize/1000 {
			t.Errorf("%d packets survive a power failure, want %d", packets, 4*segmentSize/1000)
		}
	})
}

// A failed fsync is not forgotten where its note could not be written either.
func TestResumeAfterAFailedSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := durabletest.NewCrashFS(0, 0)
		failing := true
		fsys := &durabletest.Fault{FS: mem, Hook: func(c durabletest.Call) (int, error) {
			if failing && (c.Name == "sync" && c.Label == "segment" || c.Label == "suspect") {
				return 0, errors.New("input/output error")
			}
			return 0, nil
		}}
		s := openSegments(t, fsys)
		rec, err := s.Create(spool.Info{EgressID: "DE_long", SessionID: sessionID, ProjectID: "p"})
		if err != nil {
			t.Fatal(err)
		}
		w, err := rec.Resume(recorder.NewFollower(nil))
		if err != nil {
			t.Fatal(err)
		}
		add := func() {
			if err := w.Append(segment.Frame{
				Type: segment.FramePacket, Payload: []byte("x"),
			}); err != nil {
				t.Fatal(err)
			}
		}
		add()
		if err := w.Sync(); err == nil {
			t.Fatal("the fsync did not fail")
		}
		failing = false
		add() // in a new segment
		s = openSegments(t, mem.Killed())
		rec, _ = s.Recording("DE_long")
		if rec.Suspect() {
			t.Fatal("the note of the failed fsync was written")
		}
		if w, err = rec.Resume(recorder.NewFollower(nil)); err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if !rec.Suspect() {
			t.Error("after a restart nothing says that an fsync had failed")
		}
	})
}

package follow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// quiet keeps the syncer from working, so that a test decides when to sync.
const quiet = time.Hour

// say returns a frame with one message of 30 bytes and as many more.
func say(i, more int) segment.Frame {
	topic := fmt.Sprint("topic ", i%3)
	b, err := proto.Marshal(&livekit.DataPacket{
		ParticipantIdentity: fmt.Sprint("learner ", i%7), ParticipantSid: "PA_1",
		Sequence: uint32(i + 1),
		Value: &livekit.DataPacket_User{User: &livekit.UserPacket{
			Topic: &topic, Payload: fmt.Appendf(nil, "message %022d%s", i,
				strings.Repeat("x", more)),
		}},
	})
	if err != nil {
		panic(err)
	}
	return segment.Frame{
		Type: segment.FramePacket, Channel: segment.ChannelReliable, Epoch: 1,
		UnixNS: int64(i+1) * 1e6, Payload: b,
	}
}

func texts(n, more int) (frames []segment.Frame) {
	for i := range n {
		frames = append(frames, say(i, more))
	}
	return frames
}

// TestFollow_PowerFailure: the power fails at any operation on the disk. The lines that a reader
// received before are the first lines of the recording afterwards: only durable frames are shown.
func TestFollow_PowerFailure(t *testing.T) {
	frames := texts(20, 0)
	crashes := 0
	for at := 1; ; at++ {
		disk := durabletest.NewCrashFS(at, 10)
		got, done := recordUntilCrash(t, disk, frames)
		if done {
			break
		}
		crashes++
		for seed := range uint64(3) {
			after, err := spool.Open("/srv/data", spool.Options{
				FS: disk.Restart(rand.New(rand.NewPCG(seed, 0))), SyncInterval: quiet,
			})
			if err != nil {
				t.Fatal(err)
			}
			rec, ok := after.Recording(testID)
			if !ok {
				if len(got) > 0 {
					t.Fatalf("crash %d: %d lines of a recording that is gone", at, len(got))
				}
				after.Close()
				continue
			}
			w := &world{t: t, rec: rec}
			if want := w.events(); len(want) < len(got) || !slices.Equal(want[:len(got)], got) {
				t.Fatalf("crash %d, seed %d: (-events.jsonl +followed):\n%s", at, seed,
					cmp.Diff(want, got))
			}
			after.Close()
		}
	}
	if crashes < 20 {
		t.Errorf("%d crashes", crashes)
	}
}

// recordUntilCrash records and follows, and returns the lines that were followed.
func recordUntilCrash(t *testing.T, disk *durabletest.CrashFS, frames []segment.Frame) (
	got []string, done bool,
) {
	t.Helper()
	sp, err := spool.Open("/srv/data", spool.Options{
		FS: disk, SyncInterval: quiet, SegmentSize: 600,
	})
	if err != nil {
		return nil, false
	}
	defer sp.Close()
	rec, err := sp.Create(spool.Info{EgressID: testID, SessionID: "s"})
	if err != nil {
		return nil, false
	}
	w, err := rec.Writer()
	if err != nil {
		return nil, false
	}
	hub := New(Options{Spool: sp, scratch: t.TempDir()})
	defer hub.Close()
	r, err := hub.Follow(testID, 1)
	if err != nil {
		return nil, false
	}
	defer r.Close()
	for i, f := range frames {
		if w.Append(f) != nil {
			break
		}
		if i%3 != 2 {
			continue
		}
		if w.Sync() != nil {
			break
		}
		got = append(got, read(t, r, int64(i+1))...)
	}
	if disk.Crashed() {
		// What can still be read must not be more than is durable.
		for r.Ready() > int64(len(got)) {
			got = append(got, read(t, r, r.Ready())...)
		}
		return got, false
	}
	return got, true
}

// TestFollow_FailedSync: after a failed fsync nothing more is shown until the recording is sealed.
func TestFollow_FailedSync(t *testing.T) {
	var mu sync.Mutex
	broken := false
	disk := &durabletest.Fault{FS: durabletest.NewCrashFS(0, 0), Hook: func(c durabletest.Call) (
		int, error,
	) {
		mu.Lock()
		defer mu.Unlock()
		if broken && c.Name == "sync" && strings.HasSuffix(c.Path, ".seg") {
			broken = false
			return 0, errors.New("broken disk")
		}
		return 0, nil
	}}
	w := newWorld(t, decodingMode{}, spool.Options{FS: disk, SyncInterval: quiet})
	r := w.follow(1)
	w.append(texts(5, 0)...)
	got := read(t, r, 5)
	mu.Lock()
	broken = true
	mu.Unlock()
	for i, f := range texts(9, 0)[5:] {
		if err := w.w.Append(f); err != nil {
			t.Fatal(err)
		}
		if err := w.w.Sync(); err == nil {
			t.Fatalf("sync %d succeeded", i)
		}
	}
	if p, _ := w.rec.Watch(); p.DurableUpTo != 5 {
		t.Errorf("frames up to %d are called durable", p.DurableUpTo)
	}
	w.seal()
	got = append(got, rest(t, r)...)
	if diff := cmp.Diff(w.events(), got); diff != "" || len(got) != 9 {
		t.Errorf("%d lines (-events.jsonl +followed):\n%s", len(got), diff)
	}
}

// TestFollow_Many: readers that start anywhere, at any time, all get all lines from there on, and
// the recording is decoded once. Lines that do not fit in memory come from a file without a name.
func TestFollow_Many(t *testing.T) {
	w := newWorld(t, decodingMode{}, spool.Options{SegmentSize: 200_000})
	frames := texts(12_000, 100)
	rng := rand.New(rand.NewPCG(1, 2))
	var starts []int64
	var results [][]string
	var wg sync.WaitGroup
	var mu sync.Mutex
	begin := func() {
		from := rng.Int64N(int64(len(frames))) + 1
		r := w.follow(from)
		wg.Go(func() {
			lines := rest(t, r)
			mu.Lock()
			defer mu.Unlock()
			starts, results = append(starts, from), append(results, lines)
		})
	}
	for at := 0; at < len(frames); at += 1000 {
		begin()
		w.append(frames[at : at+1000]...)
	}
	w.seal()
	begin()
	wg.Wait()
	begin()
	wg.Wait()
	want := w.events()
	for i, from := range starts {
		if !slices.Equal(results[i], want[from-1:]) {
			t.Errorf("from line %d: %d lines, want %d", from, len(results[i]), len(want[from-1:]))
		}
	}
	if w.decoded != 1 {
		t.Errorf("decoded %d times", w.decoded)
	}
	f := w.hub.feeds[testID]
	f.mu.Lock()
	if f.size > keepBytes || f.file == nil || f.file.end < 2*keepBytes {
		t.Errorf("%d bytes in memory, file %v", f.size, f.file)
	}
	f.mu.Unlock()
	if names, err := os.ReadDir(w.scratch); err != nil || len(names) > 0 {
		t.Errorf("files %v, error %v", names, err)
	}
}

// TestFollow_Forget: a participant is removed while a reader is in the middle of the recording.
// From then on the reader gets none of the removed lines, and the numbers stay.
func TestFollow_Forget(t *testing.T) {
	w := newWorld(t, decodingMode{}, spool.Options{SegmentSize: 500})
	w.append(texts(30, 0)...)
	w.seal()
	r := w.follow(1)
	read(t, r, 10)
	sources, err := w.rec.SealedSources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sealed, _ := w.rec.Sealed()
	w.rec, err = w.sp.Rewrite(w.rec.Info(), sealed, sources, []byte("note"),
		func(f *segment.Frame) error {
			if bytes.Contains(f.Payload, []byte("learner 3")) {
				f.Type, f.Channel, f.Payload = segment.FrameEvent, segment.ChannelNone,
					[]byte(`{"kind":"forgotten","lines":1}`)
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	r.batch = nil // lines that the reader has already taken
	got := rest(t, r)
	if diff := cmp.Diff(w.events()[10:], got); diff != "" {
		t.Errorf("(-events.jsonl +followed):\n%s", diff)
	}
	if all := strings.Join(got, "\n"); strings.Contains(all, "learner 3") ||
		!strings.Contains(all, "learner 4") || !strings.Contains(all, "forgotten") {
		t.Errorf("followed:\n%s", all)
	}
}

// TestFollow_Refused: an unknown recording, one whose local data is gone, a disk without space.
func TestFollow_Refused(t *testing.T) {
	disk := durabletest.NewCrashFS(0, 0)
	w := newWorld(t, decodingMode{}, spool.Options{FS: disk, DiskMinFree: 1 << 20})
	w.append(texts(3, 0)...)
	if _, err := w.hub.Follow("DE_unknown00001", 1); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown: %v", err)
	}
	disk.SetCapacity(disk.Used() + 200<<10)
	if _, err := w.hub.Follow(testID, 1); !errors.Is(err, diskguard.ErrLow) {
		t.Errorf("low: %v", err)
	}
	w.append(texts(4, 0)[3:]...) // the recording is not affected
	disk.SetCapacity(0)
	r := w.follow(1)
	w.seal()
	if got := rest(t, r); len(got) != 4 {
		t.Errorf("%d lines", len(got))
	}
	if err := errors.Join(w.rec.WriteExport([]byte("{}")), w.rec.WriteUploaded([]byte("{}")),
		w.rec.RemoveData()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.hub.Follow(testID, 1); !errors.Is(err, ErrGone) {
		t.Errorf("removed: %v", err)
	}
	if err := w.rec.Delete(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.hub.Follow(testID, 1); !errors.Is(err, ErrUnknown) {
		t.Errorf("deleted: %v", err)
	}
}

// TestFollow_LowLater: the disk runs low while lines are written to the file. Readers get the
// reason, and the recording goes on.
func TestFollow_LowLater(t *testing.T) {
	disk := durabletest.NewCrashFS(0, 0)
	w := newWorld(t, decodingMode{}, spool.Options{FS: disk, DiskMinFree: 1 << 20})
	r := w.follow(1)
	w.append(texts(100, 0)...)
	read(t, r, 100)
	for range 10 {
		disk.SetCapacity(disk.Used() + 200<<10)
		w.append(texts(200, 600)...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	for {
		if _, err := r.Next(ctx); err != nil {
			if !errors.Is(err, diskguard.ErrLow) {
				t.Errorf("error: %v", err)
			}
			break
		}
	}
	disk.SetCapacity(0)
	w.seal()
	if got := rest(t, w.follow(1)); len(got) != 2100 {
		t.Errorf("%d lines", len(got))
	}
}

// TestFollow_Idle: lines are kept for a while after the last reader has left, then released.
func TestFollow_Idle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, decodingMode{}, spool.Options{
			FS: durabletest.NewCrashFS(0, 0), SyncInterval: quiet,
		})
		w.append(texts(5, 0)...)
		visit := func() {
			r := w.follow(1)
			read(t, r, 5)
			r.Close()
			if _, err := r.Next(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("closed: %v", err)
			}
		}
		visit()
		<-time.After(idleFor / 2)
		visit()
		<-time.After(idleFor - time.Second)
		visit()
		if w.decoded != 1 {
			t.Errorf("decoded %d times", w.decoded)
		}
		<-time.After(idleFor + time.Second)
		synctest.Wait()
		w.hub.mu.Lock()
		if len(w.hub.feeds) != 0 {
			t.Error("the lines are kept")
		}
		w.hub.mu.Unlock()
		visit()
		if w.decoded != 2 {
			t.Errorf("decoded %d times", w.decoded)
		}
		w.close()
	})
}

// TestReader_Wait: Next waits until its context ends, the reader or the hub is closed.
func TestReader_Wait(t *testing.T) {
	w := newWorld(t, decodingMode{}, spool.Options{})
	w.append(texts(2, 0)...)
	cause := errors.New("enough")
	for _, c := range []struct {
		name string
		end  func(r *Reader, cancel context.CancelCauseFunc)
		want error
	}{
		{"context", func(_ *Reader, cancel context.CancelCauseFunc) { cancel(cause) }, cause},
		{"reader", func(r *Reader, _ context.CancelCauseFunc) { r.Close() }, ErrClosed},
		{"hub", func(*Reader, context.CancelCauseFunc) { w.hub.Close() }, ErrClosed},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		r := w.follow(3)
		done := make(chan error)
		go func() {
			_, err := r.Next(ctx)
			done <- err
		}()
		c.end(r, cancel)
		if err := <-done; !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		cancel(nil)
	}
	if _, err := w.hub.Follow(testID, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestReader_Fields: the fields of a line are those of its JSON, in memory and in the file.
func TestReader_Fields(t *testing.T) {
	frames := goldens(t)["DE_golden000003"]
	w := newWorld(t, decodingMode{}, spool.Options{})
	w.append(frames...)
	w.seal()
	r, file := w.follow(1), &lineFile{file: &memScratch{}}
	var all []Line
	for {
		l, err := next(t, r)
		if errors.Is(err, io.EOF) {
			break
		}
		all = append(all, l)
		m, err := l.Message()
		if err != nil {
			t.Fatal(err)
		}
		if got := (textegress.Message{
			N: l.N, Kind: l.Kind, Topic: l.Topic, Identity: l.Identity, UnixNS: l.UnixNS,
		}); got.N != m.N || got.Kind != m.Kind || got.Topic != m.Topic ||
			got.Identity != m.Identity || got.UnixNS != m.UnixNS {
			t.Errorf("line %s has %+v", l.JSON, l)
		}
	}
	c := &chunk{lines: all}
	if err := file.append(c); err != nil {
		t.Fatal(err)
	}
	file.add(c)
	again, err := file.read(file.span(7), 7)
	if diff := cmp.Diff(all[6:], again); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

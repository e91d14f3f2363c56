package spool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/segment"
)

func TestWriter_FramesAndRotation(t *testing.T) {
	_, o := memory()
	o.SegmentSize = 300
	s := openSpool(t, "/data", o)
	r, w := newRecording(t, s)
	// more than a segment: stands alone, is never split
	big := string(bytes.Repeat([]byte("x"), 1000))
	want := append(numbers(1, 5), big, "after")
	appendText(t, w, want...)
	ev := segment.Event{Kind: textegress.KindRecordingEnded, Reason: "<&>"}
	if err := w.Append(eventFrame(t, 42, ev)); err != nil {
		t.Fatal(err)
	}
	all := collect(t, r.Frames())
	last := all[len(all)-1]
	var got segment.Event
	if err := json.Unmarshal(last.Payload, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(ev, got); d != "" || last.UnixNS != 42 || last.Type != segment.FrameEvent {
		t.Errorf("event %+v\n%s", last, d)
	}
	seal(t, w)
	infos, err := r.Segments()
	if err != nil {
		t.Fatal(err)
	}
	var frames []int64
	for _, i := range infos {
		frames = append(frames, i.Frames)
	}
	if d := cmp.Diff([]int64{3, 2, 1, 2}, frames); d != "" {
		t.Error(d)
	}
	if f, ok, err := lastFrame(r); err != nil || !ok || f.Index != 8 ||
		!bytes.Equal(f.Payload, last.Payload) {
		t.Errorf("last frame %+v, %v, %v", f, ok, err)
	}
}

func TestWriter_PayloadIsNotKept(t *testing.T) {
	_, o := memory()
	r, w := newRecording(t, openSpool(t, "/data", o))
	b := []byte("one")
	for _, s := range []string{"one", "two"} {
		copy(b, s)
		if err := w.Append(segment.Frame{Type: segment.FramePacket, Payload: b}); err != nil {
			t.Fatal(err)
		}
	}
	wantTexts(t, r, "one", "two")
	if err := w.Append(segment.Frame{Payload: make([]byte, segment.MaxPayload+1)}); !errors.Is(err,
		segment.ErrTooLarge) {
		t.Errorf("too large a payload: %v", err)
	}
	if err := w.Append(segment.Frame{
		Type:    segment.FramePacket,
		Payload: make([]byte, segment.MaxPayload),
	}); err != nil {
		t.Errorf("the largest payload: %v", err)
	}
	if got := collect(t, r.Frames()); len(got) != 3 || len(got[2].Payload) != segment.MaxPayload {
		t.Errorf("%d frames", len(got))
	}
}

func TestWriter_AppendDoesNotAllocate(t *testing.T) {
	s := openSpool(t, t.TempDir(), Options{SyncInterval: quiet})
	_, w := newRecording(t, s)
	f := segment.Frame{
		Type: segment.FramePacket, Channel: segment.ChannelLossy,
		Payload: make([]byte, 1200),
	}
	if n := testing.AllocsPerRun(200, func() {
		if err := w.Append(f); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

func TestWriter_Concurrent(t *testing.T) {
	s := openSpool(t, t.TempDir(), Options{SyncInterval: time.Millisecond, SegmentSize: 4 << 10})
	r, w := newRecording(t, s)
	const senders, each = 8, 300
	var wg sync.WaitGroup
	for g := range senders {
		wg.Go(func() {
			for i := range each {
				if err := w.Append(segment.Frame{
					Type: segment.FramePacket, Epoch: uint16(g),
					Payload: fmt.Appendf(nil, "%d", i),
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	others.Go(func() {
		for ctx.Err() == nil {
			if err := w.Sync(); err != nil {
				t.Error(err)
			}
		}
	})
	others.Go(func() { // a reader beside the writer sees whole frames in order, or nothing
		for ctx.Err() == nil {
			index := uint64(0)
			for f, err := range r.Frames() {
				if index++; err != nil || f.Index != index || f.Type != segment.FramePacket {
					t.Errorf("frame %+v, %v; expected index %d", f, err, index)
					return
				}
			}
		}
	})
	wg.Wait()
	stop()
	others.Wait()
	seal(t, w)
	next := make([]int, senders)
	for _, f := range collect(t, r.Frames()) {
		if want := fmt.Sprint(next[f.Epoch]); string(f.Payload) != want {
			t.Fatalf("sender %d: %q, want %q", f.Epoch, f.Payload, want)
		}
		next[f.Epoch]++
	}
	if !slices.Equal(next, slices.Repeat([]int{each}, senders)) {
		t.Errorf("frames per sender: %v", next)
	}
	if w.Recorded() != senders*each || w.Durable() != senders*each {
		t.Errorf("recorded %d, durable %d", w.Recorded(), w.Durable())
	}
}

// TestWriter_Faults: whatever the disk does, what Append acknowledged is there,
// nothing else is, and nothing is corrupt.
func TestWriter_Faults(t *testing.T) {
	on := func(label, name string, short int, err error) func(durabletest.Call) (int, error) {
		return func(c durabletest.Call) (int, error) {
			if c.Label == label && c.Name == name {
				return short, err
			}
			return 0, nil
		}
	}
	both := func(a, b func(durabletest.Call) (int, error)) func(durabletest.Call) (int, error) {
		return func(c durabletest.Call) (int, error) {
			if n, err := a(c); err != nil {
				return n, err
			}
			return b(c)
		}
	}
	for _, tt := range []struct {
		name     string
		hook     func(durabletest.Call) (int, error)
		fresh    bool // the fault comes before the first frame
		appends  bool // Append succeeds all the same
		segments int
		suspect  bool
		corrupt  int64 // bytes of a frame that was never acknowledged
		op       string
	}{
		{
			name: "disk full", hook: on("segment", "write", 0, syscall.ENOSPC), segments: 1,
			op: opWrite,
		},
		{
			name: "disk full within the frame", hook: on("segment", "write", 20, syscall.ENOSPC),
			segments: 1, op: opWrite,
		},
		{
			name: "disk full within the frame, cannot be cut",
			hook: both(on("segment", "write", 20, syscall.ENOSPC),
				on("segment", "truncate", 0, syscall.EIO)),
			segments: 2, corrupt: 20, op: opTruncate,
		},
		{
			name: "no room for a segment", fresh: true,
			hook: on("segment", "create", 0, syscall.ENOSPC), segments: 1, op: opCreate,
		},
		{
			name: "no room for a segment's header", fresh: true,
			hook: on("segment", "write", 50, syscall.ENOSPC), segments: 1, op: opCreate,
		},
		{
			name: "sync fails", appends: true, hook: on("segment", "sync", 0, syscall.EIO),
			segments: 2, suspect: true, op: opSync,
		},
		{name: "sync of the directory fails", fresh: true, appends: true, hook: on("sync-segment",
			"syncdir", 0, syscall.EIO), segments: 2, suspect: true, op: opSync},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mem, o := memory()
			fault := &durabletest.Fault{FS: mem}
			o.FS = fault
			s := openSpool(t, "/data", o)
			r, w := newRecording(t, s)
			var want []string
			if !tt.fresh {
				appendText(t, w, "before")
				want = append(want, "before")
				if err := w.Sync(); err != nil {
					t.Fatal(err)
				}
			}
			fault.Hook = tt.hook
			err := w.Append(segment.Frame{
				Type:    segment.FramePacket,
				Payload: []byte("hit by the fault"),
			})
			if tt.appends != (err == nil) {
				t.Fatalf("append: %v", err)
			}
			if err == nil {
				want = append(want, "hit by the fault")
			}
			if err := w.Sync(); tt.suspect != (err != nil) {
				t.Errorf("sync: %v", err)
			}
			fault.Hook = nil
			appendText(t, w, "after")
			want = append(want, "after")
			if err := w.Sync(); tt.suspect != (err != nil) {
				t.Errorf("sync afterwards: %v; a failed one must not be forgotten", err)
			}
			if n := counterValue(t, s.metrics.errors.WithLabelValues(tt.op)); n != 1 {
				t.Errorf("errors{op=%q} = %v", tt.op, n)
			}
			if durable := w.Durable(); tt.suspect == (durable == w.Recorded()) {
				t.Errorf("%d of %d frames durable", durable, w.Recorded())
			}
			// After a restart it goes on, and remembers.
			after := mem.Restart(nil)
			if err := w.Close(); tt.suspect != (err != nil) {
				t.Errorf("close: %v", err)
			}
			w = openWriter(t, r)
			appendText(t, w, "last")
			want = append(want, "last")
			seal(t, w)
			sealed, _ := r.Sealed()
			if sealed.Suspect != tt.suspect {
				t.Errorf("suspect: %v", sealed.Suspect)
			}
			if len(sealed.Segments) != tt.segments+1 {
				t.Errorf("segments: %+v", sealed.Segments)
			}
			frames, corrupt := split(t, collect(t, r.Frames()))
			var got []string
			for _, f := range frames {
				got = append(got, string(f.Payload))
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			sum := segment.Event{}
			for _, c := range corrupt {
				sum.Bytes += c.Bytes
				sum.FramesMissing += c.FramesMissing
			}
			if sum.Bytes != tt.corrupt || sum.FramesMissing != 0 {
				t.Errorf("corrupt: %+v", corrupt)
			}
			// Had the power failed, the suspicion would have survived.
			s2 := openSpool(t, "/data", Options{FS: after, SyncInterval: quiet})
			if got := s2.Recordings()[0].Suspect(); got != tt.suspect {
				t.Errorf("suspect after a power failure: %v", got)
			}
		})
	}
}

func TestSyncer_SyncsWithinTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, o := memory()
		o.SyncInterval = 200 * time.Millisecond
		s := openSpool(t, "/data", o)
		var writers []*Writer
		for range 1000 {
			_, w := newRecording(t, s)
			writers = append(writers, w)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for round := range 3 {
			for _, w := range writers {
				appendText(t, w, "x")
			}
			time.Sleep(o.SyncInterval - time.Nanosecond)
			synctest.Wait()
			if round == 0 && writers[0].Durable() != 0 {
				t.Error("synced too early for a test of the interval")
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			for i, w := range writers {
				if w.Durable() != w.Recorded() {
					t.Fatalf("round %d, writer %d: %d of %d frames durable", round, i, w.Durable(),
						w.Recorded())
				}
			}
		}
		if n := counterValue(t, s.metrics.durable); n != 3000 {
			t.Errorf("frames_durable_total = %v", n)
		}
		if n := counterValue(t, s.metrics.recorded); n != 3000 {
			t.Errorf("frames_recorded_total = %v", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSyncer_FailingDisk: a disk that fails every sync does not make a segment
// per interval.
func TestSyncer_FailingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, o := memory()
		o.SyncInterval = 200 * time.Millisecond
		o.FS = &durabletest.Fault{FS: mem, Hook: func(c durabletest.Call) (int, error) {
			if c.Label == "segment" && c.Name == "sync" {
				return 0, syscall.EIO
			}
			return 0, nil
		}}
		s := openSpool(t, "/data", o)
		r, w := newRecording(t, s)
		for range 10 * 60 * 10 { // ten minutes
			appendText(t, w, "x")
			time.Sleep(100 * time.Millisecond)
		}
		names, err := listSegments(mem, r.Dir())
		if err != nil {
			t.Fatal(err)
		}
		if len(names) > 25 {
			t.Errorf("%d segments in ten minutes", len(names))
		}
		if got := collect(t, r.Frames()); len(got) != 6000 {
			t.Errorf("%d frames", len(got))
		}
	})
}

func TestWriter_SealIsFinal(t *testing.T) {
	_, o := memory()
	s := openSpool(t, "/data", o)
	r, w := newRecording(t, s)
	if _, err := r.Writer(); !errors.Is(err, ErrBusy) {
		t.Errorf("second writer: %v", err)
	}
	appendText(t, w, "one")
	seal(t, w)
	if err := w.Seal(Sealed{Status: textegress.StatusFailed}); err != nil {
		t.Errorf("second seal: %v", err)
	}
	if got, ok := r.Sealed(); !ok || got.Status != textegress.StatusComplete ||
		got.EndedUnixNS != 7 {
		t.Errorf("sealed: %+v, %v", got, ok)
	}
	if err := w.Append(segment.Frame{}); !errors.Is(err, ErrSealed) {
		t.Errorf("append: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := r.Writer(); !errors.Is(err, ErrSealed) {
		t.Errorf("writer: %v", err)
	}
}

// TestWriter_SealAgain: a seal that failed anywhere can be repeated, and never
// changes its mind once sealed.json may have become visible.
func TestWriter_SealAgain(t *testing.T) {
	for _, name := range []string{"create", "write", "sync", "rename", "syncdir"} {
		t.Run(name, func(t *testing.T) {
			mem, o := memory()
			fault := &durabletest.Fault{FS: mem}
			o.FS = fault
			r, w := newRecording(t, openSpool(t, "/data", o))
			appendText(t, w, "one")
			fault.Hook = func(c durabletest.Call) (int, error) {
				if c.Label == "seal" && c.Name == name {
					return 0, syscall.EIO
				}
				return 0, nil
			}
			if err := w.Seal(Sealed{Status: textegress.StatusComplete}); err == nil {
				t.Fatal("no error")
			}
			if err := w.Append(segment.Frame{}); !errors.Is(err, ErrSealed) {
				t.Errorf("append: %v", err)
			}
			fault.Hook = nil
			if err := w.Seal(Sealed{Status: textegress.StatusFailed}); err != nil {
				t.Fatal(err)
			}
			got, _ := r.Sealed()
			want := textegress.StatusFailed
			if name == "syncdir" {
				want = textegress.StatusComplete
			}
			if got.Status != want || len(got.Segments) != 1 {
				t.Errorf("sealed: %+v, want %s", got, want)
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{100, 1200, 15000} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			r, err := s.Create(Info{})
			if err != nil {
				b.Fatal(err)
			}
			w, err := r.Writer()
			if err != nil {
				b.Fatal(err)
			}
			f := segment.Frame{Type: segment.FramePacket, Payload: make([]byte, size)}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Append(f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

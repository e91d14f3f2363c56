package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/segment"
)

// TestSyncer_StartsAllFirst: in a round of many writers all segments begin to be
// written back before the first is synced; with few it would be one call more for
// nothing.
func TestSyncer_StartsAllFirst(t *testing.T) {
	for _, n := range []int{startFirst - 1, startFirst, 50} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem, o := memory()
				o.SyncInterval = 200 * time.Millisecond
				var mu sync.Mutex
				var calls []string
				o.FS = &durabletest.Fault{FS: mem, Hook: func(c durabletest.Call) (int, error) {
					mu.Lock()
					defer mu.Unlock()
					if c.Label == "segment" && (c.Name == "startsync" || c.Name == "sync") {
						calls = append(calls, c.Name)
					}
					return 0, nil
				}}
				s := openSpool(t, "/data", o)
				var writers []*Writer
				for range n {
					_, w := newRecording(t, s)
					writers = append(writers, w)
				}
				for range 3 {
					calls = nil
					for _, w := range writers {
						appendText(t, w, "one", "two")
					}
					time.Sleep(o.SyncInterval)
					synctest.Wait()
					want := slices.Repeat([]string{"sync"}, n)
					if n >= startFirst {
						want = append(slices.Repeat([]string{"startsync"}, n), want...)
					}
					if !slices.Equal(calls, want) {
						t.Errorf("calls %v", calls)
					}
					for _, w := range writers {
						if w.Durable() != w.Recorded() {
							t.Errorf("%d of %d frames durable", w.Durable(), w.Recorded())
						}
					}
				}
			})
		})
	}
}

// TestSyncer_FailedStartIsFinal: where the beginning of a write-back fails, the
// kernel may have dropped the pages, and an fdatasync afterwards succeeds. What was
// in that segment never counts as durable, its recording alone is suspect, and goes
// on in a new segment.
func TestSyncer_FailedStartIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, o := memory()
		o.SyncInterval = 200 * time.Millisecond
		var mu sync.Mutex
		var bad string // the path that fails
		synced := map[string]bool{}
		o.FS = &durabletest.Fault{FS: mem, Hook: func(c durabletest.Call) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case c.Name == "startsync" && c.Path == bad:
				return 0, syscall.EIO
			case c.Label == "segment" && c.Name == "sync":
				synced[c.Path] = true
			}
			return 0, nil
		}}
		s := openSpool(t, "/data", o)
		var recs []*Recording
		var writers []*Writer
		for range startFirst {
			r, w := newRecording(t, s)
			recs, writers = append(recs, r), append(writers, w)
		}
		round := func(text string) {
			for _, w := range writers {
				appendText(t, w, text)
			}
			time.Sleep(o.SyncInterval)
			synctest.Wait()
		}
		round("before")
		mu.Lock()
		bad = filepath.Join(recs[3].Dir(), segment.Name(1))
		clear(synced)
		mu.Unlock()
		round("hit")
		mu.Lock()
		if synced[bad] || len(synced) != startFirst-1 {
			t.Errorf("synced after the failure: %v", synced)
		}
		mu.Unlock()
		time.Sleep(time.Minute) // the pause after a failure
		round("after")
		time.Sleep(time.Minute)
		after := mem.Restart(nil)
		for i, w := range writers {
			want := uint64(3)
			if i == 3 {
				want = 2 // "before" and "after"
			}
			if w.Durable() != want || w.Suspect() != (i == 3) {
				t.Errorf("recording %d: %d frames durable, suspect %v", i, w.Durable(), w.Suspect())
			}
			if err := w.Sync(); errors.Is(err, syscall.EIO) != (i == 3) {
				t.Errorf("recording %d: sync says %v", i, err)
			}
		}
		wantTexts(t, recs[3], "before", "hit", "after")
		if n := counterValue(t, s.metrics.errors.WithLabelValues(opSync)); n != 1 {
			t.Errorf("errors{op=sync} = %v", n)
		}
		s2 := openSpool(t, "/data", Options{FS: after, SyncInterval: quiet})
		for _, r := range s2.Recordings() {
			if r.Suspect() != (r.ID() == recs[3].ID()) {
				t.Errorf("%s is suspect after a power failure: %v", r.ID(), r.Suspect())
			}
		}
	})
}

// TestSyncer_CrashAtEveryOp lets the machine crash at every operation of several
// rounds of many writers, whose segments fill up meanwhile: every frame that was
// counted as durable is there, in order and whole.
func TestSyncer_CrashAtEveryOp(t *testing.T) {
	points := 0
	for at := 1; ; at++ {
		crashed := false
		synctest.Test(t, func(t *testing.T) { crashed = crashInRounds(t, at) })
		if t.Failed() {
			t.Fatalf("at operation %d", at)
		}
		if !crashed {
			break
		}
		points++
	}
	if points < 200 {
		t.Errorf("only %d operations", points)
	}
}

func crashInRounds(t *testing.T, at int) bool {
	const writers, rounds = startFirst + 1, 3
	fs := durabletest.NewCrashFS(at, at%70)
	interval := 200 * time.Millisecond
	s, err := Open("/data", Options{FS: fs, SyncInterval: interval, SegmentSize: 300})
	if err != nil {
		return fs.Crashed()
	}
	defer s.Close()
	open := map[string]*Writer{}
	for range writers {
		r, err := s.Create(Info{SessionID: "session"})
		if err != nil {
			continue
		}
		if w, err := r.Writer(); err == nil {
			open[r.ID()] = w
		}
	}
	for n := range rounds * 3 {
		for _, w := range open {
			_ = w.Append(segment.Frame{
				Type:    segment.FramePacket,
				Payload: fmt.Appendf(nil, "message %d", n+1),
			})
		}
		if n%3 == 2 {
			time.Sleep(interval)
			synctest.Wait()
		}
	}
	for _, after := range []*durabletest.CrashFS{
		fs.Restart(nil),
		fs.Restart(rand.New(rand.NewPCG(1, uint64(at)))),
	} {
		s, err := Open("/data", Options{FS: after, SyncInterval: quiet})
		if err != nil {
			t.Fatal(err)
		}
		for id, w := range open {
			r, ok := s.Recording(id)
			if !ok {
				t.Fatalf("%s is gone", id)
			}
			frames, _ := split(t, collect(t, r.Frames()))
			if uint64(len(frames)) < w.Durable() {
				t.Errorf("%d frames are there, %d were durable", len(frames), w.Durable())
			}
			for i, f := range frames[:min(len(frames), int(w.Durable()))] {
				if f.Index != uint64(i+1) || string(f.Payload) != fmt.Sprintf("message %d", i+1) {
					t.Errorf("frame %d is %d, %q", i+1, f.Index, f.Payload)
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	return fs.Crashed()
}

package spool

import (
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/durable/durabletest"
	"github.com/syncflow/textegress/segment"
)

// quiet keeps the syncer from working, so that a test decides when to sync.
const quiet = time.Hour

func openSpool(t *testing.T, dir string, o Options) *Spool {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Logf("close spool: %v", err)
		}
	})
	return s
}

// memory returns options for a spool in memory.
func memory() (*durabletest.CrashFS, Options) {
	fs := durabletest.NewCrashFS(0, 0)
	return fs, Options{FS: fs, SyncInterval: quiet}
}

func newRecording(t *testing.T, s *Spool) (*Recording, *Writer) {
	t.Helper()
	r, err := s.Create(Info{SessionID: "session", RoomName: "room"})
	if err != nil {
		t.Fatal(err)
	}
	return r, openWriter(t, r)
}

func openWriter(t *testing.T, r *Recording) *Writer {
	t.Helper()
	w, err := r.Writer()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func appendText(t *testing.T, w *Writer, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if err := w.Append(segment.Frame{
			Type: segment.FramePacket, Channel: segment.ChannelReliable,
			Payload: []byte(s),
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// wantTexts checks that a recording has exactly these payloads, numbered without
// a hole, and nothing corrupt.
func wantTexts(t *testing.T, r *Recording, want ...string) {
	t.Helper()
	frames, corrupt := split(t, collect(t, r.Frames()))
	var got []string
	for i, f := range frames {
		got = append(got, string(f.Payload))
		if f.Index != uint64(i+1) {
			t.Errorf("frame %d has index %d", i+1, f.Index)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("frames are %q, want %q", got, want)
	}
	if len(corrupt) > 0 {
		t.Errorf("corrupt: %+v", corrupt)
	}
}

func numbers(from, to int) []string {
	var s []string
	for i := from; i <= to; i++ {
		s = append(s, fmt.Sprintf("message %d", i))
	}
	return s
}

func seal(t *testing.T, w *Writer) {
	t.Helper()
	if err := w.Seal(Sealed{
		Status: textegress.StatusComplete, Reason: "room_deleted",
		EndedUnixNS: 7,
	}); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, fs durable.FS, name string) []byte {
	t.Helper()
	b, err := fs.ReadFile("test", name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// putFile makes a file as something other than the spool would have left it.
func putFile(t *testing.T, fs durable.FS, name string, b []byte) {
	t.Helper()
	_ = fs.Remove("test", name)
	f, err := fs.Create("test", name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// collect returns copies of all frames.
func collect(t *testing.T, frames iter.Seq2[segment.Frame, error]) []segment.Frame {
	t.Helper()
	var all []segment.Frame
	for f, err := range frames {
		if err != nil {
			t.Fatal(err)
		}
		f.Payload = slices.Clone(f.Payload)
		all = append(all, f)
	}
	return all
}

// lastFrame returns a copy of the last frame, false where there is none.
func lastFrame(r *Recording) (last segment.Frame, ok bool, err error) {
	for f, err := range r.Frames() {
		if err != nil {
			return segment.Frame{}, false, err
		}
		f.Payload = slices.Clone(f.Payload)
		last, ok = f, true
	}
	return last, ok, nil
}

// eventFrame is a frame of type FrameEvent.
func eventFrame(t *testing.T, unixNS int64, ev segment.Event) segment.Frame {
	t.Helper()
	payload, err := segment.EncodeEvent(ev)
	if err != nil {
		t.Fatal(err)
	}
	return segment.Frame{Type: segment.FrameEvent, UnixNS: unixNS, Payload: payload}
}

// split separates what was recorded from the corrupt ranges.
func split(t *testing.T, all []segment.Frame) (frames []segment.Frame, corrupt []segment.Event) {
	t.Helper()
	for _, f := range all {
		var ev segment.Event
		if f.Type == segment.FrameEvent {
			var err error
			if ev, err = segment.DecodeEvent(f.Payload); err != nil {
				t.Fatal(err)
			}
		}
		if ev.Kind == segment.KindCorrupt {
			corrupt = append(corrupt, ev)
		} else {
			frames = append(frames, f)
		}
	}
	return frames, corrupt
}

func counterValue(t *testing.T, c prometheus.Collector) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	if err := reg.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

package follow

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/redact/redacttest"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// goldens returns the frames of the golden recordings, by egress id.
func goldens(t *testing.T) map[string][]segment.Frame {
	t.Helper()
	sp, err := spool.OpenReadOnly(filepath.Join("..", "render", "testdata", "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	all := map[string][]segment.Frame{}
	for _, rec := range sp.Recordings() {
		for f, err := range rec.Frames() {
			if err != nil {
				t.Fatal(err)
			}
			f.Payload = slices.Clone(f.Payload)
			all[rec.ID()] = append(all[rec.ID()], f)
		}
	}
	if len(all) < 3 {
		t.Fatalf("%d golden recordings", len(all))
	}
	return all
}

// world is a spool with one recording, followed by a hub.
type world struct {
	t    *testing.T
	dir  string
	o    spool.Options
	sp   *spool.Spool
	rec  *spool.Recording
	w    *spool.Writer
	hub  *Hub
	mode decodingMode

	scratch string // directory for files without a name
	decoded int    // how often a recording was decoded from its first frame on
}

// decodingMode is how recordings of a world are decoded.
type decodingMode struct {
	keys       *render.Keys
	pseudonyms bool
}

func (m decodingMode) names() redact.Pseudonyms {
	if !m.pseudonyms {
		return nil
	}
	return &redacttest.Pseudonyms{}
}

const testID = "DE_following001"

func newWorld(t *testing.T, m decodingMode, o spool.Options) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "data"), o: o, mode: m}
	if o.FS != nil {
		w.dir = "/srv/data" // in memory
	}
	w.open()
	rec, err := w.sp.Create(spool.Info{
		EgressID: testID, SessionID: "s", RoomName: "class 1", ProjectID: "p", ProjectName: "P",
		KeyPrefix:  textegress.Prefix("P", "p", "class 1", "", testID),
		Pseudonyms: m.pseudonyms, CreatedUnixNS: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.rec = rec
	w.write()
	t.Cleanup(func() { w.close() })
	return w
}

// open opens the spool and a hub.
func (w *world) open() {
	w.t.Helper()
	sp, err := spool.Open(w.dir, w.o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.sp = sp
	w.scratch = w.t.TempDir()
	w.hub = New(Options{
		Spool: sp, scratch: w.scratch,
		Decode: func(*spool.Recording) (Decoding, error) {
			w.decoded++
			return Decoding{Keys: w.mode.keys, Pseudonyms: w.mode.names()}, nil
		},
	})
}

func (w *world) write() {
	w.t.Helper()
	writer, err := w.rec.Writer()
	if err != nil {
		w.t.Fatal(err)
	}
	w.w = writer
}

func (w *world) close() {
	w.t.Helper()
	if err := errors.Join(w.hub.Close(), w.sp.Close()); err != nil {
		w.t.Error(err)
	}
}

// restart opens the spool anew, as after a kill, and continues the recording.
func (w *world) restart() {
	w.t.Helper()
	w.close()
	w.open()
	rec, ok := w.sp.Recording(testID)
	if !ok {
		w.t.Fatal("the recording is gone")
	}
	w.rec = rec
	w.write()
}

// append records frames and makes them durable.
func (w *world) append(frames ...segment.Frame) {
	w.t.Helper()
	for _, f := range frames {
		if err := w.w.Append(f); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.w.Sync(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) seal() {
	w.t.Helper()
	sealed := spool.Sealed{Status: textegress.StatusComplete, EndedUnixNS: 2}
	if err := w.w.Seal(sealed); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) follow(from int64) *Reader {
	w.t.Helper()
	r, err := w.hub.Follow(testID, from)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { r.Close() })
	return r
}

// events returns the lines of events.jsonl, as a delivery of the recording contains them.
func (w *world) events() []string {
	w.t.Helper()
	sink := &eventsSink{}
	o := render.Options{Keys: w.mode.keys, Pseudonyms: w.mode.names(), WithoutRaw: true}
	if _, err := render.Build(w.t.Context(), render.FromSpool(w.rec), o, sink); err != nil {
		w.t.Fatal(err)
	}
	var lines []string
	for line := range bytes.Lines(sink.events.Bytes()) {
		lines = append(lines, string(bytes.TrimSuffix(line, []byte("\n"))))
	}
	return lines
}

// eventsSink keeps events.jsonl.
type eventsSink struct{ events bytes.Buffer }

func (s *eventsSink) Append(key string) (io.WriteCloser, error) {
	if key == textegress.EventsName {
		return nopCloser{&s.events}, nil
	}
	return nopCloser{io.Discard}, nil
}

func (s *eventsSink) Scratch() (render.Scratch, error) { return &memScratch{}, nil }

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

type memScratch struct{ b []byte }

func (m *memScratch) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

func (m *memScratch) ReadAt(p []byte, off int64) (int, error) { return copy(p, m.b[off:]), nil }
func (*memScratch) Close() error                              { return nil }

// deadline is how long a test waits for what must happen.
const deadline = 30 * time.Second

// next returns the next line of r.
func next(t *testing.T, r *Reader) (Line, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	l, err := r.Next(ctx)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return l, err
}

// rest returns all lines up to the end of the recording.
func rest(t *testing.T, r *Reader) (lines []string) {
	t.Helper()
	for {
		l, err := next(t, r)
		if err != nil {
			return lines
		}
		lines = append(lines, string(l.JSON))
	}
}

// read returns the lines up to number n.
func read(t *testing.T, r *Reader, n int64) (lines []string) {
	t.Helper()
	for {
		l, err := next(t, r)
		if err != nil {
			t.Fatalf("the recording ended before line %d", n)
		}
		lines = append(lines, string(l.JSON))
		if l.N >= n {
			return lines
		}
	}
}

// lineCounter returns a function that returns the number of lines after the next frame.
func lineCounter(t *testing.T, info spool.Info, m decodingMode) func(segment.Frame) int {
	t.Helper()
	n := 0
	ev, err := render.NewEvents(t.Context(), info, render.EventsOptions{
		Keys: m.keys, Pseudonyms: m.names(),
		Scratch: func() (render.Scratch, error) { return &memScratch{}, nil },
	}, func(*textegress.Message, []byte) error { n++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ev.Close() })
	index := uint64(0)
	return func(f segment.Frame) int {
		index++
		f.Index = index
		if err := ev.Frame(f); err != nil {
			t.Fatal(err)
		}
		return n
	}
}

package render_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// hostile are names and payloads as no one should send them.
var hostile = []string{
	"a/b", "..", ".", "", " ", "  leading and trailing  ", "../../etc/passwd", "C:\\x", "%2F",
	"%unknown", "%", "~", "-", "CON",
	"学生", "مرحبا", "👩🏽‍🎓", "e\u0301", strings.Repeat("x", 200), strings.Repeat("学", 200),
	strings.Repeat("/", 300),
	"line\nfeed", "tab\t", "nul\x00", "\x1b[31m", "a|b", `"quoted"`, "'", "<script>", "\u2028",
	"\u0085",
	"metadata.json", "manifest.json", "raw", "events.jsonl",
	"alice-all-topics-2025-06-11T20:30:40UTC",
}

func hostileRecording(t *testing.T) *spool.Recording {
	t.Helper()
	r := newRecording(t, tempSpool(t), spool.Info{RoomName: "../ro\nom|学"},
		spool.Options{SegmentSize: 4096})
	r.joined(1, "RM_1")
	for i, name := range hostile {
		for j, payload := range append(hostile, "\xff", "\xc3\x28", "\xf0\x90\x80") {
			if (i+j)%5 == 0 {
				r.say(name, fmt.Sprintf("PA_%d", i), name, payload)
			}
		}
	}
	return r.seal(textegress.StatusComplete, "room_deleted")
}

func TestHostileNamesAndPayloads(t *testing.T) {
	rec := hostileRecording(t)
	m, s := build(t, render.FromSpool(rec))
	want := 0
	for _, key := range s.keys {
		for part := range strings.SplitSeq(key, "/") {
			if part == "" || part == "." || part == ".." || len(part) > 255 {
				t.Errorf("key %q has a component %q", key, part)
			}
		}
		if !strings.HasSuffix(key, ".txt") {
			continue
		}
		for line := range bytes.Lines(s.objects[key]) {
			want++
			if n := bytes.Count(line, []byte("\r")); n != 0 {
				t.Errorf("%q: carriage return in %q", key, line)
			}
			if parts := bytes.SplitN(line, []byte("|"), 3); len(parts) != 3 ||
				!bytes.HasSuffix(parts[0], []byte("UTC")) {
				t.Errorf("%q: line %q is not of the predecessor's form", key, line)
			}
		}
	}
	if int64(want) != m.Counts.Messages {
		t.Errorf("%d lines in the views, %d messages", want, m.Counts.Messages)
	}
	// What the library reads is what was sent.
	fsys := fstest.MapFS{}
	for key, data := range s.objects {
		fsys[key] = &fstest.MapFile{Data: data}
	}
	delivered, err := textegress.Open(fsys)
	if err != nil {
		t.Fatal(err)
	}
	if err := delivered.Verify(t.Context(), nil); err != nil {
		t.Errorf("Verify: %v", err)
	}
	n := int64(0)
	for msg, err := range delivered.Messages() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; msg.N != n {
			t.Fatalf("line %d has the number %d", n, msg.N)
		}
		if msg.Kind == textegress.KindData &&
			(msg.Identity != msg.Topic || !slices.Contains(hostile, msg.Identity)) {
			t.Errorf("name %q, topic %q", msg.Identity, msg.Topic)
		}
	}
}

func TestEveryPayloadSurvives(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	payloads := append(slices.Clone(hostile), "\xff", "\xc3\x28", "\x80\x80",
		strings.Repeat("long ", 13000))
	for _, p := range payloads {
		r.say("alice", "PA_1", "", p)
	}
	_, s := build(t, render.FromSpool(r.seal(textegress.StatusComplete, "")))
	delivered, err := textegress.Open(fstest.MapFS{
		textegress.ManifestName: {Data: s.objects[textegress.ManifestName]},
		textegress.EventsName:   {Data: s.objects[textegress.EventsName]},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for m, err := range delivered.Messages() {
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind == textegress.KindData {
			got = append(got, string(m.Payload()))
		}
	}
	if diff := cmp.Diff(payloads, got); diff != "" {
		t.Errorf("payloads (-sent +read):\n%s", diff)
	}
}

func TestSameRecordingGivesTheSameBytes(t *testing.T) {
	rec := hostileRecording(t)
	_, first := build(t, render.FromSpool(rec))
	_, second := build(t, render.FromSpool(rec))
	if !maps.EqualFunc(first.objects, second.objects, bytes.Equal) ||
		!slices.Equal(first.keys, second.keys) {
		t.Error("a second export differs")
	}
	// From another process, and from the delivered objects.
	dir := filepath.Dir(filepath.Dir(rec.Dir()))
	sp, err := spool.OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	again, _ := sp.Recording(rec.ID())
	if _, third := build(t, render.FromSpool(again)); !maps.EqualFunc(first.objects, third.objects,
		bytes.Equal) {
		t.Error("an export by another process differs")
	}
	fsys := fstest.MapFS{}
	for key, data := range first.objects {
		if key == textegress.ManifestName || strings.HasPrefix(key, "raw/") {
			fsys[key] = &fstest.MapFile{Data: data}
		}
	}
	src, err := render.FromDelivered(fsys)
	if err != nil {
		t.Fatal(err)
	}
	_, fourth := build(t, src)
	for key, data := range first.objects {
		if !bytes.Equal(fourth.objects[key], data) {
			t.Errorf("%q derived from raw/ differs", key)
		}
	}
	if len(fourth.objects) != len(first.objects) {
		t.Errorf("%d objects derived from raw/, delivered were %d", len(fourth.objects),
			len(first.objects))
	}
}

func TestManifestListsEverything(t *testing.T) {
	m, s := build(t, render.FromSpool(hostileRecording(t)))
	if len(m.Objects) != len(s.objects)-1 {
		t.Errorf("%d of %d objects listed", len(m.Objects), len(s.objects))
	}
	for _, o := range m.Objects {
		sum := sha256.Sum256(s.objects[o.Key])
		if o.Size != int64(len(s.objects[o.Key])) || o.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%q: size or checksum differ", o.Key)
		}
	}
	data, err := m.Encode()
	if err != nil || !bytes.Equal(data, s.objects[textegress.ManifestName]) {
		t.Errorf("the returned manifest is not the written one, %v", err)
	}
}

func TestTwoConnectionsWithinOneSecond(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	long := strings.Repeat("学", 100)
	for _, sid := range []string{"PA_1", "PA_2", "PA_1", "PA_2", ""} {
		r.ns = start
		r.say("alice", sid, "", "from "+sid)
		r.ns = start
		r.say(long, sid, "", "long name")
	}
	_, s := build(t, render.FromSpool(r.seal(textegress.StatusComplete, "")))
	for key, lines := range map[string]int{
		"alice-all-topics-2025-06-11T20:30:40UTC.txt":      2,
		"alice-all-topics-2025-06-11T20:30:40UTC~PA_2.txt": 2,
		"alice-all-topics-2025-06-11T20:30:40UTC~2.txt":    1, // no sid to tell it by
	} {
		if got := bytes.Count(s.objects[key], []byte("\n")); got != lines {
			t.Errorf("%q has %d lines, want %d", key, got, lines)
		}
	}
	for _, key := range s.keys {
		if len(key) > 255 {
			t.Errorf("%q has %d bytes", key, len(key))
		}
	}
}

func TestCorruptSegmentIsStatedAndDelivered(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	for i := range 20 {
		r.say("alice", "PA_1", "", fmt.Sprintf("message %d", i))
	}
	rec := r.seal(textegress.StatusComplete, "")
	name := filepath.Join(rec.Dir(), "000001.seg")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(data, []byte("message 7"))
	data[i] ^= 0xff
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	m, s := build(t, render.FromSpool(rec))
	if c := m.Completeness; c.CorruptRanges != 1 || c.FramesMissing != 1 || c.CorruptBytes == 0 {
		t.Errorf("completeness %+v", c)
	}
	if m.Counts.Messages != 19 || m.Counts.ByKind[textegress.KindCorrupt] != 1 {
		t.Errorf("counts %+v", m.Counts)
	}
	fsys := fstest.MapFS{}
	for key, data := range s.objects {
		fsys[key] = &fstest.MapFile{Data: data}
	}
	src, err := render.FromDelivered(fsys)
	if err != nil {
		t.Fatal(err)
	}
	if _, again := build(t, src); !maps.EqualFunc(s.objects, again.objects, bytes.Equal) {
		t.Error("derived from raw/, a corrupt recording differs")
	}
}

func TestMissingSegmentIsStated(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{SegmentSize: 1024})
	for i := range 100 {
		r.say("alice", "PA_1", "", fmt.Sprintf("message %d", i))
	}
	rec := r.seal(textegress.StatusComplete, "")
	if err := os.Remove(filepath.Join(rec.Dir(), "000002.seg")); err != nil {
		t.Fatal(err)
	}
	m, _ := build(t, render.FromSpool(rec))
	if m.Completeness.FramesMissing == 0 || m.Counts.Messages+m.Completeness.FramesMissing != 100 {
		t.Errorf("%d messages, %d frames missing", m.Counts.Messages, m.Completeness.FramesMissing)
	}
}

func TestOpenRecording(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{Topic: "chat"}, spool.Options{})
	r.say("alice", "PA_1", "chat", "so far")
	m, s := build(t, render.FromSpool(r.rec))
	if m.Status != textegress.StatusActive || m.EndedUnixNS == 0 || m.Counts.Messages != 1 {
		t.Errorf("manifest %+v", m)
	}
	if _, ok := s.objects["raw/sealed.json"]; ok {
		t.Error("sealed.json of a recording that is not sealed")
	}
	if _, ok := s.objects["alice-chat-2025-06-11T20:30:39UTC.txt"]; !ok {
		t.Errorf("view of one topic is missing: %q", s.keys)
	}
	if !bytes.Contains(s.objects[textegress.MetadataName], []byte(`"topic": "chat"`)) {
		t.Errorf("metadata: %s", s.objects[textegress.MetadataName])
	}
}

// TestSuspectRecordingIsStated: the bytes are delivered, and the manifest says
// that the disk once failed to make them durable.
func TestSuspectRecordingIsStated(t *testing.T) {
	for _, suspect := range []bool{false, true} {
		r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
		r.say("alice", "PA_1", "", "hello")
		if err := r.w.Seal(spool.Sealed{
			Status:  textegress.StatusComplete,
			Suspect: suspect,
		}); err != nil {
			t.Fatal(err)
		}
		m, s := build(t, render.FromSpool(r.rec))
		if m.Completeness.Suspect != suspect {
			t.Errorf("the manifest says suspect %v, want %v", m.Completeness.Suspect, suspect)
		}
		if said := bytes.Contains(s.objects[textegress.ManifestName],
			[]byte(`"suspect": true`)); said != suspect {
			t.Errorf("manifest.json says it: %v, want %v", said, suspect)
		}
	}
}

func TestTail(t *testing.T) {
	for reason, want := range map[string]string{
		"room_deleted":    "unproved",
		"connection_lost": "unproved", "service_stopped": "left", "left": "left", "": "unproved",
	} {
		r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
		if m, _ := build(t, render.FromSpool(r.seal(textegress.StatusComplete,
			reason))); m.Completeness.Tail != want {
			t.Errorf("reason %q: tail %q, want %q", reason, m.Completeness.Tail, want)
		}
	}
}

func TestThousandsOfParticipantsNeedFewOpenFiles(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	const participants = 3000
	for round := range 3 {
		for i := range participants {
			r.say(fmt.Sprintf("p%d", i), fmt.Sprintf("PA_%d", i), "", fmt.Sprint(round))
		}
	}
	_, s := build(t, render.FromSpool(r.seal(textegress.StatusComplete, "")))
	if s.max > 64 || s.reopened == 0 {
		t.Errorf("%d objects were open at once, %d times one was opened again", s.max, s.reopened)
	}
	views := 0
	for key, data := range s.objects {
		if strings.HasSuffix(key, ".txt") {
			views++
			if n := bytes.Count(data, []byte("\n")); n != 3 {
				t.Errorf("%q has %d lines", key, n)
			}
		}
	}
	if views != participants {
		t.Errorf("%d views", views)
	}
}

type discardSink struct{}

type discard struct{ io.Writer }

func (discard) Close() error { return nil }

func (discardSink) Scratch() (render.Scratch, error) { return &memScratch{}, nil }

func (discardSink) Append(string) (io.WriteCloser, error) { return discard{io.Discard}, nil }

// TestMemoryDoesNotGrow bounds the live heap while a long recording is exported by what a short one
// needs.
func TestMemoryDoesNotGrow(t *testing.T) {
	peak := func(messages int) uint64 {
		r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
		payload := strings.Repeat("x", 200)
		for i := range messages {
			r.say(fmt.Sprintf("p%d", i%100), fmt.Sprintf("PA_%d", i%100), "log", payload)
		}
		rec := r.seal(textegress.StatusComplete, "")
		src := &sampledSource{Source: render.FromSpool(rec), every: 100}
		if _, err := render.Build(t.Context(), src, render.Options{}, discardSink{}); err != nil {
			t.Fatal(err)
		}
		return src.peak
	}
	short, long := peak(2_000), peak(80_000)
	t.Logf("live heap at most %d kB with 2,000 messages, %d kB with 80,000", short>>10, long>>10)
	if long > short+8<<20 {
		t.Errorf("live heap grew from %d to %d bytes", short, long)
	}
}

// sampledSource measures the live heap at some points of the reading.
type sampledSource struct {
	render.Source
	reads int
	every int // reads
	peak  uint64
}

func (s *sampledSource) Segments(ctx context.Context) ([]segment.Source, error) {
	segments, err := s.Source.Segments(ctx)
	for i, seg := range segments {
		open := seg.Open
		segments[i].Open = func() (io.ReadCloser, error) {
			r, err := open()
			return struct {
				io.Reader
				io.Closer
			}{sampledReader{s, r}, r}, err
		}
	}
	return segments, err
}

type sampledReader struct {
	s *sampledSource
	r io.Reader
}

func (r sampledReader) Read(p []byte) (int, error) {
	if r.s.reads++; r.s.reads%r.s.every == 1 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		r.s.peak = max(r.s.peak, m.HeapAlloc)
	}
	return r.r.Read(p)
}

func BenchmarkBuild(b *testing.B) {
	payload := strings.Repeat("some log line of a student ", 8)
	for _, participants := range []int{40, 1000} { // more than objects have a buffer
		r := newRecording(b, tempSpool(b), spool.Info{}, spool.Options{})
		for i := range 50_000 {
			p := i % participants
			r.say(fmt.Sprintf("p%d", p), fmt.Sprintf("PA_%d", p), "log", fmt.Sprint(i, payload))
		}
		rec := r.seal(textegress.StatusComplete, "")
		size := int64(0)
		segments, err := rec.Segments()
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range segments {
			size += s.Size
		}
		for name, sink := range map[string]func() render.Sink{
			"discard": func() render.Sink { return discardSink{} },
			"disk": func() render.Sink {
				s, err := delivery.NewStaging(filepath.Join(b.TempDir(), "objects"))
				if err != nil {
					b.Fatal(err)
				}
				return s
			},
		} {
			b.Run(fmt.Sprintf("%s/%d participants", name, participants), func(b *testing.B) {
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := render.Build(b.Context(), render.FromSpool(rec), render.Options{},
						sink()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func TestErrorsDoNotNameParticipants(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	for i := range 200 {
		r.say(fmt.Sprintf("alice%d", i), fmt.Sprintf("PA_%d", i), "", "x")
	}
	rec := r.seal(textegress.StatusComplete, "")
	full := errors.New("no space left on device")
	for n := range 300 {
		s := &failingSink{memSink: newMemSink(), after: n * 5, err: full}
		_, err := render.Build(t.Context(), render.FromSpool(rec), render.Options{}, s)
		if s.failed && (!errors.Is(err, full) || strings.Contains(err.Error(), "alice")) {
			t.Fatalf("failure %d: %v", n, err)
		}
		if s.open != 0 {
			t.Fatalf("failure %d left %d objects open", n, s.open)
		}
		if !s.failed {
			return
		}
	}
	t.Error("never succeeded")
}

// failingSink fails from the n-th operation on.
type failingSink struct {
	*memSink
	after  int
	err    error
	failed bool
}

func (s *failingSink) fail() bool {
	s.after--
	s.failed = s.failed || s.after < 0
	return s.after < 0
}

func (s *failingSink) Append(key string) (io.WriteCloser, error) {
	if s.fail() {
		return nil, s.err
	}
	w, err := s.memSink.Append(key)
	return &failingWriter{s, w}, err
}

type failingWriter struct {
	s *failingSink
	io.WriteCloser
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.s.fail() {
		return 0, w.s.err
	}
	return w.WriteCloser.Write(p)
}

func TestItEndsWithItsContext(t *testing.T) {
	rec := hostileRecording(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := render.Build(ctx, render.FromSpool(rec), render.Options{},
		newMemSink()); !errors.Is(err, context.Canceled) {
		t.Errorf("Build = %v", err)
	}
}

func TestDirectoryAndStagingHoldTheObjects(t *testing.T) {
	rec := hostileRecording(t)
	m, want := build(t, render.FromSpool(rec))
	base := t.TempDir()

	d, err := render.NewDirectory(filepath.Join(base, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	staging, err := delivery.NewStaging(filepath.Join(base, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	for _, sink := range []render.Sink{d, staging} {
		if _, err := render.Build(t.Context(), render.FromSpool(rec), render.Options{},
			sink); err != nil {
			t.Fatalf("%T: %v", sink, err)
		}
	}
	if err := staging.Close(); err != nil {
		t.Fatal(err)
	}
	if staging, err = delivery.OpenStaging(filepath.Join(base, "objects")); err != nil {
		t.Fatal(err)
	}
	defer staging.Close()
	for key, data := range want.objects {
		for name, file := range map[string]string{"directory": filepath.Join(base, "out",
			filepath.FromSlash(key)), "staging": staging.Path(key)} {
			if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %q: %d bytes, %v", name, key, len(got), err)
			}
		}
	}
	entries, err := os.ReadDir(filepath.Join(base, "objects"))
	if err != nil || len(entries) != len(want.objects)+1 {
		t.Errorf("staging holds %d files, %v", len(entries), err)
	}
	for _, e := range entries {
		if strings.Trim(e.Name(), "0123456789") != "" && e.Name() != "index" {
			t.Errorf("staged file is named %q", e.Name())
		}
	}
	delivered, err := textegress.Open(os.DirFS(filepath.Join(base, "out")))
	if err != nil {
		t.Fatal(err)
	}
	if err := delivered.Verify(t.Context(), nil); err != nil {
		t.Errorf("Verify: %v", err)
	}
	if staging.Path("absent") != "" {
		t.Error("an absent object has a path")
	}
	// A second export into the same directory replaces and does not append.
	if _, err := render.Build(t.Context(), render.FromSpool(rec), render.Options{},
		mustDirectory(t, filepath.Join(base, "out"))); err != nil {
		t.Fatal(err)
	}
	if err := delivered.Verify(t.Context(), nil); err != nil {
		t.Errorf("Verify after a second export: %v", err)
	}
	_ = m
}

func mustDirectory(t *testing.T, path string) *render.Directory {
	t.Helper()
	d, err := render.NewDirectory(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestDirectoryIsNotLeft(t *testing.T) {
	base := t.TempDir()
	d := mustDirectory(t, filepath.Join(base, "out"))
	if err := os.Symlink(base, filepath.Join(base, "out", "link")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"../x", "/x", "link/x", "a/../../x"} {
		if w, err := d.Append(key); err == nil {
			w.Close()
			t.Errorf("Append(%q) succeeded", key)
		}
	}
	if _, err := os.Stat(filepath.Join(base, "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("outside of the directory: %v", err)
	}
}

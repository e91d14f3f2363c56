package render_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/verify"
)

// delivered returns the lines of streams, as a reader sees them.
func streamLines(t *testing.T, s *memSink) []textegress.Message {
	t.Helper()
	fsys := fstest.MapFS{}
	for key, data := range s.objects {
		fsys[key] = &fstest.MapFile{Data: data}
	}
	rec, err := textegress.Open(fsys)
	if err != nil {
		t.Fatal(err)
	}
	if err := rec.Verify(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var out []textegress.Message
	for m, err := range rec.Messages() {
		if err != nil {
			t.Fatal(err)
		}
		if m.Stream != nil {
			out = append(out, m)
		}
	}
	return out
}

// TestHostileFiles: names, ids and types of streams that lead out of the prefix, or to another's
// file.
func TestHostileFiles(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	want := map[string]string{}
	i := 0
	for _, name := range append(hostile, "\x1b]0;title\x07.png", "a\r\nContent-Type: text/html") {
		for _, id := range []string{"id", name, "../../" + name} {
			for range 2 { // the second time with the same names
				content := fmt.Sprint("content ", i)
				r.stream(name, fmt.Sprint("PA_", i), byteHeader(id, name, name, len(content)),
					content)
				want[content] = name
				i++
			}
		}
	}
	m, s := build(t, render.FromSpool(r.seal(textegress.StatusComplete, "")))
	types := map[string]string{}
	for _, o := range m.Objects {
		types[o.Key] = o.ContentType
	}
	lines := streamLines(t, s)
	if len(lines) != i {
		t.Fatalf("%d lines, %d streams", len(lines), i)
	}
	seen := map[string]bool{}
	for _, l := range lines {
		key := l.Stream.File
		if seen[key] || !strings.HasPrefix(key, "files/") || strings.Count(key, "/") != 2 ||
			!l.Stream.Complete {
			t.Errorf("stream %+v", l.Stream)
		}
		seen[key] = true
		for part := range strings.SplitSeq(key, "/") {
			if part == "" || part == "." || part == ".." || len(part) > 255 ||
				strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("key %q", key)
			}
		}
		if want[string(s.objects[key])] != l.Identity {
			t.Errorf("%q holds %q", key, s.objects[key])
		}
		if types[key] != "application/octet-stream" && types[key] != "a/b" {
			t.Errorf("%q has the type %q", key, types[key])
		}
	}
	d, err := render.NewDirectory(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := render.Build(t.Context(), render.FromSpool(r.rec), render.Options{},
		d); err != nil {
		t.Error(err)
	}
}

// TestScratchFile: a large stream goes through the sink's own directory, and leaves nothing there.
func TestScratchFile(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	content := strings.Repeat("0123456789abcdef", 10_000)
	r.from("alice", "PA_1", streamHeader(byteHeader("s", "f", "text/plain", len(content))))
	for i := range 16 {
		r.from("alice", "PA_1", streamChunk("s", uint64(15-i),
			content[(15-i)*10_000:(16-i)*10_000]))
	}
	r.from("alice", "PA_1", streamTrailer("s", "", nil))
	rec := r.seal(textegress.StatusComplete, "")
	base := t.TempDir()
	leftover := filepath.Join(base, "out", ".scratch") // of a process that died
	if err := os.Mkdir(filepath.Dir(leftover), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(leftover, []byte("left"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := render.NewDirectory(filepath.Join(base, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s, err := delivery.NewStaging(filepath.Join(base, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, sink := range []render.Sink{d, s} {
		if _, err := render.Build(t.Context(), render.FromSpool(rec), render.Options{},
			sink); err != nil {
			t.Fatalf("%T: %v", sink, err)
		}
	}
	for _, file := range []string{
		filepath.Join(base, "out", "files", "alice", "s-f"),
		s.Path("files/alice/s-f"),
	} {
		if data, err := os.ReadFile(file); err != nil || string(data) != content {
			t.Errorf("%s: %d bytes, %v", file, len(data), err)
		}
	}
	if err := filepath.WalkDir(base, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, "scratch") {
			t.Errorf("%s is left", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	m, mem := build(t, render.FromSpool(rec))
	if !mem.scratch.closed {
		t.Error("the scratch file was not closed")
	}
	// Deriving without a directory gives the same.
	derived, err := verify.Derive(t.Context(), render.FromSpool(rec), render.Options{}, 0)
	if err != nil || len(verify.Compare(m, derived)) != 0 {
		t.Errorf("%v, %q", err, verify.Compare(m, derived))
	}
}

// TestTooManyFiles: beyond the limit a short content stands in the line, and a long one is left out
// and said to be.
func TestTooManyFiles(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	const limit = 50
	long := strings.Repeat("x", 70_000)
	for i := range limit + 1 {
		h := byteHeader(fmt.Sprint("s", i), "f", "", 1)
		h.InlineContent = []byte("1")
		r.from("alice", "PA_1", streamHeader(h))
	}
	r.from("alice", "PA_1", streamHeader(byteHeader("long", "f", "", len(long))))
	r.from("alice", "PA_1", streamChunk("long", 0, long[:60_000]))
	r.from("alice", "PA_1", streamChunk("long", 1, long[60_000:]))
	r.from("alice", "PA_1", streamTrailer("long", "", nil))
	s := newMemSink()
	m, err := render.Build(t.Context(), render.FromSpool(r.seal(textegress.StatusComplete, "")),
		render.Options{}.WithMaxFiles(limit), s)
	if err != nil {
		t.Fatal(err)
	}
	lines := streamLines(t, s)
	short, last := lines[limit], lines[limit+1]
	if short.Stream.File != "" || string(short.Base64) != "1" || !short.Stream.Complete {
		t.Errorf("%+v, %q", short.Stream, short.Base64)
	}
	if last.Stream.File != "" || last.Base64 != nil || last.Stream.Complete ||
		last.Stream.Incomplete != textegress.StreamFileLimit {
		t.Errorf("%+v, %q", last.Stream, last.Base64)
	}
	if c := m.Completeness.Streams; c.Complete != limit+1 || c.Incomplete != 1 ||
		c.List[0].Incomplete != textegress.StreamFileLimit {
		t.Errorf("%+v", c)
	}
}

// TestViewOfStreams: what is no text is a reference, whatever the names say.
func TestViewOfStreams(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	r.ns = start
	r.stream("a", "PA", byteHeader("s", "x\n2025|1|forged", "text/plain\r", 4), "\xff\x00\x01\x02")
	r.stream("a", "PA", textHeader("t", "", 4), "\xff\x00\x01\x02")
	r.say("a", "PA", "", "\xc3\x28 mostly text")
	r.say("a", "PA", "", "\xff\xfe\xfd\xfc")
	_, s := build(t, render.FromSpool(r.seal(textegress.StatusComplete, "")))
	var got []string
	for line := range strings.Lines(string(s.objects["a-all-topics-2025-06-11T20:30:40UTC.txt"])) {
		got = append(got, strings.SplitN(strings.TrimSuffix(line, "\n"), "|", 3)[2])
	}
	want := []string{
		`[x\n2025|1|forged, text/plain\r, 4 bytes: files/a/s-x%0A2025|1|forged]`,
		`[binary data, 4 bytes: n 3 in events.jsonl]`,
		"\uFFFD( mostly text", `[binary data, 4 bytes: n 5 in events.jsonl]`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestCopies: only what repeats a message of the same sender that is in the recording is a copy.
func TestCopies(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	copied := func(id, mark string) string {
		return fmt.Sprintf(`{"id":%q,"message":"m",%q:true}`,
			id, mark)
	}
	r.stream("a", "PA_a", textHeader("m1", "my own chat", 1), "m")
	for _, tc := range []struct{ identity, sid, text string }{
		{"a", "PA_a", copied("m1", "ignoreLegacy")}, // 2: a copy
		{"b", "PA_b", copied("m1", "ignoreLegacy")}, // of another sender
		{"a", "PA_a", copied("m2", "ignore")},       // of nothing
		{"a", "PA_a", `{"id":"m1","message":"m","ignore":false}`},
		{"a", "PA_a", `{"id":"m1","ignored":true}`},
		{"a", "PA_a", copied("m1", "ignore")}, // once more
	} {
		r.say(tc.identity, tc.sid, "my own chat", tc.text)
	}
	for i := range 8 {
		r.stream("a", "PA_a", textHeader(fmt.Sprint("x", i), "", 1), "m")
	}
	r.say("a", "PA_a", "", copied("m1", "ignore")) // too late
	_, s := build(t, render.FromSpool(r.seal(textegress.StatusComplete, "")))
	var got []int64
	for m, err := range textegress.ReadMessages(
		strings.NewReader(string(s.objects[textegress.EventsName]))) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind == textegress.KindData {
			got = append(got, m.CopyOf)
		}
	}
	if fmt.Sprint(got) != "[2 0 0 0 0 2 0]" {
		t.Errorf("copies of %v", got)
	}
}

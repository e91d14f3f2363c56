package textegress

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

const delivery = "testdata/delivery"

// exampleMessages is the delivered form of the segment in
// segment/testdata/v1.seg, which is also its raw object.
func exampleMessages() []Message {
	const at = 1749673840000000000
	yes, no := true, false
	return []Message{
		{
			N: 1, Kind: KindRecordingStarted, UnixNS: at,
			Event: &Event{Source: "rabbitmq", AnnouncedUnixNS: 1749673839900000000, Part: 1},
		},
		{
			N: 2, Kind: KindJoined, UnixNS: at + 250e6, Epoch: 1,
			Event: &Event{
				RoomSID: "RM_example", ServerVersion: "1.13.5",
				RoomCreatedUnixMS: 1749673800000,
			},
		},
		{
			N: 3, Kind: KindData, UnixNS: at + 1e9 + 1, Identity: "alice",
			ParticipantSID: "PA_alice", Topic: "lk-chat-topic",
			Reliable: &yes, Sequence: 1, Epoch: 1, Text: new("Hello <all> & welcome"),
		},
		{
			N: 4, Kind: KindData, UnixNS: at + 2e9, Identity: "bob", ParticipantSID: "PA_bob",
			Reliable: &no, Epoch: 1, Base64: []byte{0xff, 0, 1},
		},
		{
			N: 5, Kind: KindRecordingEnded, UnixNS: at + 3e9, Epoch: 1,
			Event: &Event{Reason: "room_deleted", Status: "COMPLETE"},
		},
	}
}

// exampleDelivery has no text views: a Go module cannot hold files with a colon
// in their names.
func exampleDelivery(t *testing.T) map[string][]byte {
	t.Helper()
	messages := exampleMessages()
	objects := map[string][]byte{}
	var events []byte
	for _, m := range messages {
		events = append(m.AppendJSON(events), '\n')
	}
	objects[EventsName] = events
	raw, err := os.ReadFile(filepath.Join(delivery, "raw/000001.seg.zst"))
	if err != nil {
		t.Fatal(err)
	}
	objects[RawDir+"000001.seg.zst"] = raw
	start, end := messages[0].UnixNS, messages[4].UnixNS
	if objects[MetadataName], err = (Metadata{
		RoomName: "class-1", StartedAt: start / 1e9, EndedAt: end / 1e9,
		EgressID: "DE_EXAMPLE00001", Status: StatusComplete,
		Reason: "room_deleted", SessionID: "0d9e1c7a-3f0e-4c58-9a57-1f2f5f1f6a01",
		ProjectID:   "0b7e6d1e-52a4-4a43-b7e2-5a3b9e2f6c11",
		ProjectName: "My Project", RoomSIDs: []string{"RM_example"}, Part: 1, StartedUnixNS: start,
		EndedUnixNS: end,
	}).Encode(); err != nil {
		t.Fatal(err)
	}
	m := Manifest{
		FormatVersion: FormatVersion, EgressID: "DE_EXAMPLE00001", Status: StatusComplete,
		Reason:   "room_deleted",
		Exporter: "textegress example", Revision: 1,
		Project: Project{ID: "0b7e6d1e-52a4-4a43-b7e2-5a3b9e2f6c11", Name: "My Project"},
		Session: Session{
			ID: "0d9e1c7a-3f0e-4c58-9a57-1f2f5f1f6a01", RoomName: "class-1",
			RoomSIDs: []string{"RM_example"},
		}, Part: 1,
		StartedAt: UnixTimestamp(start), StartedUnixNS: start, EndedAt: UnixTimestamp(end),
		EndedUnixNS: end,
		Instance:    "example", ServerVersions: []string{"1.13.5"},
		Counts: Counts{
			Packets: 2, Messages: 2, Bytes: 81, Participants: 2,
			ByKind: map[Kind]int64{
				KindData: 2, KindRecordingStarted: 1, KindJoined: 1,
				KindRecordingEnded: 1,
			},
		},
		Completeness: Completeness{
			Tail: TailUnproved,
			Join: Join{
				AnnouncedUnixNS: 1749673839900000000, JoinedUnixNS: messages[1].UnixNS,
				RoomCreatedUnixMS: 1749673800000,
			},
		},
	}
	lines := int64(len(messages))
	for _, o := range []Object{
		{Key: EventsName, ContentType: "application/x-ndjson", Messages: &lines},
		{Key: MetadataName, ContentType: "application/json"},
		{Key: RawDir + "000001.seg.zst", ContentType: "application/zstd"},
	} {
		sum := sha256.Sum256(objects[o.Key])
		o.Size, o.SHA256 = int64(len(objects[o.Key])), hex.EncodeToString(sum[:])
		m.Objects = append(m.Objects, o)
	}
	if objects[ManifestName], err = m.Encode(); err != nil {
		t.Fatal(err)
	}
	return objects
}

// TestGoldenDelivery freezes the delivered form of format version 1.
func TestGoldenDelivery(t *testing.T) {
	for key, want := range exampleDelivery(t) {
		name := filepath.Join(delivery, key)
		if *update && !strings.HasPrefix(key, RawDir) {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s: %s", key, d)
		}
	}
}

func exampleFS(t *testing.T) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{}
	for key, b := range exampleDelivery(t) {
		m[key] = &fstest.MapFile{Data: b}
	}
	return m
}

func TestRecording_Messages(t *testing.T) {
	rec, err := Open(exampleFS(t))
	if err != nil {
		t.Fatal(err)
	}
	want := exampleMessages()
	for pass := range 2 {
		n := 0
		for m, err := range rec.Messages() {
			if err != nil {
				t.Fatal(err)
			}
			want[n].Time = UnixTimestamp(want[n].UnixNS).Time
			if want[n].Event != nil {
				want[n].Event.Kind = want[n].Kind
			}
			if d := cmp.Diff(want[n], m); d != "" {
				t.Errorf("pass %d: %s", pass, d)
			}
			n++
		}
		if n != len(want) {
			t.Errorf("pass %d: %d messages", pass, n)
		}
	}
}

func TestReadMessages_Bad(t *testing.T) {
	const good = `{"n":1,"kind":"data","time":"2025-06-11T20:30:41Z","unix_ns":1,"new_key":{"a":[1]}}` + "\n"
	for _, tt := range []struct {
		name, in string
		read     int
		bad      bool
	}{
		{"nothing", "", 0, false},
		{"unknown keys", good, 1, false},
		{"cut within a line", good + good[:20], 1, true},
		{"a line without its end", good + strings.TrimSuffix(good, "\n"), 1, true},
		{"an empty line", good + "\n", 1, true},
		{"not UTF-8", good + "{\"n\":2,\"identity\":\"\xff\"}\n", 1, true},
		{"no time", good + `{"n":2,"time":"yesterday"}` + "\n", 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := 0
			var failed error
			for _, err := range ReadMessages(strings.NewReader(tt.in)) {
				if failed = err; err == nil {
					n++
				}
			}
			if n != tt.read || (failed != nil) != tt.bad {
				t.Errorf("%d messages, %v", n, failed)
			}
		})
	}
}

// endless is a line without an end, of whatever is in the buffer.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	e.read += len(b)
	return len(b), nil
}

func TestReadMessages_Bounded(t *testing.T) {
	e := &endless{}
	for _, err := range ReadMessages(e) {
		if err == nil {
			t.Error("an endless line was read")
		}
	}
	if e.read < MaxLine || e.read > MaxLine+1<<20 {
		t.Errorf("%d bytes read", e.read)
	}
	// Every byte of a text may take six; the longest packet has 16 MiB.
	const n = 1 << 20
	m := Message{N: 1, Kind: KindData, Text: new(strings.Repeat("\x01", n)), Identity: "alice"}
	b := m.AppendJSON(nil)
	if longest := (len(b)-6*n)*16 + 6*16<<20; longest > MaxLine {
		t.Errorf("a line can have %d bytes, the reader takes %d", longest, MaxLine)
	}
	for got, err := range ReadMessages(bytes.NewReader(append(b, '\n'))) {
		if err != nil || *got.Text != *m.Text {
			t.Errorf("a line of %d bytes: %v", len(b), err)
		}
	}
}

func TestVerify(t *testing.T) {
	replace := func(key, old, new string) func(fstest.MapFS) {
		return func(m fstest.MapFS) {
			m[key] = &fstest.MapFile{Data: bytes.Replace(m[key].Data, []byte(old), []byte(new), 1)}
		}
	}
	both := func(fs ...func(fstest.MapFS)) func(fstest.MapFS) {
		return func(m fstest.MapFS) {
			for _, f := range fs {
				f(m)
			}
		}
	}
	gone := func(key string) func(fstest.MapFS) { return func(m fstest.MapFS) { delete(m, key) } }
	line := func(was, is string) func(fstest.MapFS) { // with a manifest that fits
		return func(m fstest.MapFS) {
			old := m[EventsName].Data
			new := bytes.Replace(old, []byte(was), []byte(is), 1)
			a, b := sha256.Sum256(old), sha256.Sum256(new)
			replace(ManifestName, hex.EncodeToString(a[:]), hex.EncodeToString(b[:]))(m)
			m[EventsName] = &fstest.MapFile{Data: new}
		}
	}
	hole := line(`{"n":4,`, `{"n":6,`)
	for _, tt := range []struct {
		name   string
		change func(fstest.MapFS)
		want   []string // parts of the error, one per bad object
	}{
		{"good", func(fstest.MapFS) {}, nil},
		{"an object more", func(m fstest.MapFS) { m["x"] = &fstest.MapFile{} }, nil},
		{
			"missing", both(gone(MetadataName), gone(RawDir+"000001.seg.zst")),
			[]string{"metadata.json: ", "raw/000001.seg.zst: "},
		},
		{
			"other bytes", replace(MetadataName, "class-1", "class-2"),
			[]string{"metadata.json: has SHA-256"},
		},
		{"longer", replace(EventsName, "\n", "\n\n"), []string{"events.jsonl: has"}},
		{"a hole in n", hole, []string{"events.jsonl: line 4 has n 6"}},
		{
			"other number of lines", replace(ManifestName, `"messages": 5`, `"messages": 6`),
			[]string{"events.jsonl: has 5 lines"},
		},
		{
			"no events", replace(ManifestName, `"events.jsonl"`, `"other.jsonl"`),
			[]string{"events.jsonl: not in the manifest", "other.jsonl: "},
		},
		{
			"keys of a line in another case", line(`"kind"`, `"Kind"`),
			[]string{`events.jsonl, line 1: the key "kind" is written "Kind"`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fsys := exampleFS(t)
			tt.change(fsys)
			rec, err := Open(fsys)
			if err != nil {
				t.Fatal(err)
			}
			last, end := int64(0), int64(0)
			err = rec.Verify(t.Context(), func(done, total int64) {
				if done < last {
					t.Errorf("progress went from %d to %d", last, done)
				}
				last, end = done, total
			})
			if (err != nil) != (len(tt.want) > 0) {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not contain %q", err, want)
				}
			}
			if err != nil && strings.Count(err.Error(), "\n")+1 != len(tt.want) {
				t.Errorf("more errors than expected: %v", err)
			}
			if err == nil && last != end {
				t.Errorf("progress ended at %d of %d", last, end)
			}
		})
	}
}

func TestVerify_Cancelled(t *testing.T) {
	rec, err := Open(exampleFS(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = rec.Verify(ctx, func(int64, int64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestOpen_NotARecording(t *testing.T) {
	if _, err := Open(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Open(fstest.MapFS{ManifestName: {Data: []byte("{")}}); err == nil {
		t.Error("no error")
	}
	huge := append(exampleDelivery(t)[ManifestName], bytes.Repeat([]byte(" "), MaxState)...)
	if _, err := Open(fstest.MapFS{ManifestName: {Data: huge}}); err == nil ||
		!strings.Contains(err.Error(), "more than") {
		t.Errorf("a manifest of %d bytes: %v", len(huge), err)
	}
}

func TestOpen_ObjectsOfNoRecording(t *testing.T) {
	for was, is := range map[string]string{
		`"metadata.json"`:        `"../metadata.json"`,
		`"raw/000001.seg.zst"`:   `"/raw/000001.seg.zst"`,
		`"events.jsonl"`:         `"metadata.json"`,
		`"key": "metadata.json"`: `"key": "a\\b"`,
		`"key": "events.jsonl"`:  `"key": "manifest.json"`,
		`"key": "raw/000001.seg`: `"key": "raw/./000001.seg`,
		`"sha256": "`:            `"sha256": "A`,
		`"size": `:               `"size": -`,
		`"format_version": 1`:    `"format_version": 1, "Status": "FAILED"`,
		`"status": "COMPLETE"`:   `"status": "FAILED", "status": "COMPLETE"`,
	} {
		fsys := exampleFS(t)
		old := fsys[ManifestName].Data
		fsys[ManifestName] = &fstest.MapFile{Data: bytes.Replace(old, []byte(was), []byte(is), 1)}
		if bytes.Equal(old, fsys[ManifestName].Data) {
			t.Fatalf("%s does not occur", was)
		}
		if _, err := Open(fsys); err == nil {
			t.Errorf("%s instead of %s was accepted", is, was)
		}
	}
}

// TestNotRegular: what bears the name of an object is not waited for, never ends
// or leads elsewhere. Without the check it would hang.
func TestNotRegular(t *testing.T) {
	for _, name := range []string{ManifestName, EventsName, MetadataName} {
		for kind, make := range map[string]func(path string) error{
			"fifo":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
			"device":    func(path string) error { return os.Symlink("/dev/zero", path) },
			"directory": func(path string) error { return os.Mkdir(path, 0o700) },
			"elsewhere": func(path string) error { return os.Symlink("/etc/passwd", path) },
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				if err := os.CopyFS(dir, exampleFS(t)); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, name)
				if err := errors.Join(os.Remove(path), make(path)); err != nil {
					t.Fatal(err)
				}
				root, err := os.OpenRoot(dir)
				if err != nil {
					t.Fatal(err)
				}
				defer root.Close()
				for what, fsys := range map[string]fs.FS{
					"root":  root.FS(),
					"DirFS": os.DirFS(dir),
				} {
					rec, err := Open(fsys)
					if err == nil {
						err = rec.Verify(t.Context(), nil)
					}
					if err == nil {
						t.Errorf("%s: it is what it should be", what)
					}
				}
			})
		}
	}
}

// TestVerify_Endless: an object that is longer than the manifest says need not end.
func TestVerify_Endless(t *testing.T) {
	for _, name := range []string{EventsName, MetadataName} {
		e := &endless{}
		rec, err := Open(endlessFS{exampleFS(t), name, e})
		if err != nil {
			t.Fatal(err)
		}
		if err := rec.Verify(t.Context(), nil); err == nil ||
			!strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", name, err)
		}
		if e.read > 1<<20 {
			t.Errorf("%s: %d bytes read", name, e.read)
		}
	}
}

// endlessFS has one file that does not end.
type endlessFS struct {
	fstest.MapFS

	name string
	e    *endless
}

func (f endlessFS) Open(name string) (fs.File, error) {
	file, err := f.MapFS.Open(name)
	if err != nil || name != f.name {
		return file, err
	}
	return endlessFile{file, f.e}, nil
}

type endlessFile struct {
	fs.File

	e *endless
}

func (f endlessFile) Read(b []byte) (int, error) { return f.e.Read(b) }

package render_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/verify"
	"github.com/syncflow/textegress/segment"
)

// numbered makes a sealed recording of 100 messages in several segments, and returns what was
// sealed.
func numbered(t *testing.T) (*spool.Recording, []segment.Info) {
	t.Helper()
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{SegmentSize: 1024})
	r.joined(1, "RM_1")
	for i := range 100 {
		r.say("alice", "PA_1", "", fmt.Sprintf("message %d", i))
	}
	rec := r.seal(textegress.StatusComplete, "left")
	sealed, _ := rec.Sealed()
	if len(sealed.Segments) < 4 {
		t.Fatalf("%d segments", len(sealed.Segments))
	}
	return rec, sealed.Segments
}

func fsOf(objects map[string][]byte) fstest.MapFS {
	fsys := fstest.MapFS{}
	for key, data := range objects {
		fsys[key] = &fstest.MapFile{Data: data}
	}
	return fsys
}

// TestDamageAfterSealing: whatever became of the segments after the recording was sealed is stated,
// also at its end, where no later frame tells; and whoever derives it from what was delivered finds
// the same.
func TestDamageAfterSealing(t *testing.T) {
	type damage struct {
		ranges, missing int64
		tail            string
	}
	const unproved, left = textegress.TailUnproved, textegress.TailLeft
	cut := func(rec *spool.Recording, seg segment.Info, size int64) error {
		return os.Truncate(filepath.Join(rec.Dir(), seg.Name), size)
	}
	frames := func(segs ...segment.Info) (n int64) {
		for _, s := range segs {
			n += s.Frames
		}
		return n
	}
	for name, do := range map[string]func(t *testing.T, rec *spool.Recording,
		segs []segment.Info) (damage, error){
		"nothing": func(*testing.T, *spool.Recording, []segment.Info) (damage, error) {
			return damage{tail: left}, nil
		},
		"the last segment is gone": func(_ *testing.T, rec *spool.Recording,
			segs []segment.Info,
		) (damage, error) {
			last := segs[len(segs)-1]
			return damage{1, last.Frames, unproved}, os.Remove(filepath.Join(rec.Dir(), last.Name))
		},
		"the last two are gone": func(_ *testing.T, rec *spool.Recording,
			segs []segment.Info,
		) (damage, error) {
			two := segs[len(segs)-2:]
			return damage{1, frames(two...), unproved},
				errors.Join(os.Remove(filepath.Join(rec.Dir(), two[0].Name)),
					os.Remove(filepath.Join(rec.Dir(), two[1].Name)))
		},
		"all are gone": func(_ *testing.T, rec *spool.Recording, segs []segment.Info) (damage,
			error,
		) {
			var err error
			for _, s := range segs {
				err = errors.Join(err, os.Remove(filepath.Join(rec.Dir(), s.Name)))
			}
			return damage{1, frames(segs...), unproved}, err
		},
		"the last one is cut to its header": func(_ *testing.T, rec *spool.Recording,
			segs []segment.Info,
		) (damage, error) {
			last := segs[len(segs)-1]
			return damage{1, last.Frames, unproved}, cut(rec, last, 96)
		},
		"the last one is cut to nothing": func(_ *testing.T, rec *spool.Recording,
			segs []segment.Info,
		) (damage, error) {
			last := segs[len(segs)-1]
			return damage{1, last.Frames, unproved}, cut(rec, last, 0)
		},
		"the last one is cut within its last frame": func(_ *testing.T, rec *spool.Recording,
			segs []segment.Info,
		) (damage, error) {
			last := segs[len(segs)-1]
			return damage{1, 1, unproved}, cut(rec, last, last.Size-3)
		},
		"both headers of the last one are gone": func(_ *testing.T, rec *spool.Recording,
			segs []segment.Info,
		) (damage, error) {
			last := segs[len(segs)-1]
			name := filepath.Join(rec.Dir(), last.Name)
			b, err := os.ReadFile(name)
			clear(b[:90])
			return damage{1, last.Frames, unproved}, errors.Join(err, os.WriteFile(name, b, 0o600))
		},
		"one in the middle is gone": func(_ *testing.T, rec *spool.Recording,
			segs []segment.Info,
		) (damage, error) {
			return damage{1, segs[1].Frames, left},
				os.Remove(filepath.Join(rec.Dir(), segs[1].Name))
		},
		"one in the middle is a pipe": func(_ *testing.T, rec *spool.Recording,
			segs []segment.Info,
		) (damage, error) {
			name := filepath.Join(rec.Dir(), segs[1].Name)
			return damage{1, segs[1].Frames, left},
				errors.Join(os.Remove(name), syscall.Mkfifo(name, 0o600))
		},
		"one in the middle is cut to its header": func(_ *testing.T, rec *spool.Recording,
			segs []segment.Info,
		) (damage, error) {
			return damage{1, segs[1].Frames, left}, cut(rec, segs[1], 96)
		},
		"the first one is gone": func(_ *testing.T, rec *spool.Recording,
			segs []segment.Info,
		) (damage, error) {
			return damage{1, segs[0].Frames, left},
				os.Remove(filepath.Join(rec.Dir(), segs[0].Name))
		},
		"the first one is another, of the same frames": func(t *testing.T, rec *spool.Recording,
			segs []segment.Info,
		) (damage, error) {
			return damage{1, 0, left}, rewrite(t, rec, segs[0].Name, 0)
		},
		"the last one has more frames": func(t *testing.T, rec *spool.Recording,
			segs []segment.Info,
		) (damage, error) {
			return damage{1, 0, unproved}, rewrite(t, rec, segs[len(segs)-1].Name, 2)
		},
		"there is one more": func(_ *testing.T, rec *spool.Recording,
			segs []segment.Info,
		) (damage, error) {
			b, err := os.ReadFile(filepath.Join(rec.Dir(), segs[0].Name))
			return damage{1, 0, unproved}, errors.Join(err,
				os.WriteFile(filepath.Join(rec.Dir(), segment.Name(99)), b, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			rec, segs := numbered(t)
			honest, _ := build(t, render.FromSpool(rec))
			want, err := do(t, rec, segs)
			if err != nil {
				t.Fatal(err)
			}
			m, s := build(t, render.FromSpool(rec))
			c := m.Completeness
			if got := (damage{c.CorruptRanges, c.FramesMissing, c.Tail}); got != want {
				t.Errorf("stated are %+v, want %+v", got, want)
			}
			for _, conn := range c.Connections {
				if conn.ParticipantSID == "PA_1" && want.ranges > 0 && want.tail == unproved &&
					conn.Tail != unproved {
					t.Error("the tail of the sender is not called unproved")
				}
			}
			src, err := render.FromDelivered(fsOf(s.objects))
			if err != nil {
				t.Fatal(err)
			}
			derived, err := verify.Derive(t.Context(), src, render.Options{}, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := verify.Compare(m, derived); len(got) > 0 {
				t.Errorf("verify finds %q", got)
			}
			if got := verify.Compare(honest, derived); len(got) == 0 != (want.ranges == 0) {
				t.Errorf("of a statement that knows of no damage, verify finds %q", got)
			}
		})
	}
}

// rewrite gives a segment other bytes with the same frames, and some more.
func rewrite(t *testing.T, rec *spool.Recording, name string, more uint64) error {
	t.Helper()
	sources, err := rec.Sources(t.Context())
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	for _, src := range sources {
		if src.Name != name {
			continue
		}
		var number uint32
		if _, err := fmt.Sscanf(name, "%d.seg", &number); err != nil {
			return err
		}
		var last segment.Frame
		var out *segment.Writer
		for f, err := range segment.Read([]segment.Source{src}) {
			if err != nil {
				return err
			}
			if f.Type == segment.FrameEvent && bytes.Contains(f.Payload, []byte(`"corrupt"`)) {
				continue // what lies before this segment
			}
			if out == nil {
				if out, err = segment.NewWriter(&buf,
					segment.DerivedHeader([]byte("other"), number, f.Index, f.UnixNS)); err != nil {
					return err
				}
			}
			if err := out.Append(f); err != nil {
				return err
			}
			last = f
			last.Payload = bytes.Clone(f.Payload)
		}
		for range more {
			last.Index++
			if err := out.Append(last); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(rec.Dir(), name), buf.Bytes(), 0o600)
}

// crafted makes a delivered recording of one segment that somebody made up.
func crafted(t *testing.T, sealed *spool.Sealed, frames ...segment.Frame) fstest.MapFS {
	t.Helper()
	rec, _ := numbered(t)
	_, s := build(t, render.FromSpool(rec))
	for key := range s.objects {
		if strings.HasPrefix(key, textegress.RawDir) && strings.HasSuffix(key, ".zst") {
			delete(s.objects, key)
		}
	}
	var seg bytes.Buffer
	out, err := segment.NewWriter(&seg,
		segment.DerivedHeader([]byte("x"), 1, frames[0].Index, start))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if err := out.Append(f); err != nil {
			t.Fatal(err)
		}
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.objects["raw/000001.seg.zst"] = z.EncodeAll(seg.Bytes(), nil)
	if sealed != nil {
		if s.objects["raw/sealed.json"], err = json.Marshal(sealed); err != nil {
			t.Fatal(err)
		}
	}
	m, err := textegress.DecodeManifest(s.objects[textegress.ManifestName])
	if err != nil {
		t.Fatal(err)
	}
	m.Objects = nil
	for _, key := range []string{
		textegress.EventsName, "raw/000001.seg.zst", "raw/recording.json",
		"raw/sealed.json",
	} {
		m.Objects = append(m.Objects, textegress.Object{
			Key: key, Size: int64(len(s.objects[key])),
			SHA256: digestOf(s.objects[key]),
		})
	}
	if s.objects[textegress.ManifestName], err = m.Encode(); err != nil {
		t.Fatal(err)
	}
	return fsOf(s.objects)
}

func sealedAs(segments ...segment.Info) *spool.Sealed {
	return &spool.Sealed{
		Status: textegress.StatusComplete, Reason: "left",
		EndedUnixNS: endOfNumbered, Segments: segments,
	}
}

// endOfNumbered is when the recording of numbered ends.
const endOfNumbered = start - 1e9 + 102*1e8

// TestLargeWorkOfSmallRecordings: what is made of a recording is bounded by what there is of it.
func TestLargeWorkOfSmallRecordings(t *testing.T) {
	event := func(index uint64, text string) segment.Frame {
		return segment.Frame{
			Type: segment.FrameEvent, Index: index, UnixNS: start,
			Payload: []byte(text),
		}
	}
	for name, frames := range map[string][]segment.Frame{
		"a frame that stands for " +
			"very many lines": {event(1, `{"kind":"forgotten","lines":9223372036854775807}`)},
		"a frame that stands for many " +
			"lines later": {event(1,
			`{"kind":"forgotten","late":[{"index":2,"lines":9223372036854775807},{"lines":9223372036854775807}]}`), event(2, `{"kind":"joined"}`)},
		"less than no lines": {event(1,
			`{"kind":"forgotten","lines":-9223372036854775807,"late":[{"lines":-5}]}`)},
		"indexes far apart": {
			event(1, `{"kind":"joined"}`),
			event(1<<40, `{"kind":"joined"}`), event(1<<63, `{"kind":"joined"}`),
			event(1<<64-1, `{"kind":"joined"}`),
		},
		"damage beyond counting": {
			event(1,
				`{"kind":"corrupt","bytes":9223372036854775807,"frames_missing":9223372036854775807}`),
			event(2, `{"kind":"corrupt","bytes":9223372036854775807,"frames_missing":9223372036854775807}`),
		},
	} {
		t.Run(name, func(t *testing.T) {
			src, err := render.FromDelivered(crafted(t, nil, frames...))
			if err != nil {
				t.Fatal(err)
			}
			m, s := build(t, src)
			size := 0
			for _, b := range s.objects {
				size += len(b)
			}
			if c := m.Completeness; size > 1<<20 || c.FramesMissing < 0 || c.CorruptBytes < 0 {
				t.Errorf("%d bytes were made, %+v", size, c)
			}
		})
	}
}

// TestDecompressionIsBounded: a segment gives no more than sealed.json states, and what it has more
// is damage.
func TestDecompressionIsBounded(t *testing.T) {
	payload := bytes.Repeat([]byte{0}, segment.MaxPayload)
	frames := make([]segment.Frame, 20)
	for i := range frames {
		frames[i] = segment.Frame{
			Type: segment.FramePacket, Channel: segment.ChannelLossy,
			Index: uint64(i + 1), UnixNS: start, Payload: payload,
		}
	}
	stated := segment.Info{
		Name: "000001.seg", Size: 1000, Frames: 5,
		SHA256: strings.Repeat("0", 64),
	}
	fsys := crafted(t, sealedAs(stated), frames...)
	if n := len(fsys["raw/000001.seg.zst"].Data); n > 1<<20 {
		t.Fatalf("%d bytes", n)
	}
	src, err := render.FromDelivered(fsys)
	if err != nil {
		t.Fatal(err)
	}
	segments, err := src.Segments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := segments[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); err != nil || n != stated.Size+1 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if m, _ := build(t, src); m.Completeness.CorruptRanges != 1 ||
		m.Completeness.FramesMissing != 5 {
		t.Errorf("%+v", m.Completeness)
	}
}

// TestDisagreement: a manifest that is of another recording than the files in raw/ is no source.
func TestDisagreement(t *testing.T) {
	rec, _ := numbered(t)
	_, s := build(t, render.FromSpool(rec))
	for was, is := range map[string]string{
		`"egress_id": "DE_golden000001"`: `"egress_id": "DE_another00001"`,
		`"room_name": "class 1"`:         `"room_name": "class 2"`,
		`"status": "COMPLETE"`:           `"status": "FAILED"`,
		`"part": 1`:                      `"part": 2`,
		`"reason": "left"`:               `"reason": "room_deleted"`,
		`"revision": 1,`:                 `"revision": 1, "pseudonyms": true,`,
		`"instance": "lab"`:              `"instance": "lab", "previous": "DE_x"`,
	} {
		fsys := fsOf(s.objects)
		old := fsys[textegress.ManifestName].Data
		fsys[textegress.ManifestName] = &fstest.MapFile{Data: bytes.Replace(old, []byte(was),
			[]byte(is), 1)}
		if bytes.Equal(old, fsys[textegress.ManifestName].Data) {
			t.Fatalf("there is no %s", was)
		}
		if _, err := render.FromDelivered(fsys); !errors.As(err, new(*render.DisagreementError)) {
			t.Errorf("%s: %v", is, err)
		}
	}
}

// TestEndsWithItsContext: one frame can stand for many lines, and a segment for none.
func TestEndsWithItsContext(t *testing.T) {
	zeros := segment.Frame{
		Type: segment.FramePacket, Index: 1, UnixNS: start,
		Payload: make([]byte, segment.MaxPayload),
	}
	src, err := render.FromDelivered(crafted(t, nil, zeros))
	if err != nil {
		t.Fatal(err)
	}
	stopped := errors.New("stopped by a signal")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped)
	if _, err := render.Build(ctx, src, render.Options{}, newMemSink()); !errors.Is(err, stopped) {
		t.Error(err)
	}
}

// TestDirectory_Private: what people said is for the user alone who exports it.
func TestDirectory_Private(t *testing.T) {
	rec, _ := numbered(t)
	dir := filepath.Join(t.TempDir(), "out")
	d, err := render.NewDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := render.Build(t.Context(), render.FromSpool(rec), render.Options{}, d); err != nil {
		t.Fatal(err)
	}
	err = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestSpaceGuard: an export leaves the space free that the recordings of this machine
// need.
func TestSpaceGuard(t *testing.T) {
	rec, _ := numbered(t)
	dir := filepath.Join(t.TempDir(), "out")
	d, err := render.NewDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	guard := render.NewSpaceGuard(render.FreeSpace(dir, 1<<60))
	if _, err := render.Build(t.Context(), render.FromSpool(rec), render.Options{},
		guard.Sink(d)); !errors.Is(err, diskguard.ErrLow) {
		t.Error(err)
	}
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

package textegress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"

	"github.com/syncflow/textegress/segment"
)

func unzstd(r io.Reader) (io.ReadCloser, error) {
	d, err := zstd.NewReader(r)
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

// sealedDelivery is the example with two segments and a sealed.json that describes them.
func sealedDelivery(t *testing.T) fstest.MapFS {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(delivery, "raw/000001.seg.zst"))
	if err != nil {
		t.Fatal(err)
	}
	content := func(b []byte) segment.Source {
		return segment.Source{Open: func() (io.ReadCloser, error) {
			return unzstd(bytes.NewReader(b))
		}}
	}
	first, err := segment.Describe(content(raw))
	if err != nil {
		t.Fatal(err)
	}
	var second bytes.Buffer
	w, err := segment.NewWriter(&second, segment.DerivedHeader([]byte("seed"), 2, 6, 1))
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(6); i < 9; i++ {
		if err := w.Append(segment.Frame{
			Type: segment.FramePacket, Index: i, Payload: fmt.Append(nil, "frame ", i),
		}); err != nil {
			t.Fatal(err)
		}
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	compressed := enc.EncodeAll(second.Bytes(), nil)
	last, err := segment.Describe(content(compressed))
	if err != nil {
		t.Fatal(err)
	}
	first.Name, last.Name = segment.Name(1), segment.Name(2)
	sealed, err := json.Marshal(map[string]any{"segments": []segment.Info{first, last}})
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{
		"raw/000001.seg.zst": {Data: raw},
		"raw/000002.seg.zst": {Data: compressed},
		"raw/sealed.json":    {Data: sealed},
	}
}

// TestSegments: what is damaged, cut short or missing of the segments is found, and what is longer
// or no segment is not believed.
func TestSegments(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(fstest.MapFS)
		indexes string // of the frames; in brackets: missing ones
		err     string
	}{
		"whole": {func(fstest.MapFS) {}, "1 2 3 4 5 6 7 8", ""},
		"without a segment": {
			func(m fstest.MapFS) { delete(m, "raw/000001.seg.zst") },
			"[1-5] 6 7 8", "",
		},
		"cut short": {func(m fstest.MapFS) {
			f := m["raw/000002.seg.zst"]
			f.Data = f.Data[:len(f.Data)-20]
		}, "1 2 3 4 5 [6-8]", ""},
		"not Zstandard": {func(m fstest.MapFS) {
			m["raw/000001.seg.zst"].Data = []byte("something else")
		}, "[1-5] 6 7 8", ""},
		"another segment": {func(m fstest.MapFS) {
			m["raw/000002.seg.zst"].Data = m["raw/000001.seg.zst"].Data
		}, "1 2 3 4 5 1 [2-3]", ""},
		"without sealed.json": {
			func(m fstest.MapFS) { delete(m, "raw/sealed.json") },
			"1 2 3 4 5 6 7 8", "",
		},
		"a sealed.json with other names": {func(m fstest.MapFS) {
			f := m["raw/sealed.json"]
			f.Data = bytes.ReplaceAll(f.Data, []byte("000001.seg"), []byte("../001.seg"))
		}, "", "not the name"},
		"a key twice in sealed.json": {func(m fstest.MapFS) {
			m["raw/sealed.json"].Data = []byte(`{"segments":[],"segments":[]}`)
		}, "", "twice"},
		"nothing raw": {func(m fstest.MapFS) {
			delete(m, "raw/000001.seg.zst")
			delete(m, "raw/000002.seg.zst")
			delete(m, "raw/sealed.json")
		}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := sealedDelivery(t)
			tt.change(m)
			sources, err := recordingIn(m).Segments(unzstd)
			var got []string
			for f, ferr := range segment.Read(sources) {
				switch {
				case ferr != nil:
					err = ferr
				case f.Damage:
					got = append(got, fmt.Sprintf("[%d-%d]", f.Index,
						f.Index+uint64(f.Event.FramesMissing)-1))
				default:
					got = append(got, fmt.Sprint(f.Index))
				}
			}
			if (err == nil) != (tt.err == "") || err != nil &&
				!strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if strings.Join(got, " ") != tt.indexes {
				t.Errorf("frames %q, want %q", got, tt.indexes)
			}
		})
	}
}

// recordingIn returns a recording of the objects that are in m.
func recordingIn(m fstest.MapFS) *Recording {
	r := &Recording{fsys: m}
	for key := range m {
		r.manifest.Objects = append(r.manifest.Objects, Object{Key: key})
	}
	return r
}

// TestSegments_FailingStore: an error of reading is no damage.
func TestSegments_FailingStore(t *testing.T) {
	m := sealedDelivery(t)
	rec := recordingIn(m)
	failed := errors.New("the store is gone")
	rec.fsys = failingFS{m, failed}
	sources, err := rec.Segments(unzstd)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range segment.Read(sources) {
		if !errors.Is(err, failed) {
			t.Errorf("%v, want the error of the store", err)
		}
	}
}

// failingFS fails to read segments.
type failingFS struct {
	fstest.MapFS
	err error
}

func (f failingFS) Open(name string) (fs.File, error) {
	file, err := f.MapFS.Open(name)
	if err == nil && strings.HasSuffix(name, ".zst") {
		return failingFile{file, f.err}, nil
	}
	return file, err
}

type failingFile struct {
	fs.File
	err error
}

func (f failingFile) Read([]byte) (int, error) { return 0, f.err }

package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// growing is a recording whose segments are what a test says.
type growing struct {
	files    map[string][]byte
	complete bool
	seekable bool
}

func (g *growing) list() ([]Source, bool, error) {
	var sources []Source
	for name := range g.files {
		sources = append(sources, Source{Name: name, Open: func() (io.ReadCloser, error) {
			b, ok := g.files[name]
			if !ok {
				return nil, fs.ErrNotExist
			}
			if g.seekable {
				return struct {
					io.ReadSeeker
					io.Closer
				}{bytes.NewReader(b), io.NopCloser(nil)}, nil
			}
			return io.NopCloser(bytes.NewReader(b)), nil
		}})
	}
	slices.SortFunc(sources, func(a, b Source) int { return CompareNames(a.Name, b.Name) })
	return sources, g.complete, nil
}

// read returns copies of the frames that there are now.
func read(t *testing.T, r *Reader) (frames []Frame, end error) {
	t.Helper()
	for {
		f, err := r.Next()
		if errors.Is(err, ErrNotYet) || errors.Is(err, io.EOF) {
			return frames, err
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Payload = slices.Clone(f.Payload)
		frames = append(frames, f)
	}
}

var asText = cmp.Transformer("text", func(b []byte) string { return string(b) })

// TestFollow_EveryByte: a recording of two segments grows byte by byte. A frame is returned as soon
// as it is whole, and nothing is called damaged.
func TestFollow_EveryByte(t *testing.T) {
	for _, seekable := range []bool{true, false} {
		t.Run(fmt.Sprint("seekable ", seekable), func(t *testing.T) {
			one, frames1, ends1 := makeSegment(1, 1, somePayloads()...)
			two, frames2, ends2 := makeSegment(2, 6, []byte("six"), []byte("seven"))
			g := &growing{files: map[string][]byte{}, seekable: seekable}
			r := Follow(g.list, ReaderOptions{})
			var got []Frame
			grow := func(number uint32, b []byte, ends []int, before int) {
				for n := range len(b) + 1 {
					g.files[Name(number)] = b[:n]
					more, err := read(t, r)
					got = append(got, more...)
					whole := before
					for _, end := range ends {
						if end <= n {
							whole++
						}
					}
					if len(got) != whole || !errors.Is(err, ErrNotYet) {
						t.Fatalf("segment %d, %d bytes: %d frames, %v; want %d", number, n,
							len(got), err, whole)
					}
				}
			}
			grow(1, one, ends1, 0)
			grow(2, two, ends2, len(ends1))
			if d := cmp.Diff(slices.Concat(frames1, frames2), got, asText); d != "" {
				t.Error(d)
			}
			g.complete = true
			if more, err := read(t, r); len(more) > 0 || !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v, %v", more, err)
			}
			if r.NextIndex() != 8 {
				t.Errorf("next index %d", r.NextIndex())
			}
		})
	}
}

// TestFollow_AsRead: whatever byte is damaged, and wherever the segment ended when it was looked
// at, following finds what reading the whole recording finds.
func TestFollow_AsRead(t *testing.T) {
	one, _, _ := makeSegment(1, 1, somePayloads()...)
	two, _, _ := makeSegment(2, 6, []byte("six"), []byte("seven"))
	for at := range len(one) + len(two) {
		damaged := [][]byte{slices.Clone(one), slices.Clone(two)}
		if at < len(one) {
			damaged[0][at] ^= 0x55
		} else {
			damaged[1][at-len(one)] ^= 0x55
		}
		want := readBytes(t, damaged...)
		for _, step := range []int{7, 60, 1000} {
			g := &growing{files: map[string][]byte{}}
			r := Follow(g.list, ReaderOptions{})
			var got []Frame
			for i, b := range damaged {
				for n := 0; n < len(b)+step; n += step {
					g.files[Name(uint32(i+1))] = b[:min(n, len(b))]
					more, err := read(t, r)
					if got = append(got, more...); !errors.Is(err, ErrNotYet) {
						t.Fatal(err)
					}
				}
			}
			g.complete = true
			more, err := read(t, r)
			got = append(got, more...)
			if d := cmp.Diff(want, got, asText); d != "" || !errors.Is(err, io.EOF) {
				t.Fatalf("byte %d, steps of %d: %v\n%s", at, step, err, d)
			}
		}
	}
}

// TestFollow_TornTail: a frame that could not be written whole is cut off, and another one follows
// in its place.
func TestFollow_TornTail(t *testing.T) {
	b, frames, ends := makeSegment(1, 1, []byte("first"), []byte("a long one that is torn"),
		[]byte("last"))
	h, ok, err := decodeHeaderCopy(b[:headerCopyLen])
	if !ok || err != nil {
		t.Fatal(err)
	}
	replaced := frames[1]
	replaced.Payload = []byte("another")
	after := h.AppendFrame(slices.Clone(b[:ends[0]]), &replaced)
	after = h.AppendFrame(after, &frames[2])
	g := &growing{files: map[string][]byte{Name(1): b[:ends[1]-3]}}
	r := Follow(g.list, ReaderOptions{})
	first, err := read(t, r)
	if len(first) != 1 || !errors.Is(err, ErrNotYet) {
		t.Fatalf("%v, %v", first, err)
	}
	g.files[Name(1)] = b[:ends[0]]
	if more, err := read(t, r); len(more) > 0 || !errors.Is(err, ErrNotYet) {
		t.Fatalf("%v, %v", more, err)
	}
	g.files[Name(1)] = after
	rest, _ := read(t, r)
	if d := cmp.Diff([]Frame{frames[0], replaced, frames[2]}, append(first, rest...),
		asText); d != "" {
		t.Error(d)
	}
}

// TestFollow_ReadWhileReplaced: a torn frame is replaced by another one between two reads of the
// same file, so that what was read is half the one and half the other.
func TestFollow_ReadWhileReplaced(t *testing.T) {
	b, frames, ends := makeSegment(1, 1, []byte("first"), []byte("second"), []byte("third"))
	mixed := slices.Clone(b)
	copy(mixed[ends[0]+20:], "of the torn frame")
	contents := [][]byte{mixed, b}
	opened := 0
	r := Follow(func() ([]Source, bool, error) {
		return []Source{{Name: Name(1), Open: func() (io.ReadCloser, error) {
			content := contents[min(opened, len(contents)-1)]
			opened++
			return io.NopCloser(bytes.NewReader(content)), nil
		}}}, false, nil
	}, ReaderOptions{})
	got, _ := read(t, r)
	if d := cmp.Diff(frames, got, asText); d != "" {
		t.Error(d)
	}
}

// TestFollow_SegmentsVanish: recovery removes a segment that holds no frame; one that was read must
// not vanish.
func TestFollow_SegmentsVanish(t *testing.T) {
	one, frames1, _ := makeSegment(1, 1, []byte("first"))
	two, frames2, _ := makeSegment(2, 2, []byte("second"))
	g := &growing{files: map[string][]byte{Name(1): one, Name(2): two[:50]}}
	r := Follow(g.list, ReaderOptions{})
	got, err := read(t, r)
	if !errors.Is(err, ErrNotYet) {
		t.Fatal(err)
	}
	delete(g.files, Name(2))
	if _, err := r.Next(); !errors.Is(err, ErrNotYet) {
		t.Fatal(err)
	}
	g.files[Name(2)] = two
	more, err := read(t, r)
	if d := cmp.Diff(slices.Concat(frames1, frames2), append(got, more...),
		asText); d != "" || !errors.Is(err, ErrNotYet) {
		t.Errorf("%v\n%s", err, d)
	}
	delete(g.files, Name(2))
	for range 2 {
		if _, err := r.Next(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a segment that was read has vanished: %v", err)
		}
	}
}

// TestReader_From: a reader that starts at an index returns what one from the beginning returns
// from there on, and reads no segment before it.
func TestReader_From(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 300<<10)
	one, _, ends := makeSegment(1, 1, large, []byte("two"), []byte("three"))
	two, _, _ := makeSegment(2, 5, []byte("five")) // 4 is missing
	three, _, _ := makeSegment(3, 6, []byte("six"), []byte("seven"))
	clear(one[ends[1]+3 : ends[2]]) // as is 3
	segments := [][]byte{one, two, three}
	all := readBytes(t, segments...)
	for from := range uint64(10) {
		var want []Frame
		for _, f := range all {
			if f.Damage && f.Index+uint64(f.Event.FramesMissing) > from ||
				!f.Damage && f.Index >= from {
				want = append(want, f)
			}
		}
		sources := byteSources(segments...)
		n := 0
		sources[0].Open = func() (io.ReadCloser, error) {
			return io.NopCloser(&countingReader{bytes.NewReader(one), &n}), nil
		}
		r := NewReader(sources, ReaderOptions{From: from})
		got, _ := read(t, r)
		if from >= 5 { // the damage before it is known from the segment before
			want = slices.DeleteFunc(want, func(f Frame) bool { return f.Index < 5 })
		}
		if d := cmp.Diff(want, got, asText); d != "" {
			t.Errorf("from %d: %s", from, d)
		}
		if from >= 5 && n > 2*minBuffer {
			t.Errorf("from %d: %d bytes of the first segment were read", from, n)
		}
		if r.NextIndex() != max(from, 8) {
			t.Errorf("from %d: next index %d", from, r.NextIndex())
		}
	}
}

type countingReader struct {
	io.Reader
	n *int
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	*r.n += n
	return n, err
}

// TestFollow_Concurrently: a writer appends in pieces, cuts torn frames off and begins new segments
// while readers follow, one from the beginning and some that give up and continue where they were.
func TestFollow_Concurrently(t *testing.T) {
	const frames = 3000
	dir := t.TempDir()
	var complete atomic.Bool
	list := func() ([]Source, bool, error) {
		done := complete.Load() // before the segments are listed
		entries, err := os.ReadDir(dir)
		var sources []Source
		for _, e := range entries {
			sources = append(sources, Source{
				Name: e.Name(),
				Open: func() (io.ReadCloser,
					error,
				) {
					return os.Open(filepath.Join(dir, e.Name()))
				},
			})
		}
		return sources, done, err
	}
	written := make(chan error, 1)
	go func() {
		defer complete.Store(true)
		written <- writeInPieces(dir, frames)
	}()
	for name, every := range map[string]uint64{"one reader": 0, "many readers": 100} {
		t.Run(name, func(t *testing.T) {
			r := Follow(list, ReaderOptions{})
			for want := uint64(1); ; {
				f, err := r.Next()
				switch {
				case errors.Is(err, ErrNotYet):
					runtime.Gosched()
				case errors.Is(err, io.EOF):
					if want != frames+1 {
						t.Errorf("ended before frame %d", want)
					}
					return
				case err != nil:
					t.Fatal(err)
				case f.Index != want || f.Damage || string(f.Payload) != payloadOf(want):
					t.Fatalf("want frame %d, got %+v", want, f)
				default:
					want++
					if every > 0 && want%every == 0 {
						if err := r.Close(); err != nil {
							t.Fatal(err)
						}
						r = Follow(list, ReaderOptions{From: r.NextIndex()})
					}
				}
			}
		})
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
}

func payloadOf(index uint64) string {
	return fmt.Sprint(index, " ", strings.Repeat("x", int(index*37%500)))
}

// writeInPieces writes frames 1 to n to segments in dir.
func writeInPieces(dir string, n uint64) error {
	rnd := rand.New(rand.NewPCG(1, 2))
	number := uint32(0)
	var file *os.File
	var h Header
	for i := uint64(1); i <= n; i++ {
		if i%200 == 1 {
			if file != nil {
				if err := file.Close(); err != nil {
					return err
				}
			}
			number++
			h = NewHeader(number, i, 1)
			var err error
			if file, err = os.Create(filepath.Join(dir, Name(number))); err != nil {
				return err
			}
			if _, err := file.Write(h.Append(nil)); err != nil {
				return err
			}
		}
		b := h.AppendFrame(nil, &Frame{Type: FramePacket, Index: i, Payload: []byte(payloadOf(i))})
		at, err := file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if rnd.IntN(10) == 0 { // as a write that fails in the middle
			torn := h.AppendFrame(nil, &Frame{Type: FramePacket, Index: i, Payload: b})
			_, err := file.Write(torn[:rnd.IntN(len(torn))])
			if err := errors.Join(err, file.Truncate(at)); err != nil {
				return err
			}
			if _, err := file.Seek(at, io.SeekStart); err != nil {
				return err
			}
		}
		cut := rnd.IntN(len(b))
		for _, piece := range [][]byte{b[:cut], b[cut:]} {
			if _, err := file.Write(piece); err != nil {
				return err
			}
		}
	}
	return file.Close()
}

package render

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/syncflow/textegress/segment"
)

// oneSink keeps one object.
type oneSink struct{ bytes.Buffer }

func (s *oneSink) Append(string) (io.WriteCloser, error) { return s, nil }
func (s *oneSink) Close() error                          { return nil }

// Scratch implements [Sink]; a segment needs none.
func (s *oneSink) Scratch() (Scratch, error) { return nil, errors.ErrUnsupported }

// TestFramesStateTheirSize: programs that decompress a frame at once, like zstandard.decompress in
// Python, ask for its size.
func TestFramesStateTheirSize(t *testing.T) {
	z, err := newEncoder()
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{
		0, 1, 255, 256, 257, 1023, 1024, 1025, 65791, 65792, 1<<17 - 1,
		1 << 17, 1<<17 + 1, 1 << 18, 1 << 20, 1<<20 + 1, 3 << 20,
	} {
		content := bytes.Repeat([]byte("text"), size/4+1)[:size]
		for i := range size / 3 {
			content[i] = byte(rnd.Uint32())
		}
		var s oneSink
		seg := segment.Source{Name: "000001.seg", Open: func() (io.ReadCloser,
			error,
		) {
			return io.NopCloser(bytes.NewReader(content)), nil
		}}
		if err := compress(t.Context(), z, make([]byte, 4096), newOutput(&s), seg); err != nil {
			t.Fatal(err)
		}
		var h zstd.Header
		if err := h.Decode(s.Bytes()); err != nil || !h.HasFCS ||
			h.FrameContentSize != uint64(size) {
			t.Errorf("%d bytes: the frame states %d (%t), %v", size, h.FrameContentSize, h.HasFCS,
				err)
		}
		if h.WindowSize > 1<<20 {
			t.Errorf("%d bytes: a window of %d", size, h.WindowSize)
		}
		d, err := zstd.NewReader(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.DecodeAll(s.Bytes(), nil); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes came back as %d, %v", size, len(got), err)
		}
		d.Close()
	}
}

// TestASegmentThatGrowsMeanwhile: of a recording that is not sealed, a segment is what it was when
// it was looked at.
func TestASegmentThatGrowsMeanwhile(t *testing.T) {
	z, err := newEncoder()
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	content := strings.Repeat("frame", 100_000)
	var s oneSink
	seg := segment.Source{Name: "000001.seg", Open: func() (io.ReadCloser, error) {
		defer func() { content += "more" }()
		return io.NopCloser(strings.NewReader(content)), nil
	}}
	before := content
	if err := compress(context.Background(), z, make([]byte, 4096), newOutput(&s),
		seg); err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, err := d.DecodeAll(s.Bytes(), nil); err != nil || string(got) != before {
		t.Errorf("%d bytes, %v; want %d", len(got), err, len(before))
	}
}

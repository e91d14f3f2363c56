package segment

import (
	"bytes"
	"encoding/hex"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenSegment is the segment of the worked example in docs/FORMAT.md.
func goldenSegment(t *testing.T) ([]byte, []Frame) {
	t.Helper()
	packet := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const at = 1749673840000000000 // 2025-06-11T20:30:40Z
	frames := []Frame{
		{
			Type: FrameEvent, Index: 1, UnixNS: at, MonoNS: 0,
			Payload: []byte(
				`{"kind":"recording_started","source":"rabbitmq","announced_unix_ns":1749673839900000000,"part":1}`),
		},
		{
			Type: FrameEvent, Epoch: 1, Index: 2, UnixNS: at + 250e6, MonoNS: 250e6,
			Payload: []byte(
				`{"kind":"joined","room_sid":"RM_example","server_version":"1.13.5","room_created_unix_ms":1749673800000}`),
		},
		{
			Type: FramePacket, Channel: ChannelReliable, Epoch: 1, Index: 3, UnixNS: at + 1e9 + 1,
			MonoNS: 1e9 + 1,
			Payload: packet(
				"2205616c6963658001018a010850415f616c6963651226121548656c6c6f203c616c6c3e20262077656c636f6d65220d6c6b2d636861742d746f706963"),
		},
		{
			Type: FramePacket, Channel: ChannelLossy, Epoch: 1, Index: 4, UnixNS: at + 2e9,
			MonoNS:  2e9,
			Payload: packet("2203626f628a010650415f626f6212051203ff0001"),
		},
		{
			Type: FrameEvent, Epoch: 1, Index: 5, UnixNS: at + 3e9, MonoNS: 3e9,
			Payload: []byte(
				`{"kind":"recording_ended","reason":"room_deleted","status":"COMPLETE"}`),
		},
	}
	h := Header{
		Marker: [4]byte{0xd1, 0x5e, 0x9a, 0x37}, Salt: [8]byte{1, 2, 3, 4, 5, 6, 7, 8},
		FirstIndex: 1, CreatedUnixNS: at, Number: 1,
	}
	b := h.Append(nil)
	for i := range frames {
		f := &frames[i]
		b = h.AppendFrame(b, f)
		if f.Type == FrameEvent {
			ev, err := DecodeEvent(f.Payload)
			if err != nil {
				t.Fatal(err)
			}
			f.Event = &ev
		}
	}
	return b, frames
}

// TestGoldenSegment freezes format version 1: what was written once must stay
// readable, and the example of the specification must stay true.
func TestGoldenSegment(t *testing.T) {
	const golden = "testdata/v1.seg"
	delivered := filepath.Join("..", "testdata", "delivery", "raw", "000001.seg.zst")
	want, frames := goldenSegment(t)
	if *update {
		enc, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{
			golden:    want,
			delivered: enc.EncodeAll(want, nil),
		} {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("segments are encoded differently from %s", golden)
	}
	z, err := os.Open(delivered)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	dec, err := zstd.NewReader(z)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	raw, err := io.ReadAll(dec)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, want) {
		t.Error("the delivered example has another segment")
	}
	if d := cmp.Diff(frames, readBytes(t, got)); d != "" {
		t.Error(d)
	}
	example, err := os.ReadFile(filepath.Join("..", "docs", "FORMAT.md"))
	if err != nil {
		t.Fatal(err)
	}
	off := HeaderSize
	for _, f := range frames[:3] {
		off += FrameHeaderSize + len(f.Payload)
	}
	frame := want[off : off+FrameHeaderSize+len(frames[3].Payload)]
	for _, dump := range []string{hex.Dump(want[:headerCopyLen]), hex.Dump(frame)} {
		if !bytes.Contains(example, []byte(dump)) {
			t.Errorf("docs/FORMAT.md does not have the example\n%s", dump)
		}
	}
}

// readBytes returns copies of all frames of one segment.
func readBytes(t *testing.T, segments ...[]byte) []Frame {
	t.Helper()
	return collect(t, Read(byteSources(segments...)))
}

func byteSources(segments ...[]byte) []Source {
	var sources []Source
	for i, b := range segments {
		sources = append(sources, Source{
			Name: Name(uint32(i + 1)),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
		})
	}
	return sources
}

package segment

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// collect returns copies of all frames.
func collect(t *testing.T, frames iter.Seq2[Frame, error]) []Frame {
	t.Helper()
	var all []Frame
	for f, err := range frames {
		if err != nil {
			t.Fatal(err)
		}
		f.Payload = slices.Clone(f.Payload)
		all = append(all, f)
	}
	return all
}

// split separates what was recorded from the corrupt ranges.
func split(t *testing.T, all []Frame) (frames []Frame, corrupt []Event) {
	t.Helper()
	for _, f := range all {
		var ev Event
		if f.Type == FrameEvent {
			if err := json.Unmarshal(f.Payload, &ev); err != nil {
				t.Fatal(err)
			}
		}
		if ev.Kind == KindCorrupt {
			corrupt = append(corrupt, ev)
		} else {
			frames = append(frames, f)
		}
	}
	return frames, corrupt
}

// makeSegment returns a segment of frames with these payloads, and where each
// frame ends.
func makeSegment(number uint32, first uint64, payloads ...[]byte) (b []byte, frames []Frame,
	ends []int,
) {
	h := NewHeader(number, first, 1)
	b = h.Append(nil)
	for i, p := range payloads {
		f := Frame{
			Type: FramePacket, Channel: ChannelReliable, Epoch: 1, Index: first + uint64(i),
			UnixNS: int64(i + 1), MonoNS: int64(i), Payload: p,
		}
		b = h.AppendFrame(b, &f)
		frames, ends = append(frames, f), append(ends, len(b))
	}
	return b, frames, ends
}

func somePayloads() [][]byte {
	return [][]byte{
		[]byte("first"),
		{},
		bytes.Repeat([]byte{0}, 60), []byte("the fourth one"),
		{0xff},
	}
}

func TestRead_TruncatedAnywhere(t *testing.T) {
	b, frames, ends := makeSegment(1, 1, somePayloads()...)
	for n := range len(b) + 1 {
		whole := 0
		for whole < len(ends) && ends[whole] <= n {
			whole++
		}
		got := readBytes(t, b[:n])
		if d := cmp.Diff(frames[:whole], got,
			cmp.Transformer("nil", func(b []byte) string { return string(b) })); len(
			got) != whole || whole > 0 && d != "" {
			t.Fatalf("cut at %d of %d: %d frames, want %d\n%s", n, len(b), len(got), whole, d)
		}
	}
}

func TestRead_EveryByteFlipped(t *testing.T) {
	b, frames, ends := makeSegment(1, 1, somePayloads()...)
	for at := range b {
		for _, mask := range []byte{0x01, 0x80, 0xff} {
			t.Run(fmt.Sprintf("byte %d mask %#x", at, mask), func(t *testing.T) {
				damaged := slices.Clone(b)
				damaged[at] ^= mask
				got, corrupt := split(t, readBytes(t, damaged))
				want := Event{Kind: KindCorrupt, Segment: "000001.seg"}
				kept := slices.Clone(frames)
				switch {
				case at < HeaderSize:
					want.Offset, want.Bytes = int64(at/headerCopyLen*headerCopyLen), headerCopyLen
				default:
					hit, _ := slices.BinarySearch(ends, at+1)
					begin := HeaderSize
					if hit > 0 {
						begin = ends[hit-1]
					}
					want.Offset, want.Bytes, want.FramesMissing = int64(begin),
						int64(ends[hit]-begin), 1
					kept = slices.Delete(kept, hit, hit+1)
				}
				if d := cmp.Diff(kept, got,
					cmp.Transformer("text", func(b []byte) string { return string(b) })); d != "" {
					t.Error(d)
				}
				if d := cmp.Diff([]Event{want}, corrupt); d != "" {
					t.Error(d)
				}
			})
		}
	}
}

func TestRead_Damage(t *testing.T) {
	one, frames1, ends := makeSegment(1, 1, somePayloads()...)
	two, frames2, _ := makeSegment(2, 6, []byte("six"), []byte("seven"))
	zeros := make([]byte, 5000)
	corrupt := func(segment string, offset, n, missing int) Event {
		return Event{
			Kind: KindCorrupt, Segment: segment, Offset: int64(offset),
			Bytes: int64(n), FramesMissing: int64(missing),
		}
	}
	wiped := func(b []byte, from, to int) []byte {
		b = slices.Clone(b)
		clear(b[from:to])
		return b
	}
	for _, tt := range []struct {
		name     string
		segments [][]byte
		frames   []Frame
		corrupt  []Event
	}{
		{"nothing", nil, nil, nil},
		{"an empty file", [][]byte{{}}, nil, nil},
		{
			"zeros behind the last frame",
			[][]byte{append(slices.Clone(one), zeros...)},
			frames1,
			nil,
		},
		{"only zeros", [][]byte{zeros}, nil, nil},
		{
			"zeros instead of two frames",
			[][]byte{wiped(one, ends[0], ends[2])},
			slices.Concat(frames1[:1], frames1[3:]),
			[]Event{corrupt("000001.seg", ends[0], ends[2]-ends[0], 2)},
		},
		{
			"the payloads of the last two frames",
			[][]byte{wiped(wiped(one, ends[2]+FrameHeaderSize, ends[3]), ends[3]+FrameHeaderSize,
				ends[4])},
			frames1[:3],
			[]Event{corrupt("000001.seg", ends[2], ends[4]-ends[2], 2)},
		},
		{
			"noise behind the last frame",
			[][]byte{append(slices.Clone(one), "noise"...)},
			frames1,
			[]Event{corrupt("000001.seg", len(one), 5, 1)},
		},
		{
			"last frames of a segment that is not the last",
			[][]byte{one[:ends[2]+50], two},
			slices.Concat(frames1[:3], frames2),
			[]Event{corrupt("000001.seg", ends[2], 50, 2)},
		},
		{
			"both copies of a header",
			[][]byte{wiped(one, 0, HeaderSize), two},
			frames2,
			[]Event{corrupt("000001.seg", 0, len(one), 5)},
		},
		{
			"both copies of the last header",
			[][]byte{one, wiped(two, 0, HeaderSize)},
			frames1,
			[]Event{corrupt("000002.seg", 0, len(two), 1)},
		},
		{
			"a whole segment is gone",
			[][]byte{two},
			frames2,
			[]Event{corrupt("000001.seg", 0, 0, 5)},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frames, corrupt := split(t, readBytes(t, tt.segments...))
			text := cmp.Transformer("text", func(b []byte) string { return string(b) })
			if d := cmp.Diff(tt.frames, frames, text); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tt.corrupt, corrupt); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestRead_ForgedFrame: a participant sends a payload that contains what
// looks like frames, and the disk damages the frame that carries it.
func TestRead_ForgedFrame(t *testing.T) {
	h := NewHeader(1, 1, 1)
	other := NewHeader(1, 1, 1)
	mixed := h
	mixed.Salt = other.Salt
	forge := func(h Header) []byte {
		return h.AppendFrame(nil,
			&Frame{Type: FramePacket, Index: 3, Payload: []byte("forged")})
	}
	for _, tt := range []struct {
		name    string
		payload []byte
		damage  int // of the carrying frame
	}{
		{"salt and marker of another segment", forge(other), 4},
		{"the right marker, another salt", forge(mixed), 4},
		{
			"all right, but the damage is in the payload", forge(h),
			FrameHeaderSize + 6 + 50,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := h.Append(nil)
			last := Frame{Type: FramePacket, Index: 2, Payload: []byte("last")}
			b = h.AppendFrame(b, &Frame{
				Type: FramePacket, Index: 1,
				Payload: append([]byte("before"), append(tt.payload, "after"...)...),
			})
			b = h.AppendFrame(b, &last)
			b[HeaderSize+tt.damage] ^= 0x10
			frames, corrupt := split(t, readBytes(t, b))
			if d := cmp.Diff([]Frame{last}, frames); d != "" {
				t.Error(d)
			}
			if len(corrupt) != 1 || corrupt[0].FramesMissing != 1 {
				t.Errorf("corrupt: %+v", corrupt)
			}
		})
	}
}

func TestRead_ImpossibleLength(t *testing.T) {
	h := NewHeader(1, 1, 1)
	b := h.AppendFrame(h.Append(nil),
		&Frame{Type: FramePacket, Index: 1, Payload: []byte("x")})
	binary.LittleEndian.PutUint32(b[HeaderSize+12:], MaxPayload+1)
	// With a right checksum, as a broken writer would have made it.
	binary.LittleEndian.PutUint32(b[HeaderSize+4:],
		payloadCRC(h.seed(), b[HeaderSize+8:HeaderSize+FrameHeaderSize]))
	frames, corrupt := split(t, readBytes(t, b))
	if len(frames) != 0 || len(corrupt) != 1 {
		t.Errorf("frames %v, corrupt %v", frames, corrupt)
	}
}

func TestRead_NewerVersion(t *testing.T) {
	b, _, _ := makeSegment(1, 1, []byte("x"))
	binary.LittleEndian.PutUint16(b[8:], formatVersion+1)
	binary.LittleEndian.PutUint32(b[44:], payloadCRC(0, b[:44]))
	for _, err := range Read(byteSources(b)) {
		if err == nil {
			t.Fatal("a segment of a newer version was read")
		}
		return
	}
	t.Fatal("a segment of a newer version was ignored")
}

// FuzzScanner: whatever is in a file, the findings cover it from front to
// back, every frame stands there byte for byte, and memory stays bounded.
func FuzzScanner(f *testing.F) {
	one, _, ends := makeSegment(1, 1, somePayloads()...)
	f.Add(one)
	f.Add(one[:ends[1]+3])
	f.Add(slices.Concat(one[:ends[1]], one[ends[1]+7:]))
	f.Add(make([]byte, 200))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := newScanner(&oneByteReader{b: b}, nil)
		if err != nil {
			return // a version that is not ours
		}
		at := int64(HeaderSize)
		h, ok := s.Header()
		if !ok {
			at = 0
		}
		for {
			it, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if it.Offset < HeaderSize && ok {
				continue // one of the header's copies
			}
			if it.Offset != at || it.Size <= 0 {
				t.Fatalf("finding at %d, expected it at %d: %+v", it.Offset, at, it)
			}
			at += it.Size
			if it.Kind == FoundFrame {
				if again := h.AppendFrame(nil, &it.Frame); !bytes.Equal(again,
					b[it.Offset:at]) {
					t.Fatalf("frame at %d is %x, read as %+v", it.Offset, b[it.Offset:at], it.Frame)
				}
			}
		}
		if at != int64(len(b)) && len(b) > 0 {
			t.Fatalf("findings end at %d of %d", at, len(b))
		}
	})
}

// oneByteReader returns little at a time, as a pipe may.
type oneByteReader struct{ b []byte }

func (r *oneByteReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:1], r.b)
	r.b = r.b[n:]
	return n, nil
}

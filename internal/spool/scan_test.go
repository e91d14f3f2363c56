package spool

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

	"github.com/syncflow/textegress"
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
		if ev.Kind == textegress.KindCorrupt {
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
	h := newSegmentHeader(number, first, 1)
	b = h.encode()
	for i, p := range payloads {
		f := Frame{
			Type: FramePacket, Channel: ChannelReliable, Epoch: 1, Index: first + uint64(i),
			UnixNS: int64(i + 1), MonoNS: int64(i), Payload: p,
		}
		b = appendFrame(b, h.marker, h.seed(), &f)
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

func TestReadSegments_TruncatedAnywhere(t *testing.T) {
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

func TestReadSegments_EveryByteFlipped(t *testing.T) {
	b, frames, ends := makeSegment(1, 1, somePayloads()...)
	for at := range b {
		for _, mask := range []byte{0x01, 0x80, 0xff} {
			t.Run(fmt.Sprintf("byte %d mask %#x", at, mask), func(t *testing.T) {
				damaged := slices.Clone(b)
				damaged[at] ^= mask
				got, corrupt := split(t, readBytes(t, damaged))
				want := Event{Kind: textegress.KindCorrupt, Segment: "000001.seg"}
				kept := slices.Clone(frames)
				switch {
				case at < headerLen:
					want.Offset, want.Bytes = int64(at/headerCopyLen*headerCopyLen), headerCopyLen
				default:
					hit, _ := slices.BinarySearch(ends, at+1)
					begin := headerLen
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

func TestReadSegments_Damage(t *testing.T) {
	one, frames1, ends := makeSegment(1, 1, somePayloads()...)
	two, frames2, _ := makeSegment(2, 6, []byte("six"), []byte("seven"))
	zeros := make([]byte, 5000)
	corrupt := func(segment string, offset, n, missing int) Event {
		return Event{
			Kind: textegress.KindCorrupt, Segment: segment, Offset: int64(offset),
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
			[][]byte{wiped(wiped(one, ends[2]+frameHeaderLen, ends[3]), ends[3]+frameHeaderLen,
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
			[][]byte{wiped(one, 0, headerLen), two},
			frames2,
			[]Event{corrupt("000001.seg", 0, len(one), 5)},
		},
		{
			"both copies of the last header",
			[][]byte{one, wiped(two, 0, headerLen)},
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

// TestReadSegments_ForgedFrame: a participant sends a payload that contains what
// looks like frames, and the disk damages the frame that carries it.
func TestReadSegments_ForgedFrame(t *testing.T) {
	h := newSegmentHeader(1, 1, 1)
	other := newSegmentHeader(1, 1, 1)
	forge := func(marker [4]byte, seed uint32) []byte {
		return appendFrame(nil, marker, seed,
			&Frame{Type: FramePacket, Index: 3, Payload: []byte("forged")})
	}
	for _, tt := range []struct {
		name    string
		payload []byte
		damage  int // of the carrying frame
	}{
		{"salt and marker of another segment", forge(other.marker, other.seed()), 4},
		{"the right marker, another salt", forge(h.marker, other.seed()), 4},
		{
			"all right, but the damage is in the payload", forge(h.marker, h.seed()),
			frameHeaderLen + 6 + 50,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := h.encode()
			last := Frame{Type: FramePacket, Index: 2, Payload: []byte("last")}
			b = appendFrame(b, h.marker, h.seed(), &Frame{
				Type: FramePacket, Index: 1,
				Payload: append([]byte("before"), append(tt.payload, "after"...)...),
			})
			b = appendFrame(b, h.marker, h.seed(), &last)
			b[headerLen+tt.damage] ^= 0x10
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

func TestReadSegments_ImpossibleLength(t *testing.T) {
	h := newSegmentHeader(1, 1, 1)
	b := appendFrame(h.encode(), h.marker, h.seed(),
		&Frame{Type: FramePacket, Index: 1, Payload: []byte("x")})
	binary.LittleEndian.PutUint32(b[headerLen+12:], MaxPayload+1)
	// With a right checksum, as a broken writer would have made it.
	binary.LittleEndian.PutUint32(b[headerLen+4:],
		payloadCRC(h.seed(), b[headerLen+8:headerLen+frameHeaderLen]))
	frames, corrupt := split(t, readBytes(t, b))
	if len(frames) != 0 || len(corrupt) != 1 {
		t.Errorf("frames %v, corrupt %v", frames, corrupt)
	}
}

func TestReadSegments_NewerVersion(t *testing.T) {
	b, _, _ := makeSegment(1, 1, []byte("x"))
	binary.LittleEndian.PutUint16(b[8:], segmentVersion+1)
	binary.LittleEndian.PutUint32(b[44:], payloadCRC(0, b[:44]))
	for _, err := range ReadSegments(byteSources(b)) {
		if err == nil {
			t.Fatal("a segment of a newer version was read")
		}
		return
	}
	t.Fatal("a segment of a newer version was ignored")
}

// FuzzReadSegments: whatever is in a file, the findings cover it from front to
// back, every frame stands there byte for byte, and memory stays bounded.
func FuzzReadSegments(f *testing.F) {
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
		at := int64(headerLen)
		var marker [4]byte
		var seed uint32
		if s.ok {
			marker, seed = s.header.marker, s.seed
		} else {
			at = 0
		}
		for {
			it, err := s.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if it.offset < headerLen && s.ok {
				continue // one of the header's copies
			}
			if it.offset != at || it.size <= 0 {
				t.Fatalf("finding at %d, expected it at %d: %+v", it.offset, at, it)
			}
			at += it.size
			if it.kind == itemFrame {
				if again := appendFrame(nil, marker, seed, &it.frame); !bytes.Equal(again,
					b[it.offset:at]) {
					t.Fatalf("frame at %d is %x, read as %+v", it.offset, b[it.offset:at], it.frame)
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

package spool

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
)

// SegmentName returns the name of the segment with this number, 1, 2, 3 …
func SegmentName(number uint32) string { return segmentName(number) }

// DerivedSegment writes a segment of a recording that was made of others. The same frames give the
// same bytes: marker and salt come from a seed. It has to be one that participants could not know
// while they sent, such as the checksums of the segments that the frames were read from, which have
// random parts.
type DerivedSegment struct {
	w      io.Writer
	marker [4]byte
	seed   uint32
	buf    []byte
	size   int64
	frames int64
}

// NewDerivedSegment writes the header of a segment to w.
func NewDerivedSegment(w io.Writer, seed []byte, number uint32, firstIndex uint64,
	unixNS int64,
) (*DerivedSegment, error) {
	h := segmentHeader{firstIndex: firstIndex, createdUnixNS: unixNS, number: number}
	for try := uint32(0); h.marker[0] == 0 || h.marker[1] == 0 || h.marker[2] == 0 ||
		h.marker[3] == 0; try++ {
		sum := sha256.New()
		sum.Write(seed)
		sum.Write(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, number),
			try))
		random := sum.Sum(nil)
		copy(h.marker[:], random)
		copy(h.salt[:], random[4:])
	}
	s := &DerivedSegment{w: w, marker: h.marker, seed: h.seed()}
	return s, s.write(h.encode())
}

// Append writes f, whose Index the caller has assigned.
func (s *DerivedSegment) Append(f Frame) error {
	if len(f.Payload) > MaxPayload {
		return fmt.Errorf("append: %w: %d bytes", ErrTooLarge, len(f.Payload))
	}
	s.buf = appendFrame(s.buf[:0], s.marker, s.seed, &f)
	s.frames++
	return s.write(s.buf)
}

func (s *DerivedSegment) write(b []byte) error {
	n, err := s.w.Write(b)
	s.size += int64(n)
	return err
}

// Size returns the number of bytes.
func (s *DerivedSegment) Size() int64 { return s.size }

// Frames returns the number of frames.
func (s *DerivedSegment) Frames() int64 { return s.frames }

package segment

import (
	"bytes"
	"errors"
	"io"
)

// FindingKind is the kind of a [Finding].
type FindingKind int

// The kinds of findings.
const (
	FoundFrame   FindingKind = iota
	FoundCorrupt             // a range without a readable frame
	FoundTorn                // the start of a frame, or zeros, up to the end of the file
)

// Finding is one piece of a segment, as a [Scanner] finds it.
type Finding struct {
	Kind   FindingKind
	Frame  Frame // for FoundFrame; its payload is valid until the next call of Next
	Offset int64 // in the file
	Size   int64 // in bytes
	// For FoundCorrupt: the number of frames with an intact header in the range, and the index of
	// the frame that follows in the segment, 0 if none does.
	intactHeaders uint64
	nextIndex     uint64
}

// Scanner reads one segment front to back and resynchronises after damage. It holds at most one
// frame in memory. Its findings cover the file without gaps.
type Scanner struct {
	r      io.Reader
	buf    []byte
	lo, hi int   // the unread bytes are buf[lo:hi]
	off    int64 // of buf[lo] in the file
	eof    bool

	header Header
	// ok is set if a copy of the header was intact. Without one, frames cannot be distinguished
	// from noise, and the whole segment is corrupt.
	ok   bool
	seed uint32

	queue []Finding // found, not yet returned
	bad   Finding   // the corrupt range that is being collected
	zero  bool      // bad consists only of zeros
}

// NewScanner reads the header of a segment. It returns an error only if reading fails or a newer
// program wrote the segment. If both copies of the header are damaged, the scanner reports the
// whole segment as corrupt.
func NewScanner(r io.Reader) (*Scanner, error) { return newScanner(r, nil) }

// newScanner uses buf if it is large enough; see buffer.
func newScanner(r io.Reader, buf []byte) (*Scanner, error) {
	s := &Scanner{r: r, buf: buf[:cap(buf)]}
	n, err := s.fill(HeaderSize)
	if err != nil {
		return nil, err
	}
	if n < HeaderSize {
		if n > 0 {
			s.queue = append(s.queue, Finding{Kind: FoundTorn, Size: int64(n)})
			s.skip(n)
		}
		return s, nil
	}
	var bad [2]bool
	for i := range bad {
		at := s.lo + i*headerCopyLen
		h, ok, err := decodeHeaderCopy(s.buf[at : at+headerCopyLen])
		if err != nil {
			return nil, err
		}
		if bad[i] = !ok; ok && !s.ok {
			s.header, s.ok, s.seed = h, true, h.seed()
		}
	}
	if !s.ok {
		return s, s.skipAll()
	}
	for i := range bad {
		if bad[i] {
			s.queue = append(s.queue, Finding{
				Kind: FoundCorrupt, Offset: int64(i * headerCopyLen),
				Size: headerCopyLen, nextIndex: s.header.FirstIndex,
			})
		}
	}
	s.skip(HeaderSize)
	return s, nil
}

// resumeScanner returns a scanner of a segment with header h; r provides its bytes from offset on.
func resumeScanner(r io.Reader, h Header, offset int64, buf []byte) *Scanner {
	return &Scanner{r: r, buf: buf[:cap(buf)], off: offset, header: h, ok: true, seed: h.seed()}
}

// Header returns the header of the segment, and false if neither copy is intact.
func (s *Scanner) Header() (Header, bool) { return s.header, s.ok }

// buffer returns the scanner's buffer for reuse by the next scanner.
func (s *Scanner) buffer() []byte { return s.buf }

// Next returns the next finding, and io.EOF at the end of the segment. Any other error means that a
// read failed.
func (s *Scanner) Next() (Finding, error) {
	for len(s.queue) == 0 {
		done, err := s.step()
		if err != nil {
			return Finding{}, err
		}
		if done {
			return Finding{}, io.EOF
		}
	}
	it := s.queue[0]
	s.queue = s.queue[:copy(s.queue, s.queue[1:])]
	return it, nil
}

// step examines the current position. It queues findings or advances; done means that the scanner
// is at the end and has nothing to report.
func (s *Scanner) step() (done bool, err error) {
	n, err := s.fill(FrameHeaderSize)
	if err != nil {
		return false, err
	}
	if n < FrameHeaderSize {
		return s.end(n), nil
	}
	f, crc, length, ok := decodeFrameHeader(s.buf[s.lo:s.hi], s.header.Marker, s.seed)
	if !ok {
		return false, s.search()
	}
	whole := FrameHeaderSize + length
	if n, err = s.fill(whole); err != nil {
		return false, err
	}
	if n < whole {
		s.flush(0)
		s.queue = append(s.queue, Finding{Kind: FoundTorn, Offset: s.off, Size: int64(n)})
		s.skip(n)
		return false, nil
	}
	f.Payload = s.buf[s.lo+FrameHeaderSize : s.lo+whole : s.lo+whole]
	if payloadCRC(s.seed, f.Payload) != crc {
		// The header is intact, so the next frame is after the payload. The scanner does not search
		// the payload for frames.
		s.addCorrupt(whole)
		s.bad.intactHeaders++
		s.zero = false
		return false, nil
	}
	s.flush(f.Index)
	s.queue = append(s.queue, Finding{
		Kind: FoundFrame, Frame: f, Offset: s.off,
		Size: int64(whole),
	})
	s.skip(whole)
	return false, nil
}

// end handles the last n bytes, which are too few for a frame header.
func (s *Scanner) end(n int) (done bool) {
	rest := s.buf[s.lo : s.lo+n]
	m := min(n, len(s.header.Marker))
	if n > 0 && bytes.Equal(rest[:m], s.header.Marker[:m]) {
		s.flush(0)
		s.queue = append(s.queue, Finding{Kind: FoundTorn, Offset: s.off, Size: int64(n)})
		s.skip(n)
		return false
	}
	s.addCorrupt(n)
	if s.bad.Size == 0 {
		return true
	}
	if s.zero { // the file grew before its content was written
		s.queue = append(s.queue, Finding{Kind: FoundTorn, Offset: s.bad.Offset, Size: s.bad.Size})
		s.bad = Finding{}
		return false
	}
	s.flush(0)
	return false
}

// search moves to the next marker after the current position, or to the last bytes that could start
// one.
func (s *Scanner) search() error {
	for from := 1; ; {
		if i := bytes.Index(s.buf[s.lo+from:s.hi], s.header.Marker[:]); i >= 0 {
			s.addCorrupt(from + i)
			return nil
		}
		if n := s.hi - s.lo - (len(s.header.Marker) - 1); n > 0 {
			s.addCorrupt(n)
		}
		from = 0
		have := s.hi - s.lo
		n, err := s.fill(have + 1)
		if err != nil {
			return err
		}
		if n == have {
			return nil // the end, which step handles
		}
	}
}

// skipAll marks the whole segment as unreadable.
func (s *Scanner) skipAll() error {
	for {
		n, err := s.fill(1)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		s.addCorrupt(s.hi - s.lo)
	}
	if s.zero {
		s.queue = append(s.queue, Finding{Kind: FoundTorn, Size: s.bad.Size})
		s.bad = Finding{}
		return nil
	}
	s.flush(0)
	return nil
}

// addCorrupt adds the next n bytes to the corrupt range.
func (s *Scanner) addCorrupt(n int) {
	if n == 0 {
		return
	}
	if s.bad.Size == 0 {
		s.bad = Finding{Kind: FoundCorrupt, Offset: s.off}
		s.zero = true
	}
	for _, c := range s.buf[s.lo : s.lo+n] {
		if !s.zero {
			break
		}
		s.zero = c == 0
	}
	s.bad.Size += int64(n)
	s.skip(n)
}

// flush queues the corrupt range, if there is one.
func (s *Scanner) flush(nextIndex uint64) {
	if s.bad.Size > 0 {
		s.bad.nextIndex = nextIndex
		s.queue = append(s.queue, s.bad)
		s.bad = Finding{}
	}
}

func (s *Scanner) skip(n int) {
	s.lo += n
	s.off += int64(n)
}

const minBuffer = 64 << 10

// fill makes n bytes available at lo and returns n, or fewer at the end of the file.
func (s *Scanner) fill(n int) (int, error) {
	if s.hi-s.lo < n && !s.eof {
		if s.lo > 0 && len(s.buf)-s.lo < n {
			s.hi = copy(s.buf, s.buf[s.lo:s.hi])
			s.lo = 0
		}
		if len(s.buf) < n {
			grown := make([]byte, max(n, minBuffer))
			s.hi = copy(grown, s.buf[s.lo:s.hi])
			s.lo, s.buf = 0, grown
		}
		got, err := io.ReadAtLeast(s.r, s.buf[s.hi:], n-(s.hi-s.lo))
		s.hi += got
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			s.eof = true
		case err != nil:
			return 0, err
		}
	}
	return min(n, s.hi-s.lo), nil
}

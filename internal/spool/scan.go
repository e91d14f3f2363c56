package spool

import (
	"bytes"
	"errors"
	"io"
)

// itemKind says what a scanner found.
type itemKind int

const (
	itemFrame   itemKind = iota
	itemCorrupt          // a range without a readable frame
	itemTorn             // the beginning of a frame (or zeros) up to the end of the file
)

// item is one finding of a scanner. Its frame's payload is valid until the next
// call of next.
type item struct {
	kind   itemKind
	frame  Frame
	offset int64
	size   int64
	// For itemCorrupt: how many frames with an intact header are in it, and the
	// index of the frame that follows in the segment, 0 where none does.
	known     uint64
	nextIndex uint64
}

// scanner reads one segment front to back and resynchronises after damage. It
// holds at most one frame in memory.
type scanner struct {
	r      io.Reader
	buf    []byte
	lo, hi int   // the unread bytes are buf[lo:hi]
	off    int64 // of buf[lo] in the file
	eof    bool

	header segmentHeader
	// ok is set where one of the header's copies was intact; without it no
	// frame can be told from noise, and all of the segment is corrupt.
	ok   bool
	seed uint32

	queue []item // found, not yet returned
	bad   item   // the corrupt range that is being collected
	zero  bool   // bad consists of zeros alone
}

// newScanner reads the header of a segment. buf is used where it is large
// enough; see buffer.
func newScanner(r io.Reader, buf []byte) (*scanner, error) {
	s := &scanner{r: r, buf: buf[:cap(buf)]}
	n, err := s.fill(headerLen)
	if err != nil {
		return nil, err
	}
	if n < headerLen {
		if n > 0 {
			s.queue = append(s.queue, item{kind: itemTorn, size: int64(n)})
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
			s.queue = append(s.queue, item{
				kind: itemCorrupt, offset: int64(i * headerCopyLen),
				size: headerCopyLen, nextIndex: s.header.firstIndex,
			})
		}
	}
	s.skip(headerLen)
	return s, nil
}

// buffer returns the scanner's buffer for the next one.
func (s *scanner) buffer() []byte { return s.buf }

// next returns io.EOF at the end of the segment, any other error only for a
// failed read.
func (s *scanner) next() (item, error) {
	for len(s.queue) == 0 {
		done, err := s.step()
		if err != nil {
			return item{}, err
		}
		if done {
			return item{}, io.EOF
		}
	}
	it := s.queue[0]
	s.queue = s.queue[:copy(s.queue, s.queue[1:])]
	return it, nil
}

// step looks at the present position. It queues findings or moves on; done means
// that the segment is at its end with nothing to report.
func (s *scanner) step() (done bool, err error) {
	n, err := s.fill(frameHeaderLen)
	if err != nil {
		return false, err
	}
	if n < frameHeaderLen {
		return s.end(n), nil
	}
	f, crc, length, ok := decodeFrameHeader(s.buf[s.lo:s.hi], s.header.marker, s.seed)
	if !ok {
		return false, s.search()
	}
	whole := frameHeaderLen + length
	if n, err = s.fill(whole); err != nil {
		return false, err
	}
	if n < whole {
		s.flush(0)
		s.queue = append(s.queue, item{kind: itemTorn, offset: s.off, size: int64(n)})
		s.skip(n)
		return false, nil
	}
	f.Payload = s.buf[s.lo+frameHeaderLen : s.lo+whole : s.lo+whole]
	if payloadCRC(s.seed, f.Payload) != crc {
		// The header is intact, so the next frame is behind the payload. What is
		// in the payload is not looked at.
		s.collect(whole)
		s.bad.known++
		s.zero = false
		return false, nil
	}
	s.flush(f.Index)
	s.queue = append(s.queue, item{kind: itemFrame, frame: f, offset: s.off, size: int64(whole)})
	s.skip(whole)
	return false, nil
}

// end handles the last n bytes, too few for a frame's header.
func (s *scanner) end(n int) (done bool) {
	rest := s.buf[s.lo : s.lo+n]
	m := min(n, len(s.header.marker))
	if n > 0 && bytes.Equal(rest[:m], s.header.marker[:m]) {
		s.flush(0)
		s.queue = append(s.queue, item{kind: itemTorn, offset: s.off, size: int64(n)})
		s.skip(n)
		return false
	}
	s.collect(n)
	if s.bad.size == 0 {
		return true
	}
	if s.zero { // a file that grew before its content was written
		s.queue = append(s.queue, item{kind: itemTorn, offset: s.bad.offset, size: s.bad.size})
		s.bad = item{}
		return false
	}
	s.flush(0)
	return false
}

// search moves to the next marker behind the present position, or to the last
// bytes that could begin one.
func (s *scanner) search() error {
	for from := 1; ; {
		if i := bytes.Index(s.buf[s.lo+from:s.hi], s.header.marker[:]); i >= 0 {
			s.collect(from + i)
			return nil
		}
		if n := s.hi - s.lo - (len(s.header.marker) - 1); n > 0 {
			s.collect(n)
		}
		from = 0
		have := s.hi - s.lo
		n, err := s.fill(have + 1)
		if err != nil {
			return err
		}
		if n == have {
			return nil // the end; step sees it
		}
	}
}

// skipAll declares the whole segment unreadable.
func (s *scanner) skipAll() error {
	for {
		n, err := s.fill(1)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		s.collect(s.hi - s.lo)
	}
	if s.zero {
		s.queue = append(s.queue, item{kind: itemTorn, size: s.bad.size})
		s.bad = item{}
		return nil
	}
	s.flush(0)
	return nil
}

// collect adds the next n bytes to the corrupt range.
func (s *scanner) collect(n int) {
	if n == 0 {
		return
	}
	if s.bad.size == 0 {
		s.bad = item{kind: itemCorrupt, offset: s.off}
		s.zero = true
	}
	for _, c := range s.buf[s.lo : s.lo+n] {
		if !s.zero {
			break
		}
		s.zero = c == 0
	}
	s.bad.size += int64(n)
	s.skip(n)
}

// flush queues the corrupt range, if there is one.
func (s *scanner) flush(nextIndex uint64) {
	if s.bad.size > 0 {
		s.bad.nextIndex = nextIndex
		s.queue = append(s.queue, s.bad)
		s.bad = item{}
	}
}

func (s *scanner) skip(n int) {
	s.lo += n
	s.off += int64(n)
}

const minBuffer = 64 << 10

// fill makes at least n bytes available at lo and returns how many there are, up
// to n; fewer only at the end of the file.
func (s *scanner) fill(n int) (int, error) {
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

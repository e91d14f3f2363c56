package segment

import (
	"fmt"
	"io"
)

// Writer writes one segment to an io.Writer. It is for segments that are derived from others, see
// [DerivedHeader]. A recorder does not use it: it writes frame by frame to a file that survives a
// crash.
type Writer struct {
	w      io.Writer
	header Header
	buf    []byte
	size   int64
	frames int64
}

// NewWriter writes h to w.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	s := &Writer{w: w, header: h}
	return s, s.write(h.Append(nil))
}

// Append writes f, whose Index the caller has assigned, with one call of Write. The error wraps
// [ErrTooLarge] if the payload is too long; otherwise it is the error of Write.
func (s *Writer) Append(f Frame) error {
	if len(f.Payload) > MaxPayload {
		return fmt.Errorf("append: %w: %d bytes", ErrTooLarge, len(f.Payload))
	}
	s.buf = s.header.AppendFrame(s.buf[:0], &f)
	s.frames++
	return s.write(s.buf)
}

func (s *Writer) write(b []byte) error {
	n, err := s.w.Write(b)
	s.size += int64(n)
	return err
}

// Size returns the number of bytes written.
func (s *Writer) Size() int64 { return s.size }

// Frames returns the number of frames written.
func (s *Writer) Frames() int64 { return s.frames }

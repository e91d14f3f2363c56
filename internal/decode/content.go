package decode

import (
	"fmt"
	"io"
)

// Scratch is a temporary file for the lifetime of the process.
type Scratch interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

const (
	blockSize = 16 << 10
	// headSize is the maximum number of bytes of a stream's content kept in memory instead of in
	// blocks. Most streams are a line of chat.
	headSize = 2 << 10
)

// store keeps the content of all open streams in reusable blocks of one scratch file.
type store struct {
	open func() (Scratch, error)
	file Scratch
	free []uint32
	next uint32
}

func (s *store) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

func (s *store) block() (uint32, error) {
	if s.file == nil {
		f, err := s.open()
		if err != nil {
			return 0, fmt.Errorf("scratch file: %w", err)
		}
		s.file = f
	}
	if n := len(s.free); n > 0 {
		b := s.free[n-1]
		s.free = s.free[:n-1]
		return b, nil
	}
	s.next++
	return s.next - 1, nil
}

// record holds the content of one stream in the order of arrival. It is append-only.
type record struct {
	store  *store
	head   []byte // the whole content while there are no blocks
	blocks []uint32
	size   int64
}

// append returns the offset of p.
func (r *record) append(p []byte) (offset int64, err error) {
	offset = r.size
	if len(r.blocks) == 0 {
		if len(r.head)+len(p) <= headSize {
			r.head = append(r.head, p...)
			r.size += int64(len(p))
			return offset, nil
		}
		head := r.head
		r.head, r.size = nil, 0
		if err := r.write(head); err != nil {
			return 0, err
		}
	}
	return offset, r.write(p)
}

func (r *record) write(p []byte) error {
	for len(p) > 0 {
		at := r.size % blockSize
		if at == 0 {
			b, err := r.store.block()
			if err != nil {
				return err
			}
			r.blocks = append(r.blocks, b)
		}
		n := min(len(p), int(blockSize-at))
		if _, err := r.store.file.WriteAt(p[:n], int64(r.blocks[len(r.blocks)-1])*blockSize+
			at); err != nil {
			return fmt.Errorf("scratch file: %w", err)
		}
		r.size += int64(n)
		p = p[n:]
	}
	return nil
}

// readAt fills p with the bytes at the given offset. The range must lie within the appended bytes.
func (r *record) readAt(p []byte, offset int64) error {
	if len(r.blocks) == 0 {
		copy(p, r.head[offset:])
		return nil
	}
	for len(p) > 0 {
		at := offset % blockSize
		n := min(len(p), int(blockSize-at))
		if _, err := r.store.file.ReadAt(p[:n], int64(r.blocks[offset/blockSize])*blockSize+
			at); err != nil {
			return fmt.Errorf("scratch file: %w", err)
		}
		p, offset = p[n:], offset+int64(n)
	}
	return nil
}

// release returns the blocks to the store.
func (r *record) release() {
	r.store.free = append(r.store.free, r.blocks...)
	r.head, r.blocks, r.size = nil, nil, 0
}

// chunk locates the content of a chunk in its stream's record.
type chunk struct {
	offset  int64
	size    uint32
	version int32
}

// Content is the content of a stream: its chunks in the order of their indexes.
type Content struct {
	Size int64
	open func() io.Reader
}

// Open returns a reader of the whole content. It may be called more than once. The reader returns
// errors of the scratch file only.
func (c *Content) Open() io.Reader { return c.open() }

// chunkReader reads the chunks of the parts in sequence.
type chunkReader struct {
	rec    *record
	parts  [][]chunk
	offset int64 // start of the unread range
	left   int64
	err    error
}

// Read implements [io.Reader].
func (r *chunkReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	for r.left < int64(len(p)) &&
		r.extend() { //nolint:revive // adjacent chunks are read together
	}
	if r.left == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), r.left)
	if r.err = r.rec.readAt(p[:n], r.offset); r.err != nil {
		return 0, r.err
	}
	r.offset, r.left = r.offset+n, r.left-n
	return int(n), nil
}

// extend adds the next chunk to the unread range if it is adjacent.
func (r *chunkReader) extend() bool {
	for len(r.parts) > 0 && len(r.parts[0]) == 0 {
		r.parts = r.parts[1:]
	}
	if len(r.parts) == 0 {
		return false
	}
	c := r.parts[0][0]
	if r.left > 0 && c.size > 0 && r.offset+r.left != c.offset {
		return false
	}
	if r.left == 0 {
		r.offset = c.offset
	}
	r.left += int64(c.size)
	r.parts[0] = r.parts[0][1:]
	return true
}

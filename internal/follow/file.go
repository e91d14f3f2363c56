package follow

import (
	"encoding/binary"
	"errors"
	"os"
	"sort"
	"sync"

	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/segment"
)

// newScratch creates a file without a name in dir. check is called before and while it grows.
func newScratch(dir string, check func() error) (render.Scratch, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // the file that it made stays open
	file, err := render.NewScratch(root)
	if err != nil {
		return nil, err
	}
	return render.NewSpaceGuard(check).Scratch(file), nil
}

// lineFile holds decoded lines in a scratch file.
type lineFile struct {
	file  render.Scratch
	spans []span // guarded by feed.mu
	end   int64  // of the file; used by one goroutine
	added int64  // the end of the last span; guarded by feed.mu
	buf   []byte
	users sync.WaitGroup // reads in progress; incremented with feed.mu held
}

// span is a range of the file. It begins with the line with number first.
type span struct{ first, offset, size int64 }

// spanBytes is the size from which on a span receives no more lines. A reader reads a whole span.
const spanBytes = 64 << 10

// append writes the lines of c to the file.
func (l *lineFile) append(c *chunk) error {
	l.buf = l.buf[:0]
	for i := range c.lines {
		l.buf = appendLine(l.buf, &c.lines[i])
	}
	if _, err := l.file.WriteAt(l.buf, l.end); err != nil {
		return err
	}
	l.end += int64(len(l.buf))
	return nil
}

// add makes the lines of c, which were appended, available. Called with feed.mu held.
func (l *lineFile) add(c *chunk) {
	n := len(l.spans)
	if n == 0 || l.spans[n-1].size >= spanBytes {
		l.spans = append(l.spans, span{first: c.first(), offset: l.added})
		n++
	}
	l.spans[n-1].size += l.end - l.added
	l.added = l.end
}

// span returns the range that holds line n, which is in the file. Called with feed.mu held.
func (l *lineFile) span(n int64) span {
	i := sort.Search(len(l.spans), func(i int) bool { return l.spans[i].first > n })
	return l.spans[i-1]
}

// read returns the lines of a span from number n on.
func (l *lineFile) read(s span, n int64) ([]Line, error) {
	b := make([]byte, s.size)
	if _, err := l.file.ReadAt(b, s.offset); err != nil {
		return nil, err
	}
	var lines []Line
	for number := s.first; len(b) > 0; number++ {
		line, rest, err := readLine(b)
		if err != nil {
			return nil, err
		}
		b = rest
		if line.N = number; number >= n {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

func (l *lineFile) close() {
	l.users.Wait()
	_ = l.file.Close() // the file has no name
}

// appendLine appends the form of a line in a file, without its number.
func appendLine(b []byte, l *Line) []byte {
	b = binary.AppendVarint(b, l.UnixNS)
	for _, s := range []string{string(l.Kind), l.Topic, l.Identity} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendUvarint(b, uint64(len(l.JSON)))
	return append(b, l.JSON...)
}

var errDamaged = errors.New("the file of decoded lines is damaged")

// readLine reads what appendLine appended. The JSON aliases b.
func readLine(b []byte) (l Line, rest []byte, err error) {
	ns, n := binary.Varint(b)
	if n <= 0 {
		return l, nil, errDamaged
	}
	l.UnixNS, b = ns, b[n:]
	var fields [4][]byte
	for i := range fields {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return l, nil, errDamaged
		}
		fields[i], b = b[n:n+int(size):n+int(size)], b[n+int(size):]
	}
	l.Kind, l.Topic, l.Identity = segment.Kind(fields[0]), string(fields[1]), string(fields[2])
	l.JSON = fields[3]
	return l, b, nil
}

package render

import (
	"fmt"
	"io"
	"mime"
	"strconv"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/spool"
)

const (
	// maxFiles bounds the objects of a recording, because the manifest lists all of them and a
	// bucket with millions is unusable.
	maxFiles = 20_000
	// maxInLine is the maximum size of content put into the line of a stream once maxFiles is
	// reached.
	maxInLine = 64 << 10

	typeBytes = "application/octet-stream"
)

// filesView writes the content of streams to files/, and names the file in the line.
type filesView struct {
	out   *Output // nil: files are named, but not written
	names *names
	next  map[string]int // the next number to try for a key in use
	max   int
}

func newFilesView(limit int) *filesView {
	if limit == 0 {
		limit = maxFiles
	}
	return &filesView{names: newNames(), next: map[string]int{}, max: limit}
}

// Begin implements [View].
func (f *filesView) Begin(_ spool.Info, out *Output) error {
	f.out = out
	return nil
}

// Line implements [View]. Once there are too many files, the line holds the content if it is short;
// otherwise the content is left out.
func (f *filesView) Line(l *decode.Line) error {
	m, c := &l.Message, l.Content
	if c == nil {
		return nil
	}
	if f.names.len() >= f.max {
		return f.inLine(m, c)
	}
	key := f.name(m)
	if f.out == nil {
		m.Stream.File = key
		return nil
	}
	ob := f.out.Create(key, contentType(m.Stream), fmt.Sprintf("received file %d", f.names.len()))
	if _, err := io.Copy(writerOnly{ob}, c.Open()); err != nil {
		return wrap(err)
	}
	m.Stream.File = key
	return ob.Close()
}

// End implements [View].
func (*filesView) End(textegress.Manifest) error { return nil }

func (f *filesView) inLine(m *textegress.Message, c *decode.Content) error {
	if c.Size > maxInLine {
		if m.Stream.Complete {
			m.Stream.Complete, m.Stream.Incomplete = false, textegress.StreamFileLimit
			m.Stream.LengthUnit, m.Stream.FirstChunk = "", 0
		}
		return nil
	}
	data, err := io.ReadAll(c.Open())
	if err != nil {
		return wrap(err)
	}
	m.Base64 = data
	return nil
}

// name returns an unused key: a sender can use one stream id and name twice, and a hostile sender
// can choose two names with the same cut form. A key that differs from another only in case or
// normal form gets a hash.
func (f *filesView) name(m *textegress.Message) string {
	key := textegress.FileName(m.Identity, m.Stream.ID, m.Stream.Name)
	if !f.names.has(key) && f.names.taken(key) {
		key += hashMark(key)
	}
	name := key
	for i := max(2, f.next[key]); f.names.taken(name); i++ {
		name = key + "~" + strconv.Itoa(i)
		f.next[key] = i + 1
	}
	f.names.take(name)
	return name
}

// contentType returns the sender's content type, if it is valid.
func contentType(s *textegress.StreamInfo) string {
	t := s.MIMEType
	if s.Encoding != "" || len(t) > 127 || !strings.Contains(t, "/") {
		return typeBytes
	}
	for _, c := range []byte(t) {
		if c < ' ' || c > '~' {
			return typeBytes
		}
	}
	if _, _, err := mime.ParseMediaType(t); err != nil {
		return typeBytes
	}
	return t
}

package export

import (
	"fmt"
	"io"
	"mime"
	"strconv"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
)

const (
	// maxFiles bounds the objects of a recording: a bucket with millions of them is of no use, and the manifest lists all.
	maxFiles = 20_000
	// maxInLine is what is put into the line of a stream when there are no more files.
	maxInLine = 64 << 10

	typeBytes = "application/octet-stream"
)

// files writes the content of streams to files/.
type files struct {
	out   *output
	names map[string]int // keys that are taken, with the number that may make another one of it
	max   int
}

func newFiles(out *output, limit int) *files {
	if limit == 0 {
		limit = maxFiles
	}
	return &files{out: out, names: map[string]int{}, max: limit}
}

// add writes the content of m's stream and names the file in it. Where there are too many files already, the content
// stands in the line if it is short, and is left out otherwise.
func (f *files) add(m *textegress.Message, c *decode.Content) error {
	if len(f.names) >= f.max {
		return f.inLine(m, c)
	}
	key := f.name(m)
	ob, err := f.out.create(key, contentType(m.Stream), fmt.Sprintf("received file %d", len(f.names)))
	if err != nil {
		return err
	}
	if _, err := io.Copy(writerOnly{ob}, c.Open()); err != nil {
		return exportError(err)
	}
	m.Stream.File = key
	return ob.finish()
}

func (f *files) inLine(m *textegress.Message, c *decode.Content) error {
	if c.Size > maxInLine {
		if m.Stream.Complete {
			m.Stream.Complete, m.Stream.Incomplete = false, textegress.StreamFileLimit
			m.Stream.LengthUnit, m.Stream.FirstChunk = "", 0
		}
		return nil
	}
	data, err := io.ReadAll(c.Open())
	if err != nil {
		return exportError(err)
	}
	m.Base64 = data
	return nil
}

// name returns a key that is not taken: a sender can use one stream id and name twice, and a hostile one can make two
// names that are cut to the same.
func (f *files) name(m *textegress.Message) string {
	key := textegress.FileName(m.Identity, m.Stream.ID, m.Stream.Name)
	name := key
	for i := f.names[key]; f.names[name] != 0; i++ {
		name = key + "~" + strconv.Itoa(i)
		f.names[key] = i + 1
	}
	f.names[name] = 2
	return name
}

// contentType returns the type that the sender gave, if it is one.
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

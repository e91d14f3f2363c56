package textegress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
)

// MaxLine is the maximum length in bytes of a line of events.jsonl: a packet has at most 16 MiB,
// and a byte of text takes at most six bytes in JSON.
const MaxLine = 128 << 20

// MaxState is the maximum size in bytes of manifest.json and of the other JSON files of a recording
// that a reader loads into memory.
const MaxState = 256 << 20

// Recording is a delivered recording: the objects below one prefix.
type Recording struct {
	fsys     fs.FS
	manifest Manifest
}

// Open reads manifest.json of the recording whose objects are in fsys, for example the FS of an
// [os.Root] of a downloaded prefix, which follows no symbolic link out of the directory. Open does
// not read the other objects; see Verify.
func Open(fsys fs.FS) (*Recording, error) {
	b, err := ReadObject(fsys, ManifestName, MaxState)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	m, err := DecodeManifest(b)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	return &Recording{fsys: fsys, manifest: m}, nil
}

// ErrNotRegular is returned if the file with the name of an object is not a regular file.
var ErrNotRegular = errors.New("not a regular file")

// OpenObject opens an object of a recording. In a directory whose file system cannot hold every
// name, the object has the path [PortableKey] of its key. If fsys implements [fs.StatFS], files
// that are not regular are not opened: a named pipe would block until a writer opens it, and
// reading a device might never end.
func OpenObject(fsys fs.FS, key string) (fs.File, error) {
	f, err := openRegular(fsys, key)
	// Some file systems report an invalid name, others a missing file.
	if p := PortableKey(key); err != nil && p != key && !errors.Is(err, ErrNotRegular) {
		g, perr := openRegular(fsys, p)
		if perr == nil || errors.Is(perr, ErrNotRegular) {
			return g, perr
		}
	}
	return f, err
}

func openRegular(fsys fs.FS, name string) (fs.File, error) {
	if s, ok := fsys.(fs.StatFS); ok {
		info, err := s.Stat(name)
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s: %w", name, ErrNotRegular)
		}
	}
	return fsys.Open(name)
}

// ReadObject reads an object of at most limit bytes.
func ReadObject(fsys fs.FS, key string, limit int64) ([]byte, error) {
	f, err := OpenObject(fsys, key)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: has more than %d bytes", key, limit)
	}
	return b, nil
}

// Manifest returns the manifest of the recording.
func (r *Recording) Manifest() Manifest { return r.manifest }

// Messages streams events.jsonl. It holds one line in memory, of at most MaxLine
// bytes. An error ends the iteration. It can be called again for a new pass.
func (r *Recording) Messages() iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		f, err := OpenObject(r.fsys, EventsName)
		if err != nil {
			yield(Message{}, fmt.Errorf("read messages: %w", err))
			return
		}
		defer f.Close() // only read
		for m, err := range ReadMessages(f) {
			if !yield(m, err) {
				return
			}
		}
	}
}

// ReadMessages streams the lines of an events.jsonl from r, like Messages. The iteration consumes
// r.
func ReadMessages(r io.Reader) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		br := bufio.NewReaderSize(r, 64<<10)
		var line []byte
		for n := 1; ; n++ {
			var err error
			line, err = readLine(br, line[:0])
			if errors.Is(err, io.EOF) {
				return
			}
			var m Message
			if err == nil {
				err = decodeLine(line, &m)
			}
			if err != nil {
				yield(Message{}, fmt.Errorf("%s, line %d: %w", EventsName, n, err))
				return
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

// readLine appends the next line, without its newline, to line. It returns io.EOF only if there is
// no further line.
func readLine(br *bufio.Reader, line []byte) ([]byte, error) {
	for {
		part, err := br.ReadSlice('\n')
		if len(line)+len(part) > MaxLine+1 {
			return line, fmt.Errorf("longer than %d bytes", MaxLine)
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(line, []byte("\n")), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, io.ErrUnexpectedEOF
		default:
			return line, err
		}
	}
}

func decodeLine(line []byte, m *Message) error {
	return m.UnmarshalJSON(line) // json.Unmarshal would scan the line twice
}

// Verify checks that every object of the manifest is present with its size and SHA-256, and that
// the lines of events.jsonl are numbered 1, 2, 3 … without gaps. The error joins one error for each
// wrong object. progress, which may be nil, is called with the number of bytes of all objects read
// so far. Verify streams, and returns the error of ctx when ctx is done.
func (r *Recording) Verify(ctx context.Context, progress func(done, total int64)) error {
	v := verifier{ctx: ctx, progress: progress}
	listed := false
	for _, o := range r.manifest.Objects {
		v.total += o.Size
		listed = listed || o.Key == EventsName
	}
	var errs []error
	if !listed {
		errs = append(errs, fmt.Errorf("%s: not in the manifest", EventsName))
	}
	for _, o := range r.manifest.Objects {
		if err := v.object(r.fsys, o); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !strings.Contains(err.Error(), o.Key) {
				err = fmt.Errorf("%s: %w", o.Key, err)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

type verifier struct {
	ctx         context.Context
	progress    func(done, total int64)
	done, total int64
}

func (v *verifier) object(fsys fs.FS, o Object) (err error) {
	f, err := OpenObject(fsys, o.Key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	read := &countingReader{r: f, v: v}
	// An object longer than stated may be endless.
	src := io.TeeReader(io.LimitReader(read, o.Size+1), sum)
	var lines error
	if o.Key == EventsName {
		lines = checkLines(src, o)
	}
	if _, err := io.Copy(io.Discard, src); err != nil {
		return err
	}
	switch got := hex.EncodeToString(sum.Sum(nil)); {
	case read.n > o.Size:
		return fmt.Errorf("has more than the %d bytes that the manifest says", o.Size)
	case read.n != o.Size:
		return fmt.Errorf("has %d bytes, the manifest says %d", read.n, o.Size)
	case got != o.SHA256:
		return fmt.Errorf("has SHA-256 %s, the manifest says %s", got, o.SHA256)
	}
	return lines
}

// checkLines checks the numbering of events.jsonl.
func checkLines(r io.Reader, o Object) error {
	n := int64(0)
	for m, err := range ReadMessages(r) {
		if err != nil {
			return err
		}
		if n++; m.N != n {
			return fmt.Errorf("line %d has n %d", n, m.N)
		}
	}
	if o.Messages != nil && *o.Messages != n {
		return fmt.Errorf("has %d lines, the manifest says %d", n, *o.Messages)
	}
	return nil
}

type countingReader struct {
	r io.Reader
	v *verifier
	n int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	if err := c.v.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.v.done += int64(n)
	if c.v.progress != nil && n > 0 {
		c.v.progress(c.v.done, c.v.total)
	}
	return n, err
}

package delivery

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/render"
)

// Staging is a [render.Sink] in the spool, where objects wait to be delivered. Its files are
// numbered, so that no file name contains the name of a participant, and the file system does not
// limit keys. The files are derived data: they are not synced and may vanish at any time. A later
// process must compare checksums before it uses them.
type Staging struct {
	root  *os.Root
	dir   string
	files map[string]string // key to file name
}

const indexName = "index"

// NewStaging creates an empty staging directory at dir and removes any previous one. The parent
// must exist.
func NewStaging(dir string) (*Staging, error) {
	if err := makeEmpty(dir); err != nil {
		return nil, fmt.Errorf("staging: %w", err)
	}
	return openStaging(dir)
}

func makeEmpty(dir string) error {
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close() //nolint:errcheck // nothing was written through it
	if err := parent.RemoveAll(filepath.Base(dir)); err != nil {
		return err
	}
	return parent.Mkdir(filepath.Base(dir), 0o700)
}

func openStaging(dir string) (*Staging, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("staging: %w", err)
	}
	return &Staging{root: root, dir: dir, files: map[string]string{}}, nil
}

// OpenStaging opens an existing staging directory. Its index and files are unverified.
func OpenStaging(dir string) (*Staging, error) {
	s, err := openStaging(dir)
	if err != nil {
		return nil, err
	}
	info, err := s.root.Lstat(indexName)
	if err == nil && !info.Mode().IsRegular() {
		err = durable.ErrNotRegular
	}
	var index []byte
	if err == nil {
		index, err = s.root.ReadFile(indexName)
	}
	if err != nil {
		s.root.Close() //nolint:errcheck // there is an error already
		return nil, fmt.Errorf("staging: %w", err)
	}
	for line := range strings.Lines(string(index)) {
		name, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if key, err := strconv.Unquote(quoted); err == nil && !strings.ContainsAny(name, "/.") {
			s.files[key] = name
		}
	}
	return s, nil
}

// Close releases the directory. The files stay.
func (s *Staging) Close() error { return s.root.Close() }

// Scratch implements [render.Sink].
func (s *Staging) Scratch() (render.Scratch, error) {
	return render.NewScratch(s.root)
}

// Append implements [render.Sink].
func (s *Staging) Append(key string) (io.WriteCloser, error) {
	name, ok := s.files[key]
	flag := os.O_WRONLY | os.O_APPEND
	if !ok {
		name = fmt.Sprintf("%06d", len(s.files)+1)
		flag |= os.O_CREATE | os.O_EXCL
		// The index is written first: a file without an entry is useless, an entry without a file
		// is harmless.
		if err := s.note(name, key); err != nil {
			return nil, err
		}
	}
	f, err := s.root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	s.files[key] = name
	return f, nil
}

func (s *Staging) note(name, key string) error {
	f, err := s.root.OpenFile(indexName, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %s\n", name, strconv.Quote(key))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// Path returns the path of the file that holds the object named key, "" if there is none.
func (s *Staging) Path(key string) string {
	name, ok := s.files[key]
	if !ok {
		return ""
	}
	return filepath.Join(s.dir, name)
}

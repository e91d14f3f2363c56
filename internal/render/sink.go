package render

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/fsname"
)

// Sink takes the objects of one export. Its methods are called by one goroutine at a time; with
// Options.Workers above 1, writers of different objects are used at the same time.
type Sink interface {
	// Append opens the object named key to be written at its end. The first call for a key makes
	// it, empty. Each writer is closed before the object is opened again.
	Append(key string) (io.WriteCloser, error)
	// Scratch makes a file that is no object and lasts no longer than the process, for what is not
	// yet known to be one.
	Scratch() (Scratch, error)
}

// Scratch is a file of a [Sink] that is no object.
type Scratch = decode.Scratch

// scratchIn makes a file in root that has no name any more, so that nothing is left of it whatever
// happens.
func scratchIn(root fsname.Root) (Scratch, error) {
	const name = ".scratch"
	for range 2 { // a process that died between the two steps has left one
		f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			if err := root.Remove(name); err != nil {
				f.Close() //nolint:errcheck // nothing was written
				return nil, err
			}
			return f, nil
		}
		if rerr := root.Remove(name); !errors.Is(err, fs.ErrExist) || rerr != nil {
			return nil, err
		}
	}
	return nil, fs.ErrExist
}

// Directory is a [Sink] that writes each object to the file of that name below a directory, for
// people: for the user alone who runs it (0600, directories 0700). Names never lead out of it. What
// its file system cannot hold has the portable form of the key.
type Directory struct {
	root   sinkRoot
	naming *fsname.Naming // nil: not known yet
	made   map[string]bool
	path   string
	room   *room
}

// sinkRoot is what is needed of an [os.Root].
type sinkRoot interface {
	fsname.Root
	MkdirAll(name string, perm os.FileMode) error
	Close() error
}

// NewDirectory returns the sink for the directory at path, which is made if it is missing.
func NewDirectory(path string) (*Directory, error) {
	parent, base := filepath.Split(filepath.Clean(path))
	if base != "" && base != "." && base != ".." {
		if err := mkdirIn(parent, base, 0o700); err != nil {
			return nil, fmt.Errorf("directory to export to: %w", err)
		}
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("directory to export to: %w", err)
	}
	return &Directory{root: root, made: map[string]bool{}, path: path, room: &room{}}, nil
}

// KeepFree makes writing fail, with an error that wraps spool.ErrDiskLow, where less than so many
// bytes would be left free on the file system.
func (d *Directory) KeepFree(bytes int64) { d.room.check = spaceOn(d.path, bytes) }

// Room returns that error for n bytes that somebody else is about to write there.
func (d *Directory) Room(n int) error { return d.room.take(n) }

// mkdirIn makes the directory base in parent unless it is there.
func mkdirIn(parent, base string, perm os.FileMode) error {
	if parent == "" {
		parent = "."
	}
	root, err := os.OpenRoot(parent)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing was written through it
	return root.MkdirAll(base, perm)
}

// Close releases the directory.
func (d *Directory) Close() error { return d.root.Close() }

// Scratch implements [Sink].
func (d *Directory) Scratch() (Scratch, error) {
	s, err := scratchIn(d.root)
	if err != nil {
		return nil, err
	}
	return roomScratch{s, d.room}, nil
}

// Append implements [Sink]. An object of an earlier export is replaced.
func (d *Directory) Append(key string) (io.WriteCloser, error) {
	if d.naming == nil {
		n, err := fsname.Probe(d.root)
		if err != nil {
			return nil, err
		}
		d.naming = &n
	}
	key = d.naming.Path(key)
	flag := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if !d.made[key] {
		flag |= os.O_TRUNC
		if parent := path.Dir(key); parent != "." {
			if err := d.root.MkdirAll(parent, 0o700); err != nil {
				return nil, err
			}
		}
	}
	f, err := d.root.OpenFile(key, flag, 0o600)
	if err != nil {
		return nil, err
	}
	d.made[key] = true
	return roomWriter{f, d.room}, nil
}

// Staging is a [Sink] in the spool, where objects wait to be delivered. Its files are numbered, so
// no name of a participant ever becomes one, nor does the file system limit names. It is derived
// data: nothing is synced, and it may vanish at any time. Whoever uses it after the process has
// ended compares checksums first.
type Staging struct {
	root  *os.Root
	dir   string
	files map[string]string // key to file name
	room  *room
}

const indexName = "index"

// NewStaging makes an empty staging directory at dir, removing what is there. The parent exists.
func NewStaging(dir string) (*Staging, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("staging: %w", err)
	}
	if err := mkdirIn(filepath.Dir(dir), filepath.Base(dir), 0o700); err != nil {
		return nil, fmt.Errorf("staging: %w", err)
	}
	return openStaging(dir)
}

func openStaging(dir string) (*Staging, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("staging: %w", err)
	}
	return &Staging{root: root, dir: dir, files: map[string]string{}, room: &room{}}, nil
}

// OpenStaging opens a staging directory that was filled before, or returns an error if that is not
// possible. Its index, like everything in it, proves nothing.
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

// CheckRoom has check asked now and then while objects are written; its error ends the export. What
// participants sent compressed can be much larger than the segments.
func (s *Staging) CheckRoom(check func() error) { s.room.check = check }

// Scratch implements [Sink].
func (s *Staging) Scratch() (Scratch, error) {
	f, err := scratchIn(s.root)
	if err != nil {
		return nil, err
	}
	return roomScratch{f, s.room}, nil
}

// Append implements [Sink].
func (s *Staging) Append(key string) (io.WriteCloser, error) {
	name, ok := s.files[key]
	flag := os.O_WRONLY | os.O_APPEND
	if !ok {
		name = fmt.Sprintf("%06d", len(s.files)+1)
		flag |= os.O_CREATE | os.O_EXCL
		// The index is written first: a file that it lacks would be useless, an entry without a
		// file is harmless.
		if err := s.note(name, key); err != nil {
			return nil, err
		}
	}
	f, err := s.root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	s.files[key] = name
	return roomWriter{f, s.room}, nil
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

// Path returns the file that holds the object named key, "" if there is none.
func (s *Staging) Path(key string) string {
	name, ok := s.files[key]
	if !ok {
		return ""
	}
	return filepath.Join(s.dir, name)
}

// oneAtATime is a Sink for several goroutines.
type oneAtATime struct {
	mu   sync.Mutex
	sink Sink
}

func (s *oneAtATime) Append(key string) (io.WriteCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sink.Append(key)
}

func (s *oneAtATime) Scratch() (Scratch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sink.Scratch()
}

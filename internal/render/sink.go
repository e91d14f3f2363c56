package render

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/syncflow/textegress/internal/decode"
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

// NewScratch makes a file in root that has no name any more, so that nothing is left of it whatever
// happens.
func NewScratch(root fsname.Root) (Scratch, error) {
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
	return &Directory{root: root, made: map[string]bool{}}, nil
}

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
func (d *Directory) Scratch() (Scratch, error) { return NewScratch(d.root) }

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
	return f, nil
}

// lockedSink is a [Sink] for several goroutines.
type lockedSink struct {
	mu   sync.Mutex
	sink Sink
}

func (s *lockedSink) Append(key string) (io.WriteCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sink.Append(key)
}

func (s *lockedSink) Scratch() (Scratch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sink.Scratch()
}

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

// Sink receives the objects of one export. Its methods are called by one goroutine at a time. With
// Options.Workers above 1, writers of different objects are used concurrently.
type Sink interface {
	// Append opens the object named key for appending. The first call for a key creates it, empty.
	// Each writer is closed before the object is opened again.
	Append(key string) (io.WriteCloser, error)
	// Scratch creates a temporary file that is not an object and disappears with the process.
	Scratch() (Scratch, error)
}

// Scratch is a temporary file of a [Sink].
type Scratch = decode.Scratch

// NewScratch creates a file in root and removes its name, so that nothing remains of it, even after
// a crash.
func NewScratch(root fsname.Root) (Scratch, error) {
	const name = ".scratch"
	for range 2 { // a process killed between the two steps left a file behind
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

// Directory is a [Sink] that writes each object to the file of that name below a directory. Only
// the current user can read it (files 0600, directories 0700). No name leads out of the directory.
// If its file system cannot hold a name, the file has the portable form of the key.
type Directory struct {
	root   sinkRoot
	naming *fsname.Naming // nil until determined
	made   map[string]bool
}

// sinkRoot is the part of [os.Root] that Directory needs.
type sinkRoot interface {
	fsname.Root
	MkdirAll(name string, perm os.FileMode) error
	Close() error
}

// NewDirectory returns a sink for the directory at path, which it creates if necessary.
func NewDirectory(path string) (*Directory, error) {
	parent, base := filepath.Split(filepath.Clean(path))
	if base != "" && base != "." && base != ".." {
		if err := mkdirIn(parent, base, 0o700); err != nil {
			return nil, fmt.Errorf("output directory: %w", err)
		}
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("output directory: %w", err)
	}
	return &Directory{root: root, made: map[string]bool{}}, nil
}

// mkdirIn creates the directory base in parent unless it exists.
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

// lockedSink is a [Sink] that is safe for concurrent use.
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

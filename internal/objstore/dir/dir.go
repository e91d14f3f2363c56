// Package dir stores objects in a directory, for a laboratory without Internet access or a share
// that another system collects. A key is the path of a file below the directory.
package dir

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/syncflow/textegress/internal/fsname"
	"github.com/syncflow/textegress/internal/objstore"
)

// Bucket stores objects as files below one directory, and never outside it, regardless of keys and
// symbolic links. Only its own user can read the files (0600) and directories (0700) that it
// creates. It is safe for concurrent use, also by several processes.
//
// Before its first use of a key, the bucket probes which names the directory's file system
// supports; see package fsname. If the file system does not support every name, the files have the
// portable forms of the keys. Lookups try both forms, because a file may have been copied from
// another file system.
type Bucket struct {
	root Root
	path string

	mu      sync.Mutex
	naming  *fsname.Naming  // nil: not known yet
	problem error           // result of the latest probe
	making  map[string]bool // temporary files that are being written
}

// Root is the part of [os.Root] that a bucket needs.
type Root interface {
	fsname.Root
	Stat(name string) (os.FileInfo, error)
	Rename(oldname, newname string) error
	FS() fs.FS
	Close() error
}

var _ objstore.Bucket = (*Bucket)(nil)

// New returns the bucket in the directory at path. It creates a missing directory but not its
// parents: an unmounted share must not be mistaken for an empty one.
func New(path string) (*Bucket, error) {
	if err := mkdir(path); err != nil {
		return nil, unusable("make", path, err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, unusable("open", path, err)
	}
	return On(root, path), nil
}

// On returns the bucket in the directory root, for tests of file systems that do not support every
// name. path is its name in messages.
func On(root Root, path string) *Bucket {
	return &Bucket{root: root, path: path, making: map[string]bool{}}
}

// unusable names the directory in full, because a relative one depends on where the service was
// started.
func unusable(op, path string, err error) error {
	if abs, aerr := filepath.Abs(path); aerr == nil {
		path = abs
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("%s the directory %s: %w; it must be writable for the user that runs "+
		"textegress, and the directory above it must exist", op, path, err)
}

func mkdir(path string) error {
	parent, base := filepath.Split(filepath.Clean(path))
	if base == "" || base == "." || base == ".." {
		return nil // the root of the file system or a working directory: it exists
	}
	if parent == "" {
		parent = "."
	}
	root, err := os.OpenRoot(parent)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing was written through it
	if err := root.Mkdir(base, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Check probes again which names the file system supports. It returns an error if these do not
// include the names of recordings, or if the directory is not writable.
func (b *Bucket) Check() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := fsname.Probe(b.root)
	if b.problem = b.wrap("upload", "", err); err != nil {
		return b.problem
	}
	b.naming = &n
	return nil
}

// IsPortable reports whether files have the portable forms of keys, as far as known.
func (b *Bucket) IsPortable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.naming != nil && *b.naming == fsname.Portable
}

// Problem returns the result of the latest [Bucket.Check] or use of the directory, or nil if the
// directory supports the names.
func (b *Bucket) Problem() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.problem
}

// names returns the mapping of keys to paths. It probes the directory if the mapping is not known
// yet.
func (b *Bucket) names() (fsname.Naming, error) {
	b.mu.Lock()
	n := b.naming
	b.mu.Unlock()
	if n == nil {
		if err := b.Check(); err != nil {
			return fsname.Naming{}, err
		}
		b.mu.Lock()
		n = b.naming
		b.mu.Unlock()
	}
	return *n, nil
}

// find returns the path of the file under a key. It tries both forms even if the directory is not
// writable and names cannot be probed.
func (b *Bucket) find(key string) (string, error) {
	n, _ := b.names() //nolint:errcheck // see above
	p, ok := n.Find(b.root, key)
	if !ok {
		return "", fs.ErrNotExist
	}
	return p, nil
}

// Close releases the directory. The bucket must not be used afterwards.
func (b *Bucket) Close() error { return b.root.Close() }

// String returns "directory" and the path.
func (b *Bucket) String() string { return "directory " + b.path }

// Upload implements [objstore.Bucket]. It writes under a temporary name, compares size and
// checksum, fsyncs, closes and renames the file, and fsyncs the directory. Before that, it creates
// missing parent directories and fsyncs their parents.
func (b *Bucket) Upload(ctx context.Context, key string, o objstore.Object) (err error) {
	if err := objstore.CheckKey(key); err != nil {
		return objstore.BadKey("upload", b.String(), key, err)
	}
	if err := ctx.Err(); err != nil {
		return b.fail("upload", key, err)
	}
	naming, err := b.names()
	if err != nil {
		return b.fail("upload", key, err)
	}
	target := naming.Path(key)
	parent := path.Dir(target)
	if err := b.mkdirAll(parent); err != nil {
		return b.fail("upload", key, err)
	}
	src, err := o.Open()
	if err != nil {
		return b.fail("upload", key, fmt.Errorf("open the content: %w", err))
	}
	defer src.Close() //nolint:errcheck // reading only

	temp := path.Join(parent, fsname.TempPrefix+rand.Text()+fsname.TempSuffix)
	b.make(temp, true)
	defer b.make(temp, false)
	f, err := b.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return b.fail("upload", key, err)
	}
	defer func() {
		if err != nil {
			f.Close()           //nolint:errcheck // failed already
			b.root.Remove(temp) //nolint:errcheck // best effort; the name marks it as temporary
		}
	}()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), &ctxReader{ctx, src})
	if err != nil {
		return b.fail("upload", key, err)
	}
	if n != o.Size || (o.SHA256 != "" && hex.EncodeToString(h.Sum(nil)) != o.SHA256) {
		return b.fail("upload", key, errContent)
	}
	if err := f.Sync(); err != nil {
		return b.fail("upload", key, err)
	}
	if err := f.Close(); err != nil {
		return b.fail("upload", key, err)
	}
	if err := b.root.Rename(temp, target); err != nil {
		return b.fail("upload", key, err)
	}
	return b.wrap("upload", key, b.syncDir(parent))
}

var errContent = errors.New("the content does not have the announced size and SHA-256")

// mkdirAll is MkdirAll with an fsync of every parent in which it creates a directory.
func (b *Bucket) mkdirAll(dir string) error {
	if dir == "." {
		return nil
	}
	if fi, err := b.root.Stat(dir); err == nil && fi.IsDir() {
		return nil
	}
	parent := path.Dir(dir)
	if err := b.mkdirAll(parent); err != nil {
		return err
	}
	if err := b.root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return b.syncDir(parent)
}

func (b *Bucket) syncDir(dir string) error {
	d, err := b.root.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	// Network file systems without fsync of directories return EINVAL; nothing more can be done
	// there.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// Stat implements [objstore.Bucket]. A directory computes no checksum.
func (b *Bucket) Stat(ctx context.Context, key string) (objstore.Attrs, error) {
	if err := objstore.CheckKey(key); err != nil {
		return objstore.Attrs{}, objstore.BadKey("stat", b.String(), key, err)
	}
	if err := ctx.Err(); err != nil {
		return objstore.Attrs{}, b.fail("stat", key, err)
	}
	p, err := b.find(key)
	if err != nil {
		return objstore.Attrs{}, b.fail("stat", key, err)
	}
	fi, err := b.root.Stat(p)
	if err != nil {
		return objstore.Attrs{}, b.fail("stat", key, err)
	}
	if !fi.Mode().IsRegular() {
		return objstore.Attrs{}, b.fail("stat", key, fs.ErrNotExist)
	}
	return objstore.Attrs{Key: key, Size: fi.Size()}, nil
}

// Open implements [objstore.Bucket].
func (b *Bucket) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := objstore.CheckKey(key); err != nil {
		return nil, objstore.BadKey("open", b.String(), key, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, b.fail("open", key, err)
	}
	p, err := b.find(key)
	if err != nil {
		return nil, b.fail("open", key, err)
	}
	// Without O_NONBLOCK, opening a named pipe would block.
	f, err := b.root.OpenFile(p, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, b.fail("open", key, err)
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close() //nolint:errcheck // reading only
		return nil, b.fail("open", key, errors.Join(err, fs.ErrNotExist))
	}
	return &reader{b, ctx, key, f}, nil
}

type reader struct {
	b   *Bucket
	ctx context.Context
	key string
	f   *os.File
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, r.b.fail("read", r.key, err)
	}
	n, err := r.f.Read(p)
	if err != nil && err != io.EOF {
		err = r.b.fail("read", r.key, err)
	}
	return n, err
}

func (r *reader) Close() error { return r.f.Close() }

// Delete implements [objstore.Bucket]. It does not remove directories.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := objstore.CheckKey(key); err != nil {
		return objstore.BadKey("delete", b.String(), key, err)
	}
	if err := ctx.Err(); err != nil {
		return b.fail("delete", key, err)
	}
	for range 2 { // a file may exist under each form of the key
		p, err := b.find(key)
		if err == nil {
			err = b.root.Remove(p)
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return nil
		}
		if err == nil {
			err = b.syncDir(path.Dir(p))
		}
		if err != nil {
			return b.fail("delete", key, err)
		}
	}
	return nil
}

func (b *Bucket) wrap(op, key string, err error) error {
	if err == nil {
		return nil
	}
	return b.fail(op, key, err)
}

func (b *Bucket) fail(op, key string, err error) *objstore.Error {
	// an error of the probe for names
	if known, ok := errors.AsType[*objstore.Error](err); ok {
		e := *known
		e.Op, e.Key = op, key
		return &e
	}
	e := &objstore.Error{Op: op, Bucket: b.String(), Key: key, Cause: cause(err), Err: err}
	if _, ok := errors.AsType[*fsname.Error](err); ok {
		e.Cause, e.Permanent = err.Error(), true
		e.Remedy = "deliver to a directory on another file system, or mount this one so that it " +
			"takes UTF-8 names of 255 bytes"
		return e
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && op != "upload":
		e.NotFound, e.Permanent = true, true
	case errors.Is(err, syscall.ENOTDIR) && op != "upload":
		e.NotFound, e.Permanent = true, true
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Permanent, e.Remedy = true, "make room on that file system"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e.Permanent, e.Remedy = true, "give the service's user the right to write there"
	case errors.Is(err, syscall.ENAMETOOLONG):
		e.Permanent, e.Remedy = true, "deliver to a file system which allows names of 255 bytes"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR),
		errors.Is(err, fs.ErrExist):
		e.Permanent, e.Remedy = true, "a file and a directory have the same name there: move one "+
			"of them away"
	}
	return e
}

// cause returns the text of err without the path in it.
func cause(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Op + ": " + pe.Err.Error()
	}
	if le, ok := errors.AsType[*os.LinkError](err); ok {
		return le.Op + ": " + le.Err.Error()
	}
	return err.Error()
}

// ctxReader ends a long copy when its context ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

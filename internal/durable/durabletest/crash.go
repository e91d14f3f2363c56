package durabletest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/syncflow/textegress/internal/durable"
)

// ErrCrashed is the result of every call after the crash.
var ErrCrashed = errors.New("the machine has crashed")

// CrashFS is an in-memory file system that tracks the data that would survive a power failure: the
// content of a file as of its last Sync, and the names in a directory as of its last SyncDir. It is
// stricter than real file systems, which sync more than they must.
type CrashFS struct {
	mu      sync.Mutex
	root    *node
	ops     int
	crashAt int // the operation that crashes, counted from 1; 0: none
	torn    int // number of bytes that a crashing write writes
	crashed bool
	locked  map[string]bool
	// capacity is the maximum total size of all files in bytes; 0: no limit.
	capacity int64
}

// node is a file or, if entries is not nil, a directory.
type node struct {
	data, synced     []byte
	entries, durable map[string]*node
}

func newDir() *node {
	return &node{entries: map[string]*node{}, durable: map[string]*node{}}
}

// NewCrashFS returns an empty file system that crashes at the crashAt-th modifying operation. That
// operation has no effect (a write writes only its first torn bytes), and every later call fails.
// If crashAt is 0, the file system never crashes.
func NewCrashFS(crashAt, torn int) *CrashFS {
	return &CrashFS{root: newDir(), crashAt: crashAt, torn: torn, locked: map[string]bool{}}
}

// SetCapacity limits the size of the file system in bytes. A write that does not fit writes the
// bytes that do and fails with ENOSPC. 0 means no limit. Names take no space.
func (c *CrashFS) SetCapacity(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.capacity = bytes
}

// Used returns the total size of all files in bytes.
func (c *CrashFS) Used() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return used(c.root)
}

func used(n *node) int64 {
	sum := int64(len(n.data))
	for _, e := range n.entries {
		sum += used(e)
	}
	return sum
}

// room returns how many of n more bytes fit. Called with mu held.
func (c *CrashFS) room(n int) int {
	if c.capacity == 0 {
		return n
	}
	return int(min(int64(n), max(c.capacity-used(c.root), 0)))
}

// Space implements [durable.FS].
func (c *CrashFS) Space(op, name string) (durable.Space, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.existing(op, name); err != nil {
		return durable.Space{}, err
	}
	if c.capacity == 0 {
		return durable.Space{Free: 1 << 50, Total: 1 << 50}, nil
	}
	return durable.Space{Free: uint64(max(c.capacity-used(c.root), 0)), Total: uint64(c.capacity)},
		nil
}

// Crashed reports whether the file system has crashed.
func (c *CrashFS) Crashed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.crashed
}

// Restart returns the state after a reboot, as a file system that does not crash. With a nil rng,
// exactly the synced data survives. Otherwise each file and directory randomly has its synced or
// its last content. A file may also have part of the data appended after its last sync, or zeros in
// its place.
func (c *CrashFS) Restart(rng *rand.Rand) *CrashFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	after := NewCrashFS(0, 0)
	after.root = survive(c.root, rng, map[*node]*node{})
	return after
}

// Killed returns the state after the death of the process without a power failure, as a file system
// that does not crash: all written data, synced or not. Unsynced data stays unsynced.
func (c *CrashFS) Killed() *CrashFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	after := NewCrashFS(0, 0)
	after.root = clone(c.root, map[*node]*node{})
	return after
}

func clone(n *node, seen map[*node]*node) *node {
	if s := seen[n]; s != nil {
		return s
	}
	s := &node{data: slices.Clone(n.data), synced: slices.Clone(n.synced)}
	seen[n] = s
	if n.entries != nil {
		s.entries, s.durable = map[string]*node{}, map[string]*node{}
		for name, e := range n.entries {
			s.entries[name] = clone(e, seen)
		}
		for name, e := range n.durable {
			s.durable[name] = clone(e, seen)
		}
	}
	return s
}

// survive copies the surviving part of n. It copies a node that is in two directories once.
func survive(n *node, rng *rand.Rand, seen map[*node]*node) *node {
	if s := seen[n]; s != nil {
		return s
	}
	if n.entries == nil {
		data := surviveFile(n, rng)
		s := &node{data: data, synced: slices.Clone(data)}
		seen[n] = s
		return s
	}
	entries := n.durable
	if rng != nil && rng.IntN(2) == 0 {
		entries = n.entries
	}
	s := newDir()
	seen[n] = s
	// sorted: the same seed gives the same result
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		s.entries[name] = survive(entries[name], rng, seen)
	}
	s.durable = maps.Clone(s.entries)
	return s
}

func surviveFile(n *node, rng *rand.Rand) []byte {
	if rng == nil {
		return slices.Clone(n.synced)
	}
	grown := len(n.data) > len(n.synced) && bytes.HasPrefix(n.data, n.synced)
	switch choice := rng.IntN(4); {
	case choice == 0:
		return slices.Clone(n.synced)
	case choice == 1 && grown:
		return slices.Clone(n.data[:len(n.synced)+rng.IntN(len(n.data)-len(n.synced))])
	case choice == 2 && grown:
		return append(slices.Clone(n.synced), make([]byte, len(n.data)-len(n.synced))...)
	}
	return slices.Clone(n.data)
}

// change counts an operation. It returns ErrCrashed for the crashing operation and every later one.
// Called with mu held.
func (c *CrashFS) change() error {
	if c.crashed {
		return ErrCrashed
	}
	c.ops++
	if c.ops == c.crashAt {
		c.crashed = true
		return ErrCrashed
	}
	return nil
}

// find returns the directory that contains name, its last element, and its node, nil if name does
// not exist.
func (c *CrashFS) find(op, name string) (dir *node, base string, n *node, err error) {
	if c.crashed {
		return nil, "", nil, ErrCrashed
	}
	parts := strings.Split(strings.Trim(filepath.ToSlash(filepath.Clean(name)), "/"), "/")
	dir = c.root
	for _, p := range parts[:len(parts)-1] {
		if dir = dir.entries[p]; dir == nil || dir.entries == nil {
			return nil, "", nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
	}
	base = parts[len(parts)-1]
	if base == "" || base == "." {
		return dir, base, dir, nil
	}
	return dir, base, dir.entries[base], nil
}

func (c *CrashFS) existing(op, name string) (*node, error) {
	_, _, n, err := c.find(op, name)
	if err == nil && n == nil {
		err = &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, err
}

// Create implements [durable.FS].
func (c *CrashFS) Create(op, name string) (durable.File, error) {
	n := &node{}
	if err := c.add(op, name, n); err != nil {
		return nil, err
	}
	return &crashFile{fs: c, node: n}, nil
}

// Mkdir implements [durable.FS].
func (c *CrashFS) Mkdir(op, name string) error { return c.add(op, name, newDir()) }

func (c *CrashFS) add(op, name string, n *node) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, base, old, err := c.find(op, name)
	if err != nil {
		return err
	}
	if old != nil {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrExist}
	}
	if err := c.change(); err != nil {
		return err
	}
	dir.entries[base] = n
	return nil
}

// Open implements [durable.FS].
func (c *CrashFS) Open(op, name string) (durable.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.existing(op, name)
	if err != nil {
		return nil, err
	}
	return &crashFile{fs: c, node: n}, nil
}

// OpenWrite implements [durable.FS].
func (c *CrashFS) OpenWrite(op, name string) (durable.File, error) { return c.Open(op, name) }

// ReadFile implements [durable.FS].
func (c *CrashFS) ReadFile(op, name string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.existing(op, name)
	if err != nil {
		return nil, err
	}
	return slices.Clone(n.data), nil
}

type dirEntry struct {
	name string
	dir  bool
}

func (e dirEntry) Name() string               { return e.name }
func (e dirEntry) IsDir() bool                { return e.dir }
func (e dirEntry) Info() (fs.FileInfo, error) { return e, nil }
func (e dirEntry) Size() int64                { return 0 }
func (e dirEntry) Mode() fs.FileMode          { return e.Type() }
func (e dirEntry) ModTime() time.Time         { return time.Time{} }
func (e dirEntry) Sys() any                   { return nil }
func (e dirEntry) Type() fs.FileMode {
	if e.dir {
		return fs.ModeDir
	}
	return 0
}

// ReadDir implements [durable.FS].
func (c *CrashFS) ReadDir(op, name string) ([]fs.DirEntry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.existing(op, name)
	if err != nil {
		return nil, err
	}
	var list []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		list = append(list, dirEntry{name, n.entries[name].entries != nil})
	}
	return list, nil
}

// Exists implements [durable.FS].
func (c *CrashFS) Exists(op, name string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.existing(op, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Rename implements [durable.FS].
func (c *CrashFS) Rename(op, oldname, newname string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.existing(op, oldname)
	if err != nil {
		return err
	}
	to, base, old, err := c.find(op, newname)
	if err != nil {
		return err
	}
	if old != nil && old.entries != nil {
		return &fs.PathError{Op: op, Path: newname, Err: fs.ErrExist}
	}
	if err := c.change(); err != nil {
		return err
	}
	from, oldBase, _, err := c.find(op, oldname)
	if err != nil {
		return err
	}
	delete(from.entries, oldBase)
	to.entries[base] = n
	return nil
}

// Remove implements [durable.FS].
func (c *CrashFS) Remove(op, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.existing(op, name)
	if err != nil {
		return err
	}
	if len(n.entries) > 0 {
		return &fs.PathError{Op: op, Path: name, Err: errors.New("directory not empty")}
	}
	return c.remove(op, name)
}

// RemoveAll implements [durable.FS]; the tree is removed atomically.
func (c *CrashFS) RemoveAll(op, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.existing(op, name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return c.remove(op, name)
}

func (c *CrashFS) remove(op, name string) error {
	if err := c.change(); err != nil {
		return err
	}
	dir, base, _, err := c.find(op, name)
	if err == nil {
		delete(dir.entries, base)
	}
	return err
}

// SyncDir implements [durable.FS].
func (c *CrashFS) SyncDir(op, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.existing(op, name)
	if err != nil {
		return err
	}
	if err := c.change(); err != nil {
		return err
	}
	n.durable = maps.Clone(n.entries)
	return nil
}

// Lock implements [durable.FS]; a restart releases all locks.
func (c *CrashFS) Lock(_, name string) (io.Closer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.crashed {
		return nil, ErrCrashed
	}
	if c.locked[name] {
		return nil, &durable.LockedError{Path: name}
	}
	c.locked[name] = true
	return crashLock{c, name}, nil
}

type crashLock struct {
	fs   *CrashFS
	name string
}

func (l crashLock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	delete(l.fs.locked, l.name)
	return nil
}

type crashFile struct {
	fs   *CrashFS
	node *node
	pos  int
}

func (f *crashFile) Read(b []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.crashed {
		return 0, ErrCrashed
	}
	if f.pos >= len(f.node.data) {
		return 0, io.EOF
	}
	n := copy(b, f.node.data[f.pos:])
	f.pos += n
	return n, nil
}

func (f *crashFile) Write(b []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	already := f.fs.crashed
	if err := f.fs.change(); err != nil {
		if already {
			return 0, err
		}
		n := min(f.fs.torn, len(b))
		f.node.data = append(f.node.data, b[:n]...)
		return n, err
	}
	if n := f.fs.room(len(b)); n < len(b) {
		f.node.data = append(f.node.data, b[:n]...)
		return n, syscall.ENOSPC
	}
	f.node.data = append(f.node.data, b...)
	return len(b), nil
}

// Allocate implements [durable.File]; it is all or nothing, as fallocate(2) usually is.
func (f *crashFile) Allocate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.change(); err != nil {
		return err
	}
	if f.fs.room(int(size)) < int(size) {
		return syscall.ENOSPC
	}
	f.node.data = append(f.node.data, make([]byte, size)...)
	return nil
}

func (f *crashFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.change(); err != nil {
		return err
	}
	if size > int64(len(f.node.data)) {
		return fmt.Errorf("truncate beyond the end")
	}
	f.node.data = slices.Clone(f.node.data[:size])
	return nil
}

// StartSync implements [durable.File]; callers must not rely on its effect.
func (f *crashFile) StartSync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.fs.change()
}

func (f *crashFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.change(); err != nil {
		return err
	}
	f.node.synced = slices.Clone(f.node.data)
	return nil
}

func (f *crashFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.node.data)), nil
}

func (f *crashFile) Close() error { return nil }

// Package durabletest provides file systems for tests: one that fails on demand, and one that loses
// unsynced data.
package durabletest

import (
	"io"
	"io/fs"

	"github.com/syncflow/textegress/internal/durable"
)

// Call is one call of a durable.FS or of a File.
type Call struct {
	// Label is the label of the call site. A File keeps the label with which it was opened.
	Label string
	// Name is the method in lower case: "create", "write", "sync", "syncdir" …
	Name string
	Path string
}

// Fault passes every call to FS unless Hook returns an error, which Fault then returns. A failing
// write still writes short bytes; any other failing call has no effect. A nil Hook does nothing.
type Fault struct {
	FS   durable.FS
	Hook func(Call) (short int, err error)
}

var _ durable.FS = (*Fault)(nil)

func (f *Fault) hook(label, name, path string) error {
	_, err := f.short(label, name, path)
	return err
}

func (f *Fault) short(label, name, path string) (int, error) {
	if f.Hook == nil {
		return 0, nil
	}
	return f.Hook(Call{label, name, path})
}

type faultFile struct {
	durable.File
	fs          *Fault
	label, path string
}

func (f *Fault) file(label, name, path string, open func(string, string) (durable.File, error)) (
	durable.File, error,
) {
	if err := f.hook(label, name, path); err != nil {
		return nil, err
	}
	file, err := open(label, path)
	if err != nil {
		return nil, err
	}
	return &faultFile{file, f, label, path}, nil
}

// Create implements [durable.FS].
func (f *Fault) Create(op, name string) (durable.File, error) {
	return f.file(op, "create", name, f.FS.Create)
}

// Open implements [durable.FS].
func (f *Fault) Open(op, name string) (durable.File, error) {
	return f.file(op, "open", name, f.FS.Open)
}

// OpenWrite implements [durable.FS].
func (f *Fault) OpenWrite(op, name string) (durable.File, error) {
	return f.file(op, "openwrite", name, f.FS.OpenWrite)
}

// ReadFile implements [durable.FS].
func (f *Fault) ReadFile(op, name string) ([]byte, error) {
	if err := f.hook(op, "readfile", name); err != nil {
		return nil, err
	}
	return f.FS.ReadFile(op, name)
}

// ReadDir implements [durable.FS].
func (f *Fault) ReadDir(op, name string) ([]fs.DirEntry, error) {
	if err := f.hook(op, "readdir", name); err != nil {
		return nil, err
	}
	return f.FS.ReadDir(op, name)
}

// Exists implements [durable.FS].
func (f *Fault) Exists(op, name string) (bool, error) {
	if err := f.hook(op, "exists", name); err != nil {
		return false, err
	}
	return f.FS.Exists(op, name)
}

// Mkdir implements [durable.FS].
func (f *Fault) Mkdir(op, name string) error {
	if err := f.hook(op, "mkdir", name); err != nil {
		return err
	}
	return f.FS.Mkdir(op, name)
}

// Rename implements [durable.FS].
func (f *Fault) Rename(op, oldname, newname string) error {
	if err := f.hook(op, "rename", newname); err != nil {
		return err
	}
	return f.FS.Rename(op, oldname, newname)
}

// Remove implements [durable.FS].
func (f *Fault) Remove(op, name string) error {
	if err := f.hook(op, "remove", name); err != nil {
		return err
	}
	return f.FS.Remove(op, name)
}

// RemoveAll implements [durable.FS].
func (f *Fault) RemoveAll(op, name string) error {
	if err := f.hook(op, "removeall", name); err != nil {
		return err
	}
	return f.FS.RemoveAll(op, name)
}

// SyncDir implements [durable.FS].
func (f *Fault) SyncDir(op, name string) error {
	if err := f.hook(op, "syncdir", name); err != nil {
		return err
	}
	return f.FS.SyncDir(op, name)
}

// Space implements [durable.FS].
func (f *Fault) Space(op, name string) (durable.Space, error) {
	if err := f.hook(op, "space", name); err != nil {
		return durable.Space{}, err
	}
	return f.FS.Space(op, name)
}

// Lock implements [durable.FS].
func (f *Fault) Lock(op, name string) (io.Closer, error) {
	if err := f.hook(op, "lock", name); err != nil {
		return nil, err
	}
	return f.FS.Lock(op, name)
}

func (f *faultFile) Read(b []byte) (int, error) {
	if err := f.fs.hook(f.label, "read", f.path); err != nil {
		return 0, err
	}
	return f.File.Read(b)
}

func (f *faultFile) Write(b []byte) (int, error) {
	short, err := f.fs.short(f.label, "write", f.path)
	if err == nil {
		return f.File.Write(b)
	}
	n := 0
	if short > 0 {
		n, _ = f.File.Write(b[:min(short, len(b))])
	}
	return n, err
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.fs.hook(f.label, "truncate", f.path); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultFile) Allocate(size int64) error {
	if err := f.fs.hook(f.label, "allocate", f.path); err != nil {
		return err
	}
	return f.File.Allocate(size)
}

func (f *faultFile) StartSync() error {
	if err := f.fs.hook(f.label, "startsync", f.path); err != nil {
		return err
	}
	return f.File.StartSync()
}

func (f *faultFile) Sync() error {
	if err := f.fs.hook(f.label, "sync", f.path); err != nil {
		return err
	}
	return f.File.Sync()
}

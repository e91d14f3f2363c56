package diskguard

import "github.com/syncflow/textegress/internal/durable"

// FS returns the guarded file system: it records every operation that finds no space, so that the
// next Writable, Admit or Status takes it into account, regardless of the writer.
func (g *Guard) FS() durable.FS {
	if g.minFree == 0 {
		return g.fs
	}
	return watchedFS{g.fs, g}
}

// observe returns err, and sets noticed if err is that of a full disk.
func (g *Guard) observe(err error) error {
	if err != nil && IsFull(err) {
		g.noticed.Store(true)
	}
	return err
}

type watchedFS struct {
	durable.FS
	g *Guard
}

// Create implements [durable.FS].
func (w watchedFS) Create(op, name string) (durable.File, error) {
	return w.file(w.FS.Create(op, name))
}

// OpenWrite implements [durable.FS].
func (w watchedFS) OpenWrite(op, name string) (durable.File, error) {
	return w.file(w.FS.OpenWrite(op, name))
}

func (w watchedFS) file(f durable.File, err error) (durable.File, error) {
	if err != nil {
		return nil, w.g.observe(err)
	}
	return watchedFile{f, w.g}, nil
}

// Mkdir implements [durable.FS].
func (w watchedFS) Mkdir(op, name string) error { return w.g.observe(w.FS.Mkdir(op, name)) }

// Rename implements [durable.FS].
func (w watchedFS) Rename(op, oldname, newname string) error {
	return w.g.observe(w.FS.Rename(op, oldname, newname))
}

// SyncDir implements [durable.FS].
func (w watchedFS) SyncDir(op, name string) error { return w.g.observe(w.FS.SyncDir(op, name)) }

type watchedFile struct {
	durable.File
	g *Guard
}

// Write implements [durable.File].
func (f watchedFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	return n, f.g.observe(err)
}

// Allocate implements [durable.File].
func (f watchedFile) Allocate(size int64) error { return f.g.observe(f.File.Allocate(size)) }

// StartSync implements [durable.File].
func (f watchedFile) StartSync() error { return f.g.observe(f.File.StartSync()) }

// Sync implements [durable.File].
func (f watchedFile) Sync() error { return f.g.observe(f.File.Sync()) }

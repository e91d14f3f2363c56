package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// TempSuffix is the suffix of a file that WriteFileOnce or ReplaceFile has not finished. A crash
// may leave such a file, which can be ignored.
const TempSuffix = ".tmp"

// WriteFileOnce creates the file path with the content data. When it returns nil, file and name
// survive a power failure; when it returns an error, the file is either absent or complete, and may
// or may not survive a power failure. A reader never sees part of it. If the file exists with the
// same bytes, WriteFileOnce makes it durable, in case a crash prevented that, and returns nil; if
// it exists with other bytes, WriteFileOnce leaves it and returns an error that wraps fs.ErrExist.
//
// The system calls, in a directory that exists durably:
//
//	openat(path.tmp, O_CREAT|O_EXCL), write, fdatasync, close
//	renameat(path.tmp, path)
//	openat(dir), fsync, close
//
// Only one caller at a time may write the same path: the rename would replace a file that was
// created in between. Between processes, the lock of the data directory ensures this.
func WriteFileOnce(fsys FS, op, path string, data []byte) error {
	if err := writeFileOnce(fsys, op, path, data); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

func writeFileOnce(fsys FS, op, path string, data []byte) error {
	dir := filepath.Dir(path)
	old, err := fsys.ReadFile(op, path)
	switch {
	case err == nil && bytes.Equal(old, data):
		return fsys.SyncDir(op, dir)
	case err == nil:
		return fmt.Errorf("%w with other content", fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return replace(fsys, op, path, data)
}

// ReplaceFile is like WriteFileOnce, but replaces an existing file. When it returns nil, the new
// content is durable. After an error, the file has either the old or the new content, never part of
// either.
func ReplaceFile(fsys FS, op, path string, data []byte) error {
	if err := replace(fsys, op, path, data); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

func replace(fsys FS, op, path string, data []byte) error {
	tmp := path + TempSuffix
	if err := fsys.Remove(op, tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(op, tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.Rename(op, tmp, path)
	}
	if err != nil {
		// A leftover is harmless; the next call removes it.
		_ = fsys.Remove(op, tmp)
		return err
	}
	return fsys.SyncDir(op, filepath.Dir(path))
}

// MkdirAll creates the directory path with all its parents and makes every new name durable. It
// succeeds if the directory exists, and then makes its name durable, because its creator may have
// crashed before doing so.
func MkdirAll(fsys FS, op, path string) error {
	path = filepath.Clean(path)
	parent := filepath.Dir(path)
	err := fsys.Mkdir(op, path)
	if errors.Is(err, fs.ErrNotExist) && parent != path {
		if err := MkdirAll(fsys, op, parent); err != nil {
			return err
		}
		err = fsys.Mkdir(op, path)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if errors.Is(err, fs.ErrExist) {
		if _, err := fsys.ReadDir(op, path); err != nil {
			return fmt.Errorf("not a usable directory: %w", err)
		}
	}
	if parent == path {
		return nil
	}
	if serr := fsys.SyncDir(op, parent); serr != nil && err == nil {
		return serr // if the directory existed, the process may lack permission to open the parent
	}
	return nil
}

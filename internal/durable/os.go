package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// OS is the file system of the operating system. Files are private to the user of the service
// (0600, directories 0700): they hold the messages of participants.
type OS struct{}

var _ FS = OS{}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// StartSync implements [File]: sync_file_range(SYNC_FILE_RANGE_WRITE).
func (f osFile) StartSync() error { return startSync(f.File) }

// Sync implements [File]: fdatasync(2).
func (f osFile) Sync() error { return datasync(f.File) }

// Allocate implements [File]. If the file system cannot allocate, it writes zeros.
func (f osFile) Allocate(size int64) error {
	err := allocate(f.File, size)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	zeros := make([]byte, min(size, 1<<20))
	for left := size; left > 0; {
		n, err := f.Write(zeros[:min(left, int64(len(zeros)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

// ErrNotRegular reports that a name refers to something other than a regular file: a named pipe, a
// device or a directory.
var ErrNotRegular = errors.New("not a regular file")

// maxState is the maximum size in bytes of a file that ReadFile reads into memory. The largest
// state file is export.json, with a few hundred bytes per object.
const maxState = 256 << 20

// openFile opens a regular file. O_NONBLOCK lets it detect a named pipe without waiting for the
// other end. It has no effect on regular files.
func openFile(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err // an untyped nil, not a File that holds a nil *os.File
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return osFile{f}, nil
}

// Create implements [FS]: open(O_WRONLY|O_CREAT|O_EXCL|O_APPEND).
func (OS) Create(_, name string) (File, error) {
	return openFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND)
}

// Open implements [FS].
func (OS) Open(_, name string) (File, error) { return openFile(name, os.O_RDONLY) }

// OpenWrite implements [FS].
func (OS) OpenWrite(_, name string) (File, error) { return openFile(name, os.O_RDWR|os.O_APPEND) }

// ReadFile implements [FS].
func (OS) ReadFile(_, name string) ([]byte, error) {
	f, err := openFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if len(b) > maxState {
		err = &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("more than %d bytes", maxState)}
	}
	return b, errors.Join(err, f.Close())
}

// ReadDir implements [FS].
func (OS) ReadDir(_, name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Exists implements [FS].
func (OS) Exists(_, name string) (bool, error) {
	_, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Mkdir implements [FS].
func (OS) Mkdir(_, name string) error { return os.Mkdir(name, 0o700) }

// Rename implements [FS].
func (OS) Rename(_, oldname, newname string) error { return os.Rename(oldname, newname) }

// Remove implements [FS].
func (OS) Remove(_, name string) error { return os.Remove(name) }

// RemoveAll implements [FS].
func (OS) RemoveAll(_, name string) error { return os.RemoveAll(name) }

// SyncDir implements [FS]: open(O_RDONLY|O_DIRECTORY), fsync, close.
func (OS) SyncDir(_, name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

// Space implements [FS]: statfs(2).
func (OS) Space(_, name string) (Space, error) { return space(name) }

// Lock implements [FS].
func (OS) Lock(_, name string) (io.Closer, error) { return Lock(name) }

package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// datasync is fdatasync(2): unlike fsync it does not write the inode for a
// changed modification time alone, which halves the writes of an appended file.
func datasync(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = c.Control(func(fd uintptr) {
		for {
			if serr = unix.Fdatasync(int(fd)); serr != unix.EINTR {
				return
			}
		}
	})
	if err == nil {
		err = serr
	}
	if err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

// allocate is fallocate(2); it fails with errors.ErrUnsupported where the file
// system does not know it.
func allocate(f *os.File, size int64) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = c.Control(func(fd uintptr) {
		for {
			if serr = unix.Fallocate(int(fd), 0, 0, size); serr != unix.EINTR {
				return
			}
		}
	})
	if err == nil {
		err = serr
	}
	if err != nil {
		return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return nil
}

func space(name string) (Space, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(name, &st)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return Space{}, &os.PathError{Op: "statfs", Path: name, Err: err}
		}
		block := uint64(st.Bsize) // of f_bavail and f_blocks on Linux
		return Space{Free: st.Bavail * block, Total: st.Blocks * block, FreeFiles: st.Ffree, Files: st.Files}, nil
	}
}

package durable

import (
	"errors"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// datasync calls fdatasync(2). Unlike fsync, fdatasync does not write the inode if only the
// modification time has changed, which halves the writes for an appended file.
func datasync(f *os.File) error { return onFD(f, "fdatasync", unix.Fdatasync) }

// startSync calls sync_file_range(2) on the whole file, which starts the write-back of its dirty
// pages and allocates blocks for delayed writes. If memory is short, the pages stay dirty
// (mpage_map_and_submit_extent, fs/ext4/inode.c), and fdatasync reports the failure. If the call is
// not supported, or not for this file, startSync does nothing.
func startSync(f *os.File) error {
	err := onFD(f, "sync_file_range", func(fd int) error {
		return unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	})
	for _, harmless := range []error{
		unix.ENOMEM, unix.ENOSYS, unix.EINVAL, unix.ESPIPE,
		unix.EPERM,
	} {
		if errors.Is(err, harmless) {
			return nil
		}
	}
	return err
}

// allocate calls fallocate(2). It fails with errors.ErrUnsupported if the file system does not
// support the call.
func allocate(f *os.File, size int64) error {
	return onFD(f, "fallocate", func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
}

// onFD makes a system call on the descriptor of f, and repeats it on EINTR.
func onFD(f *os.File, op string, call func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = c.Control(func(fd uintptr) {
		for {
			if serr = call(int(fd)); !errors.Is(serr, unix.EINTR) {
				return
			}
		}
	})
	if err == nil {
		err = serr
	}
	if err != nil {
		return &os.PathError{Op: op, Path: f.Name(), Err: err}
	}
	return nil
}

// mayTakeReserved reports whether this process may use the blocks, a twentieth of the disk, that
// ext4 and similar file systems reserve for the superuser. That is the case if it has
// CAP_SYS_RESOURCE (capabilities(7)), or if it is also root outside its user namespace
// (ext4_has_free_clusters).
var mayTakeReserved = sync.OnceValue(func() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // version 3 has 64-bit sets
	if err := unix.Capget(&header, &data[0]); err == nil &&
		data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0 {
		return true
	}
	uids, err := os.ReadFile("/proc/self/uid_map") // "inside outside count"
	if os.Geteuid() != 0 || err != nil {
		return false
	}
	first := strings.Fields(string(uids))
	return len(first) >= 2 && first[0] == "0" && first[1] == "0"
})

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
		free := st.Bavail
		if mayTakeReserved() {
			free = st.Bfree
		}
		block := uint64(st.Bsize) // the unit of the counts on Linux
		return Space{
			Free: free * block, Total: st.Blocks * block, FreeFiles: st.Ffree,
			Files: st.Files,
		}, nil
	}
}

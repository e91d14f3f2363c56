package durable

import (
	"errors"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// datasync is fdatasync(2): unlike fsync it does not write the inode for a
// changed modification time alone, which halves the writes of an appended file.
func datasync(f *os.File) error { return onFD(f, "fdatasync", unix.Fdatasync) }

// startSync is sync_file_range(2) of the whole file, which begins to write its dirty pages and
// gives delayed ones their blocks. Without memory for that they stay dirty
// (mpage_map_and_submit_extent, fs/ext4/inode.c), and fdatasync reports it; where the call is not
// supported, or not for this file, nothing is started.
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

// allocate is fallocate(2); it fails with errors.ErrUnsupported where the file
// system does not know it.
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

// mayTakeReserved reports whether this process may use the blocks that ext4 and
// its like keep for the superuser, a twentieth of the disk: it has
// CAP_SYS_RESOURCE (capabilities(7)), or it is root also outside of its user
// namespace (ext4_has_free_clusters).
var mayTakeReserved = sync.OnceValue(func() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // the version has 64 bits
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

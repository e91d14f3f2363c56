// Package durable makes files survive a power failure. No other package does.
//
// On Linux, the content of a file survives once fsync (or fdatasync) of the file has returned nil,
// and a name survives once fsync of its directory has returned nil. Nothing else survives. A failed
// fsync is final: the kernel marks the pages clean and forgets the error, so a second fsync of the
// same file that returns nil proves nothing (https://lwn.net/Articles/752063/). Callers therefore
// never retry an fsync.
//
// syncfs(2) would be a cheap way to sync many files at once, but this package does not use it
// because it does not report every failure. If ext4 cannot allocate the blocks of delayed writes,
// it drops the pages and reports that to the requester of the write-back ("Delayed block allocation
// failed … Data will be lost", fs/ext4/inode.c); for syncfs, the requester is the kernel's flusher,
// which does not report it. On Linux 6.18, with a damaged block bitmap, syncfs returned 0 for a
// lost file, and so did a later fdatasync of it; fdatasync or sync_file_range alone returned
// EBADMSG. On a file system that has become read-only, syncfs also returns 0 (sync_filesystem,
// fs/sync.c).
//
// There is one exception: after a failed fsync of a directory, a retry of the operation syncs the
// same directory again, because a recording has only one. Journaling file systems become read-only
// after such a failure, so the retry fails too. A file system that does not could lose a name.
package durable

import (
	"io"
	"io/fs"
)

// FS is the file system interface of the spool. The first argument of every method labels the call
// site, so that a test can fail or crash at exactly one of them; the implementation for the
// operating system ignores it. A File keeps the label with which it was opened. Names are ordinary
// paths.
type FS interface {
	// Create creates a file and opens it for appending; it fails with fs.ErrExist if the name is
	// taken.
	Create(op, name string) (File, error)
	// Open opens a regular file for reading. Anything else is an error that wraps ErrNotRegular;
	// Open does not block on it.
	Open(op, name string) (File, error)
	// OpenWrite opens an existing regular file for truncating and syncing.
	OpenWrite(op, name string) (File, error)
	// ReadFile reads a regular file of bounded size.
	ReadFile(op, name string) ([]byte, error)
	// ReadDir returns the entries sorted by name.
	ReadDir(op, name string) ([]fs.DirEntry, error)
	// Exists reports whether anything has this name.
	Exists(op, name string) (bool, error)
	// Mkdir creates one directory; it fails with fs.ErrExist if the name is taken.
	Mkdir(op, name string) error
	// Rename replaces newname if it is a file.
	Rename(op, oldname, newname string) error
	// Remove removes a file or an empty directory.
	Remove(op, name string) error
	// RemoveAll removes a tree; it is no error if there is none.
	RemoveAll(op, name string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(op, name string) error
	// Space returns the space that this process can use on the file system of name.
	Space(op, name string) (Space, error)
	// Lock takes the lock file name for this process, see Lock.
	Lock(op, name string) (io.Closer, error)
}

// Space is the free space of a file system.
type Space struct {
	Free, Total uint64 // bytes; Free is available to this user
	// FreeFiles is the number of files that can still be created. Files is 0 if the file system
	// reports no limit.
	FreeFiles, Files uint64
}

// File is an open file of an FS.
type File interface {
	io.Reader
	io.Writer // at the end of the file
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Allocate extends an empty file to size bytes and allocates all its blocks, so that removing
	// the file frees size bytes. Only Sync makes the allocation durable.
	Allocate(size int64) error
	// StartSync starts the write-back of the content without waiting for it. It makes nothing
	// durable. Callers call it on several files before they sync them one after another: the first
	// Sync then includes most of the work of the others. An error is as final as an error of Sync,
	// because a later Sync may return nil for lost data: see the package comment. A nil result
	// guarantees nothing.
	StartSync() error
	// Sync makes the content durable, with the metadata that is needed to read it back (fdatasync).
	Sync() error
}

// Package fsnametest has file systems that cannot hold every name, for tests.
package fsnametest

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Limited is a directory on such a file system.
type Limited struct {
	*os.Root

	// Windows: it refuses what NTFS and shares of Windows refuse: some punctuation, dots and spaces
	// at the end, names of devices.
	Windows bool
	// Folded: names that differ only in case or normal form are the same.
	Folded bool
	// Longest is the greatest length of a name in bytes [255].
	Longest int
	// ASCII: it refuses all other characters.
	ASCII bool
}

// Open opens a directory.
func Open(dir string, l Limited) (*Limited, error) {
	var err error
	l.Root, err = os.OpenRoot(dir)
	return &l, err
}

func fold(s string) string { return norm.NFD.String(cases.Fold().String(norm.NFD.String(s))) }

func (l *Limited) refuses(name string) error {
	if len(name) > l.Longest && l.Longest > 0 {
		return syscall.ENAMETOOLONG
	}
	if l.ASCII && strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		return syscall.EINVAL
	}
	if !l.Windows || name == "." {
		return nil
	}
	base, _, _ := strings.Cut(strings.ToUpper(name), ".")
	switch {
	case strings.ContainsAny(name, `"*:<>?|\`), strings.HasSuffix(name, "."),
		strings.HasSuffix(name, " "):
		return syscall.EINVAL
	case base == "NUL", base == "CON", base == "COM1":
		return syscall.EACCES // as a share of Windows answers
	}
	return nil
}

// resolve returns the name under which the file system knows a path.
func (l *Limited) resolve(op, p string) (string, error) {
	at := "."
	for c := range strings.SplitSeq(p, "/") {
		if err := l.refuses(c); err != nil {
			return "", &fs.PathError{Op: op, Path: p, Err: err}
		}
		at = path.Join(at, l.known(at, c))
	}
	return at, nil
}

func (l *Limited) known(dir, name string) string {
	if !l.Folded {
		return name
	}
	d, err := l.Root.Open(dir)
	if err != nil {
		return name
	}
	defer d.Close() //nolint:errcheck // only read
	names, _ := d.Readdirnames(-1)
	for _, n := range names {
		if fold(n) == fold(name) {
			return n
		}
	}
	return name
}

// Mkdir is that of [os.Root]; so are the others.
func (l *Limited) Mkdir(name string, perm os.FileMode) error {
	p, err := l.resolve("mkdir", name)
	if err != nil {
		return err
	}
	return l.Root.Mkdir(p, perm)
}

// MkdirAll see [Limited.Mkdir].
func (l *Limited) MkdirAll(name string, perm os.FileMode) error {
	p, err := l.resolve("mkdir", name)
	if err != nil {
		return err
	}
	return l.Root.MkdirAll(p, perm)
}

// OpenFile see [Limited.Mkdir].
func (l *Limited) OpenFile(name string, flag int, perm os.FileMode) (*os.File, error) {
	p, err := l.resolve("open", name)
	if err != nil {
		return nil, err
	}
	return l.Root.OpenFile(p, flag, perm)
}

// Open see [Limited.Mkdir].
func (l *Limited) Open(name string) (*os.File, error) { return l.OpenFile(name, os.O_RDONLY, 0) }

// Lstat see [Limited.Mkdir].
func (l *Limited) Lstat(name string) (os.FileInfo, error) {
	p, err := l.resolve("lstat", name)
	if err != nil {
		return nil, err
	}
	return l.Root.Lstat(p)
}

// Stat see [Limited.Mkdir].
func (l *Limited) Stat(name string) (os.FileInfo, error) {
	p, err := l.resolve("stat", name)
	if err != nil {
		return nil, err
	}
	return l.Root.Stat(p)
}

// Remove see [Limited.Mkdir].
func (l *Limited) Remove(name string) error {
	p, err := l.resolve("remove", name)
	if err != nil {
		return err
	}
	return l.Root.Remove(p)
}

// Rename see [Limited.Mkdir].
func (l *Limited) Rename(oldname, newname string) error {
	from, err := l.resolve("rename", oldname)
	if err != nil {
		return err
	}
	to, err := l.resolve("rename", newname)
	if err != nil {
		return err
	}
	return l.Root.Rename(from, to)
}

// FS see [Limited.Mkdir].
func (l *Limited) FS() fs.FS { return files{l} }

type files struct{ l *Limited }

func (f files) Open(name string) (fs.File, error) { return f.l.Open(name) }

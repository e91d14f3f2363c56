// Package fsname finds out which names a directory's file system can hold, and translates keys to
// paths there and back.
package fsname

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/syncflow/textegress"
)

// Root is the part of [os.Root] that this package uses.
type Root interface {
	Mkdir(name string, perm os.FileMode) error
	OpenFile(name string, flag int, perm os.FileMode) (*os.File, error)
	Open(name string) (*os.File, error)
	Lstat(name string) (os.FileInfo, error)
	Remove(name string) error
}

// TempPrefix and TempSuffix enclose the names of temporary files.
const (
	TempPrefix = ".textegress-"
	TempSuffix = ".tmp"
)

// IsTemp reports whether a name is that of a temporary file.
func IsTemp(name string) bool {
	return strings.HasPrefix(name, TempPrefix) && strings.HasSuffix(name, TempSuffix)
}

// Naming maps keys to paths in a directory. The zero value leaves them unchanged.
type Naming struct {
	portable bool
}

// Portable is the naming for file systems that cannot hold every name.
var Portable = Naming{portable: true}

// Path returns the path of a key.
func (n Naming) Path(key string) string {
	if n.portable {
		return textegress.PortableKey(key)
	}
	return key
}

// Key returns the key of a path. A component that was cut, or that is no portable form, is returned
// as it is.
func (n Naming) Key(p string) string {
	if !n.portable || !strings.Contains(p, "%") {
		return p
	}
	components := strings.Split(p, "/")
	for i, c := range components {
		// some list all names in lower case
		if k := unescape(c); strings.EqualFold(textegress.PortableKey(k), c) {
			components[i] = k
		}
	}
	return strings.Join(components, "/")
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Fold returns the same text for all names that some file system takes for one: those that differ
// only in case, in normal form or in characters that are not shown.
func Fold(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Variation_Selector,
			unicode.Other_Default_Ignorable_Code_Point) {
			return -1
		}
		return r
	}, name)
	return norm.NFD.String(cases.Fold().String(norm.NFD.String(strings.ToUpper(name))))
}

// Find returns the path under which a key exists, in whichever form each component has, that of n
// first; false if it does not exist.
func (n Naming) Find(root Root, key string) (string, bool) {
	other := Naming{portable: !n.portable}
	for _, p := range []string{n.Path(key), other.Path(key)} {
		if _, err := root.Lstat(p); err == nil {
			return p, true
		}
		if textegress.PortableKey(key) == key {
			return "", false
		}
	}
	// A directory that was copied from elsewhere may have one form above and the other one below.
	at := ""
components:
	for c := range strings.SplitSeq(key, "/") {
		for _, p := range []string{n.Path(c), other.Path(c)} {
			p = path.Join(at, p)
			if _, err := root.Lstat(p); err == nil {
				at = p
				continue components
			}
		}
		return "", false
	}
	return at, true
}

// hard are possible names, each the hardest of its kind. Those that only some file systems refuse
// have a portable form.
var hard = []struct{ kind, name string }{
	{"colons and other punctuation", "12:30:40 \"a\" *?<b>|c\\d"},
	{"a space at the end", "name "},
	{"a dot at the end", "name."},
	{"names of devices", "NUL"},
	{"names of devices", "con.txt"},
	{"names in any script", "中文 مرحبا é 👩🏽‍🎓 ~"},
	{"names of 255 bytes", strings.Repeat("x", 239) + "-12:30:40UTC.txt"},
	{"names of 255 bytes", strings.Repeat("é", 127) + "x"},
}

// Probe finds out how keys become paths below root. It creates files with the hardest names and
// checks that they exist under exactly these. Its error is an [*Error] if the file system can hold
// such names in neither form; any other error is not about names.
func Probe(root Root) (Naming, error) {
	dir := TempPrefix + rand.Text() + TempSuffix
	if err := root.Mkdir(dir, 0o700); err != nil {
		return Naming{}, err
	}
	defer root.Remove(dir) //nolint:errcheck // what is left has a name that says so
	if err := holds(root, dir, "plain"); err != nil {
		return Naming{}, err
	}
	n := Naming{}
	for _, h := range hard {
		err := holds(root, dir, n.Path(h.name))
		if err != nil && !n.portable && Portable.Path(h.name) != h.name {
			n = Portable // from here on these must be held
			err = holds(root, dir, n.Path(h.name))
		}
		switch {
		case err == nil:
		case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT),
			errors.Is(err, syscall.EIO):
			return Naming{}, err
		default:
			return Naming{}, &Error{Kind: h.kind, Err: err}
		}
	}
	return n, nil
}

// Error says which kind of names a file system cannot hold.
type Error struct {
	Kind string
	Err  error
}

func (e *Error) Error() string {
	cause := e.Err.Error()
	if pe, ok := errors.AsType[*fs.PathError](e.Err); ok {
		cause = pe.Err.Error()
	}
	return fmt.Sprintf("the file system cannot hold %s: %s", e.Kind, cause)
}

func (e *Error) Unwrap() error { return e.Err }

var errAltered = errors.New("it makes another name of it")

// holds creates a file with a name and checks that the directory lists it under that name.
func holds(root Root, dir, name string) error {
	p := dir + "/" + name
	f, err := root.OpenFile(p, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = f.Close()
	listed, lerr := list(root, dir)
	if err = errors.Join(err, lerr, root.Remove(p)); err != nil {
		return err
	}
	// A different normal form or case is not another name here: the file is found under both.
	if len(listed) != 1 || !strings.EqualFold(norm.NFC.String(listed[0]), norm.NFC.String(name)) {
		return errAltered
	}
	return nil
}

func list(root Root, dir string) ([]string, error) {
	d, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	return names, errors.Join(err, d.Close())
}

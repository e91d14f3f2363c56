// Package fsname determines which names the file system of a directory can hold, and translates
// between keys and paths.
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

// Key returns the key of a path. Components that were shortened or that are not in portable form
// stay unchanged.
func (n Naming) Key(p string) string {
	if !n.portable || !strings.Contains(p, "%") {
		return p
	}
	components := strings.Split(p, "/")
	for i, c := range components {
		// EqualFold, because some file systems list all names in lower case
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

// Fold returns the same text for all names that some file system treats as equal: names that differ
// only in case, normal form or invisible characters.
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

// Find returns the path under which a key exists, and false if there is none. Each component may
// have either form; Find tries the form of n first.
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
	// A copied directory tree may use one form in upper levels and the other in lower levels.
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

// hard lists possible names, each the hardest of its kind. Names that only some file systems reject
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

// Probe determines how keys map to paths below root. It creates files with the hardest names and
// checks that they exist under exactly these names. It returns an [*Error] if the file system can
// hold such a name in neither form. Any other error is unrelated to names.
func Probe(root Root) (Naming, error) {
	dir := TempPrefix + rand.Text() + TempSuffix
	if err := root.Mkdir(dir, 0o700); err != nil {
		return Naming{}, err
	}
	defer root.Remove(dir) //nolint:errcheck // the name marks a leftover as temporary
	if err := holds(root, dir, "plain"); err != nil {
		return Naming{}, err
	}
	n := Naming{}
	for _, h := range hard {
		err := holds(root, dir, n.Path(h.name))
		if err != nil && !n.portable && Portable.Path(h.name) != h.name {
			n = Portable // the remaining names must work in this form
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

// Error reports a kind of names that a file system cannot hold.
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
	// A listed name may differ in normal form or case: the file is found under both names.
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

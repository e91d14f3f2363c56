package fsname_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/fsname"
	"github.com/syncflow/textegress/internal/fsname/fsnametest"
)

func TestProbe(t *testing.T) {
	const key = "a/12:30:40.txt"
	for name, tc := range map[string]struct {
		fs    fsnametest.Limited
		path  string
		cause string // instead
	}{
		"a usual disk": {fsnametest.Limited{}, key, ""},
		"without case": {fsnametest.Limited{Folded: true}, key, ""},
		"NTFS":         {fsnametest.Limited{Windows: true}, "a/12%3A30%3A40.txt", ""},
		"a share of Windows": {
			fsnametest.Limited{Windows: true, Folded: true},
			"a/12%3A30%3A40.txt", "",
		},
		"short names": {fsnametest.Limited{Longest: 143}, "", "names of 255 bytes"},
		"short names on NTFS": {
			fsnametest.Limited{Windows: true, Longest: 143},
			"",
			"names of 255 bytes",
		},
		"ASCII": {fsnametest.Limited{ASCII: true}, "", "names in any script"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			root, err := fsnametest.Open(dir, tc.fs)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			n, err := fsname.Probe(root)
			if tc.cause != "" {
				if e, ok := errors.AsType[*fsname.Error](err); !ok ||
					!strings.Contains(err.Error(), tc.cause) || e.Unwrap() == nil {
					t.Errorf("%v, want an error about %s", err, tc.cause)
				}
			} else if err != nil || n.Path(key) != tc.path || n.Key(tc.path) != key {
				t.Errorf("%v; the path is %q and back %q", err, n.Path(key), n.Key(tc.path))
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// What is not about names is no statement about them.
func TestProbeWhereNothingCanBeWritten(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := fsname.Probe(root); err == nil {
		t.Error("no error")
	} else if _, ok := errors.AsType[*fsname.Error](err); ok {
		t.Errorf("%v is called one of names", err)
	}
}

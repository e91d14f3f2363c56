package dir_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/fsname/fsnametest"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/dir"
	"github.com/syncflow/textegress/internal/objstore/objtest"
)

// Directories of real file systems on which the conformance suite runs as well:
// TEXTEGRESS_TEST_DIRECTORIES, a list as PATH is one. Each is that of a mounted image, for example
// of NTFS:
//
//	truncate -s 64M n.img && mkntfs -F -q n.img && ntfs-3g -o windows_names n.img /mnt/ntfs
const directories = "TEXTEGRESS_TEST_DIRECTORIES"

func limited(t *testing.T, path string, l fsnametest.Limited) *dir.Bucket {
	t.Helper()
	r, err := fsnametest.Open(path, l)
	if err != nil {
		t.Fatal(err)
	}
	b := dir.On(r, path)
	t.Cleanup(func() { b.Close() })
	return b
}

func TestConformanceWhereNamesAreLimited(t *testing.T) {
	for name, l := range map[string]fsnametest.Limited{
		"NTFS": {Windows: true}, "without case": {Folded: true},
		"a share of Windows": {Windows: true, Folded: true},
	} {
		t.Run(name, func(t *testing.T) {
			objtest.Run(t, func(t *testing.T) objstore.Bucket { return limited(t, t.TempDir(), l) },
				objtest.Options{})
		})
	}
	for _, path := range filepath.SplitList(os.Getenv(directories)) {
		t.Run(path, func(t *testing.T) {
			objtest.Run(t, func(t *testing.T) objstore.Bucket {
				path, err := os.MkdirTemp(path, "test") //nolint:usetesting // on that file system
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { os.RemoveAll(path) })
				return open(t, path)
			}, objtest.Options{})
		})
	}
}

const (
	view = "Project: " +
		"a-1/Room?/text-egress/all-topics/DE_x/alice-all-topics-2025-06-11T20:30:40UTC.txt"
	twin = "Project%3A " +
		"a-1/Room%3F/text-egress/all-topics/DE_x/alice-all-topics-2025-06-11T20%3A30%3A40UTC.txt"
)

// A disk that can hold every name has the keys as paths, as ever.
func TestNamesOfAUsualDisk(t *testing.T) {
	path := t.TempDir()
	upload(t, open(t, path), view)
	if _, err := os.Stat(filepath.Join(path, filepath.FromSlash(view))); err != nil {
		t.Error(err)
	}
}

func upload(t *testing.T, b *dir.Bucket, key string) {
	t.Helper()
	if err := b.Upload(t.Context(), key, objstore.Bytes([]byte(key), "text/plain")); err != nil {
		t.Fatal(err)
	}
}

// keys lists what is below a prefix, and opens and compares it.
func keys(t *testing.T, b *dir.Bucket, prefix string) []string {
	t.Helper()
	var found []string
	for a, err := range b.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, a.Key)
		if at, err := b.Stat(t.Context(), a.Key); err != nil || at.Size != a.Size {
			t.Errorf("Stat(%q), which was listed: %+v, %v", a.Key, at, err)
		}
	}
	return found
}

// What was delivered to one file system and copied to another is found there by the same keys,
// listed and deleted.
func TestCopiesOnAnotherFileSystem(t *testing.T) {
	windows := fsnametest.Limited{Windows: true}
	for name, tc := range map[string]struct{ from, to fsnametest.Limited }{
		"from NTFS":            {windows, fsnametest.Limited{}},
		"from a share to NTFS": {fsnametest.Limited{Windows: true, Folded: true}, windows},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			upload(t, limited(t, path, tc.from), view)
			if _, err := os.Stat(filepath.Join(path, filepath.FromSlash(twin))); err != nil {
				t.Fatal(err)
			}
			b := limited(t, path, tc.to)
			obj := objstore.Bytes([]byte(view), "text/plain")
			if err := objstore.Verify(t.Context(), b, view, obj.Size, obj.SHA256); err != nil {
				t.Error(err)
			}
			prefix := view[:strings.LastIndex(view, "/")+1]
			if found := keys(t, b, prefix); len(found) != 1 ||
				!strings.HasPrefix(found[0], prefix) {
				t.Errorf("listed %q", found)
			}
			// A prefix copied to a directory of another name: one form above, the other one below.
			if err := os.Rename(filepath.Join(path, "Project%3A a-1"),
				filepath.Join(path, "moved")); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Stat(t.Context(), "moved"+view[strings.Index(view, "/"):]); err != nil {
				t.Error(err)
			}
			p, err := objstore.Purge(t.Context(), b, "moved/", "",
				func(string) bool { return false })
			if err != nil || !p.Complete() || p.Deleted != 1 || len(keys(t, b, "")) != 0 {
				t.Errorf("purged %+v, %v", p, err)
			}
		})
	}
}

// A project or room whose name differs from another one's in case alone shares its directories
// where there is no case. What belongs to a prefix is found below it all the same, and nothing of
// another recording.
func TestDirectoriesThatDifferInCaseAlone(t *testing.T) {
	b := limited(t, t.TempDir(), fsnametest.Limited{Windows: true, Folded: true})
	upload(t, b, "Class/text-egress/DE_1/a")
	upload(t, b, "class/text-egress/DE_2/b")
	for prefix, want := range map[string][]string{
		"Class/text-egress/DE_1/": {"Class/text-egress/DE_1/a"},
		"class/text-egress/DE_2/": {"class/text-egress/DE_2/b"},
	} {
		if diff := cmp.Diff(want, keys(t, b, prefix)); diff != "" {
			t.Errorf("below %q (-want +got):\n%s", prefix, diff)
		}
	}
}

// Names that are cut are found by their keys, and can be listed and deleted.
func TestNamesThatAreCut(t *testing.T) {
	b := limited(t, t.TempDir(), fsnametest.Limited{Windows: true})
	long := "r/" + strings.Repeat("x", 230) + "-T20:30:40UTC.txt"
	other := "r/" + strings.Repeat("x", 230) + "-T20:30:41UTC.txt"
	upload(t, b, long)
	upload(t, b, other)
	for _, key := range []string{long, other} {
		obj := objstore.Bytes([]byte(key), "text/plain")
		if err := objstore.Verify(t.Context(), b, key, obj.Size, obj.SHA256); err != nil {
			t.Error(err)
		}
	}
	found := keys(t, b, "r/")
	if len(found) != 2 {
		t.Errorf("listed %q", found)
	}
	for _, key := range found {
		if err := b.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if found := keys(t, b, ""); len(found) != 0 {
		t.Errorf("left are %q", found)
	}
}

// A file system that cannot hold such names in either form is found out by the check, and by the
// first use; what nobody can write to is another matter.
func TestCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		l      fsnametest.Limited
		remedy string // "": usable
	}{
		"usual": {fsnametest.Limited{}, ""}, "NTFS": {fsnametest.Limited{Windows: true}, ""},
		"short names": {fsnametest.Limited{Longest: 100}, "another file system"},
		"ASCII":       {fsnametest.Limited{ASCII: true}, "another file system"},
	} {
		b := limited(t, t.TempDir(), tc.l)
		for what, err := range map[string]error{
			"Check": b.Check(), "Upload": b.Upload(t.Context(), "room/alice",
				objstore.Bytes(nil, "text/plain")), "Problem": b.Problem(),
		} {
			e, _ := errors.AsType[*objstore.Error](err)
			if (e == nil) != (tc.remedy == "") || e != nil &&
				(!e.Permanent || !strings.Contains(e.Remedy, tc.remedy)) {
				t.Errorf("%s: %s = %v", name, what, err)
			}
			if strings.Contains(objstore.Redacted(err, ""), "alice") {
				t.Errorf("%s: %s names a participant: %v", name, what, err)
			}
		}
		if found := keys(t, b, ""); slices.Contains(found, "room/alice") != (tc.remedy == "") {
			t.Errorf("%s: listed %q", name, found)
		}
	}
	path := filepath.Join(t.TempDir(), "gone")
	b := open(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := b.Check(); err == nil || b.Problem() == nil {
		t.Errorf("Check of a directory that is gone = %v", err)
	}
}

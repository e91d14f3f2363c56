package dir_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/fsname/fsnametest"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
)

// What a killed process was writing has a temporary name, which nobody lists. It is removed below a
// prefix, with what is deleted there and before a delivery goes on, and nothing else is.
func TestWhatAKilledProcessWasWriting(t *testing.T) {
	for name, l := range map[string]fsnametest.Limited{
		"usual":              {},
		"a share of Windows": {Windows: true, Folded: true},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			b := limited(t, path, l)
			for _, key := range []string{"r: 1/raw/a", "r: 1/files/b", "r: 1/r2/c", "other/d"} {
				upload(t, b, key)
			}
			var temps []string
			err := filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() && p != path {
					temps = append(temps, filepath.Join(p, ".textegress-KILLED.tmp"))
				}
				return err
			})
			if err != nil || len(temps) != 5 {
				t.Fatalf("%q, %v", temps, err)
			}
			for _, p := range temps {
				if err := os.WriteFile(p, []byte("half of what alice wrote"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			left := func() string {
				var left []string
				for _, p := range temps {
					if _, err := os.Stat(p); err == nil {
						left = append(left, filepath.Base(filepath.Dir(p)))
					}
				}
				return strings.Join(left, " ")
			}
			if n, err := b.AbortUploads(t.Context(), "nothing/",
				func(string) bool { return false }); n != 0 || err != nil {
				t.Errorf("of nothing: %d, %v", n, err)
			}
			keep := func(key string) bool { return strings.HasPrefix(key, "r: 1/r2/") }
			p, err := objstore.Purge(t.Context(), b, "r: 1/", "", keep)
			if err != nil || !p.Complete() || p.Deleted != 2+3 || left() != "other r2" {
				t.Errorf("purged %+v, %v; left are those in %q", p, err, left())
			}
		})
	}
}

// What is being written just now is not left over.
func TestAbortUploadsSparesWhatIsBeingWritten(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "out"))
	o := objtest.Generated(1<<20, 1)
	whole := o.Open
	asked := false
	o.Open = func() (io.ReadSeekCloser, error) {
		r, err := whole()
		return reading{r, func() {
			asked = true
			if n, err := b.AbortUploads(t.Context(), "r/",
				func(string) bool { return false }); n != 0 || err != nil {
				t.Errorf("%d were removed, %v", n, err)
			}
		}}, err
	}
	if err := b.Upload(t.Context(), "r/k", o); err != nil || !asked {
		t.Errorf("Upload = %v", err)
	}
}

type reading struct {
	io.ReadSeekCloser

	meanwhile func()
}

func (r reading) Read(p []byte) (int, error) {
	r.meanwhile()
	return r.ReadSeekCloser.Read(p)
}

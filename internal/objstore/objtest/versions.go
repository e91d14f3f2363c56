package objtest

import (
	"fmt"
	"testing"

	"github.com/syncflow/textegress/internal/objstore"
)

// Versions checks a bucket that keeps versions. The bucket must find all versions, including those
// of deleted objects, and [objstore.Purge] must remove every version it should and keep all others.
func Versions(t *testing.T, b objstore.Bucket) {
	t.Helper()
	v, ok := b.(objstore.Versioned)
	if !ok {
		t.Fatalf("%s does not know versions", b)
	}
	count := func(prefix string) int {
		t.Helper()
		n := 0
		for version, err := range v.Versions(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			if version.Key == "" {
				t.Error("a version without a key")
			}
			n++
		}
		return n
	}
	for i := range 3 {
		upload(t, b, "go/replaced", fmt.Appendf(nil, "content %d", i))
	}
	upload(t, b, "go/deleted é %", []byte("content"))
	if err := b.Delete(t.Context(), "go/deleted é %"); err != nil {
		t.Fatal(err)
	}
	upload(t, b, "go/r2/stays", []byte("old"))
	upload(t, b, "go/r2/stays", []byte("new"))
	upload(t, b, "other", []byte("other"))
	if n := count("go/"); n < 7 { // 3 versions, 1 version and its deletion marker, 2 versions
		t.Errorf("%d versions, want 7", n)
	}
	if n := count("nothing/"); n != 0 {
		t.Errorf("%d versions of nothing", n)
	}
	p, err := objstore.Purge(t.Context(), b, "go/", "go/replaced",
		func(key string) bool { return key == "go/r2/stays" })
	if err != nil || !p.Complete() || p.Deleted < 5 {
		t.Errorf("purged: %+v, %v", p, err)
	}
	if n := count("go/"); n != 2 {
		t.Errorf("%d versions are left, want the two of what stays", n)
	}
	if got := read(t, b, "go/r2/stays"); string(got) != "new" {
		t.Errorf("what stays is %q", got)
	}
	if err := v.DeleteVersion(t.Context(), "go/never", ""); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
}

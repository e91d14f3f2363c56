package objtest

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/objstore"
)

// Unfinished checks a bucket whose store keeps the parts of uploads that were never completed.
// begin starts such an upload and leaves it as a killed process would. begun returns the keys of
// all unfinished uploads.
func Unfinished(t *testing.T, b objstore.Bucket, begin func(key string), begun func() []string) {
	t.Helper()
	u, ok := b.(objstore.Unfinished)
	if !ok {
		t.Fatalf("%s does not know unfinished uploads", b)
	}
	for _, key := range []string{"go/a", "go/b+c", "go/r2/stays", "other"} {
		begin(key)
	}
	keep := func(key string) bool { return strings.HasPrefix(key, "go/r2/") }
	if n, err := u.AbortUploads(t.Context(), "nothing/", keep); n != 0 || err != nil {
		t.Errorf("of nothing, %d uploads were removed, %v", n, err)
	}
	if n, err := u.AbortUploads(t.Context(), "go/", keep); n != 2 || err != nil {
		t.Errorf("%d uploads were removed, %v, want 2", n, err)
	}
	if diff := cmp.Diff([]string{"go/r2/stays", "other"},
		slices.Sorted(slices.Values(begun()))); diff != "" {
		t.Errorf("left are (-want +got):\n%s", diff)
	}
	if n, err := u.AbortUploads(t.Context(), "go/", keep); n != 0 || err != nil {
		t.Errorf("the second time, %d uploads were removed, %v", n, err)
	}
	all := func(string) bool { return false }
	if n, err := u.AbortUploads(t.Context(), "", all); n != 2 || err != nil {
		t.Errorf("of all, %d uploads were removed, %v, want 2", n, err)
	}
}

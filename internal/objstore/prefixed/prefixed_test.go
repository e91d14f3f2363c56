package prefixed_test

import (
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/objstore/prefixed"
)

func TestConformance(t *testing.T) {
	objtest.Run(t, func(*testing.T) objstore.Bucket {
		return prefixed.New(objtest.NewMemory("b", true), "", "below/", nil)
	}, objtest.Options{Checksums: true, ShortKeys: true})
}

// TestNothingElse: what is not the view's is neither listed nor purged, and cannot be reached.
func TestNothingElse(t *testing.T) {
	m := objtest.NewMemory("b", true)
	for _, key := range []string{"other", "copy/a", "copy/r2/a", "copy/foreign", "room/a"} {
		m.Put(key, []byte(key))
	}
	b := prefixed.New(m, "room/DE_1/", "copy/", func(key string) bool {
		return !strings.HasSuffix(key, "foreign")
	})
	var listed []string
	for a, err := range b.List(t.Context(), "room/DE_1/") {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, a.Key)
	}
	if got := strings.Join(listed, " "); got != "room/DE_1/a room/DE_1/r2/a" {
		t.Errorf("listed: %s", got)
	}
	for _, key := range []string{"other", "room/a", "../other"} {
		if _, err := b.Stat(t.Context(), key); err == nil {
			t.Errorf("%q can be reached", key)
		}
	}
	p, err := objstore.Purge(t.Context(), b, "room/DE_1/", "", func(string) bool { return false })
	if err != nil || !p.Complete() || p.Deleted == 0 {
		t.Errorf("%+v, %v", p, err)
	}
	left := m.Objects()
	for _, key := range []string{"other", "copy/foreign", "room/a"} {
		if _, ok := left[key]; !ok {
			t.Errorf("%s was deleted", key)
		}
	}
	if len(left) != 3 {
		t.Errorf("left: %d objects", len(left))
	}
}

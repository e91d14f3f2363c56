package objstore_test

import (
	"context"
	"fmt"
	"iter"
	"testing"

	"github.com/syncflow/textegress/internal/objstore"
)

// endless lists ever more objects, which are never gone.
type endless struct {
	objstore.Bucket

	listed, deleted int
}

func (e *endless) List(context.Context, string) iter.Seq2[objstore.Attrs, error] {
	return func(yield func(objstore.Attrs, error) bool) {
		for e.listed < 10_000_000 {
			e.listed++
			if !yield(objstore.Attrs{Key: fmt.Sprint("room/", e.listed)}, nil) {
				return
			}
		}
	}
}

func (e *endless) Delete(context.Context, string) error { e.deleted++; return nil }

type endlessVersions struct{ *endless }

func (e endlessVersions) Versions(ctx context.Context, prefix string) iter.Seq2[objstore.Version,
	error] {
	return func(yield func(objstore.Version, error) bool) {
		for a := range e.List(ctx, prefix) {
			if !yield(objstore.Version{Key: a.Key, ID: "1"}, nil) {
				return
			}
		}
	}
}

func (e endlessVersions) DeleteVersion(ctx context.Context, key, _ string) error {
	return e.Delete(ctx, key)
}

// TestPurgeOfAnEndlessList: a store that tells of ever more objects does not take the memory. What
// was told of first is deleted, and the purge is not complete.
func TestPurgeOfAnEndlessList(t *testing.T) {
	for name, make := range map[string]func(e *endless) objstore.Bucket{
		"objects":  func(e *endless) objstore.Bucket { return e },
		"versions": func(e *endless) objstore.Bucket { return endlessVersions{e} },
	} {
		t.Run(name, func(t *testing.T) {
			e := &endless{}
			p, err := objstore.Purge(t.Context(), make(e), "room/", "room/manifest.json",
				func(string) bool { return false })
			if err != nil || p.Complete() || p.Deleted == 0 || p.Deleted != e.deleted {
				t.Errorf("%+v, %v", p, err)
			}
			if e.listed > 3_000_000 {
				t.Errorf("%d entries were read", e.listed)
			}
		})
	}
}

// Package prefixed presents the objects below one prefix of a bucket under another prefix.
package prefixed

import (
	"context"
	"io"
	"iter"
	"strings"

	"github.com/syncflow/textegress/internal/objstore"
)

// Bucket is a view of the objects below a prefix of another bucket. Create it with [New].
type Bucket struct {
	objstore.Bucket

	from, to string
	has      func(key string) bool
}

// New returns a view of b in which the objects below the prefix to have keys below the prefix from.
// No key refers to an object outside to. Each prefix is empty or ends with a slash. has, if not
// nil, reports which keys of b belong to the view. Other keys are not listed, so list-based
// operations such as [objstore.Purge] do not touch them.
func New(b objstore.Bucket, from, to string, has func(key string) bool) *Bucket {
	if has == nil {
		has = func(string) bool { return true }
	}
	return &Bucket{Bucket: b, from: from, to: to, has: has}
}

// key returns the key in the underlying bucket.
func (b *Bucket) key(key string) string { return b.to + strings.TrimPrefix(key, b.from) }

// back returns the key in the view.
func (b *Bucket) back(key string) string { return b.from + strings.TrimPrefix(key, b.to) }

// Upload implements [objstore.Bucket].
func (b *Bucket) Upload(ctx context.Context, key string, o objstore.Object) error {
	return b.Bucket.Upload(ctx, b.key(key), o)
}

// Stat implements [objstore.Bucket].
func (b *Bucket) Stat(ctx context.Context, key string) (objstore.Attrs, error) {
	a, err := b.Bucket.Stat(ctx, b.key(key))
	a.Key = key
	return a, err
}

// Open implements [objstore.Bucket].
func (b *Bucket) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	return b.Bucket.Open(ctx, b.key(key))
}

// Delete implements [objstore.Bucket].
func (b *Bucket) Delete(ctx context.Context, key string) error {
	return b.Bucket.Delete(ctx, b.key(key))
}

// List implements [objstore.Bucket].
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attrs, error] {
	return func(yield func(objstore.Attrs, error) bool) {
		for a, err := range b.Bucket.List(ctx, b.key(prefix)) {
			if err == nil && !b.has(a.Key) {
				continue
			}
			a.Key = b.back(a.Key)
			if !yield(a, err) {
				return
			}
		}
	}
}

// Versions implements [objstore.Versioned]. If the underlying bucket does not implement it,
// Versions yields the objects of List.
func (b *Bucket) Versions(ctx context.Context, prefix string) iter.Seq2[objstore.Version, error] {
	return func(yield func(objstore.Version, error) bool) {
		v, ok := b.Bucket.(objstore.Versioned)
		if !ok {
			for a, err := range b.List(ctx, prefix) {
				if !yield(objstore.Version{Key: a.Key}, err) {
					return
				}
			}
			return
		}
		for version, err := range v.Versions(ctx, b.key(prefix)) {
			if err == nil && !b.has(version.Key) {
				continue
			}
			version.Key = b.back(version.Key)
			if !yield(version, err) {
				return
			}
		}
	}
}

// DeleteVersion implements [objstore.Versioned].
func (b *Bucket) DeleteVersion(ctx context.Context, key, id string) error {
	if v, ok := b.Bucket.(objstore.Versioned); ok {
		return v.DeleteVersion(ctx, b.key(key), id)
	}
	return b.Bucket.Delete(ctx, b.key(key))
}

// AbortUploads implements [objstore.Unfinished].
func (b *Bucket) AbortUploads(ctx context.Context, prefix string, keep func(key string) bool) (int,
	error,
) {
	u, ok := b.Bucket.(objstore.Unfinished)
	if !ok {
		return 0, nil
	}
	return u.AbortUploads(ctx, b.key(prefix), func(key string) bool {
		return !b.has(key) ||
			keep(b.back(key))
	})
}

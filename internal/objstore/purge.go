package objstore

import (
	"context"
	"iter"
)

// Versioned is implemented by buckets whose store may keep earlier versions of an object after it
// was replaced or deleted. For other buckets, a purge can only delete the objects.
type Versioned interface {
	// Versions yields every version of the objects whose key starts with prefix, including deleted
	// objects and their deletion markers. For a bucket that keeps no versions it yields each object
	// once. It yields nothing after an error.
	Versions(ctx context.Context, prefix string) iter.Seq2[Version, error]

	// DeleteVersion removes one version permanently. It is not an error if there is none.
	DeleteVersion(ctx context.Context, key, id string) error
}

// Unfinished is implemented by buckets whose store keeps the parts of uploads that were never
// completed. Such parts are invisible and cost money.
type Unfinished interface {
	// AbortUploads removes the parts of uploads to keys that start with prefix, except keys for
	// which keep returns true and uploads in progress in this Bucket. It returns the number of
	// removed uploads. It is not an error if the store cannot list such uploads. AbortUploads
	// continues after an upload that it cannot remove, and returns the first error.
	AbortUploads(ctx context.Context, prefix string, keep func(key string) bool) (int, error)
}

// Version is one version of an object, or its deletion marker.
type Version struct {
	Key string
	ID  string // version id of the store; "" or "null" if it has none
}

// Purged is the result of [Purge].
type Purged struct {
	Deleted int // number of removed objects, versions and interrupted uploads
	// Failed counts the objects and versions that could not be deleted, by error text without keys.
	Failed map[string]int
	// Versions is the reason why earlier versions could not be listed; "" if they were, or if the
	// store has none.
	Versions string
	// Uploads is the reason why parts of interrupted uploads could not be listed or removed; "" if
	// they were, or if the store has none.
	Uploads string
}

// Complete reports whether everything was removed.
func (p Purged) Complete() bool { return len(p.Failed) == 0 && p.Versions == "" && p.Uploads == "" }

// Purge deletes the objects whose keys start with prefix, with all their versions and the parts of
// interrupted uploads. It skips keys for which keep returns true. It deletes first before all
// others, so that after an interruption the rest is not mistaken for a complete recording. Purge
// continues after an object that it cannot delete. It returns only errors of ctx and of listing the
// objects.
func Purge(ctx context.Context, b Bucket, prefix, first string, keep func(key string) bool) (Purged,
	error,
) {
	p, err := purgeObjects(ctx, b, prefix, first, keep)
	u, ok := b.(Unfinished)
	if err != nil || !ok {
		return p, err
	}
	n, err := u.AbortUploads(ctx, prefix, keep)
	p.Deleted += n
	if err != nil && ctx.Err() != nil {
		return p, err
	}
	if err != nil {
		p.Uploads = Redacted(err, "an error of the store")
	}
	return p, nil
}

// maxPurged bounds the number of objects, and of versions, that one purge holds in memory. No
// recording has this many.
const maxPurged = 1_000_000

// moreToPurge is the reason why a purge that reached the bound is not complete.
const moreToPurge = "there are more than a million; the others go when it is done again"

func purgeObjects(ctx context.Context, b Bucket, prefix, first string,
	keep func(key string) bool,
) (Purged, error) {
	p := Purged{Failed: map[string]int{}}
	note := func(err error) error {
		switch {
		case err == nil:
			p.Deleted++
		case ctx.Err() != nil:
			return err
		default:
			p.Failed[Redacted(err, "an error of the store")]++
		}
		return nil
	}
	var keys []string
	for a, err := range b.List(ctx, prefix) {
		if err != nil {
			return p, err
		}
		if len(keys) == maxPurged {
			p.Failed[moreToPurge]++
			break
		}
		switch {
		case keep(a.Key):
		case a.Key == first:
			keys = append([]string{a.Key}, keys...)
		default:
			keys = append(keys, a.Key)
		}
	}
	v, versioned := b.(Versioned)
	if !versioned {
		for _, key := range keys {
			if err := note(b.Delete(ctx, key)); err != nil {
				return p, err
			}
		}
		return p, nil
	}
	if len(keys) > 0 && keys[0] == first {
		// In a bucket with versions this only adds a deletion marker. The loop below deletes the
		// version.
		if err := b.Delete(ctx, first); err != nil && ctx.Err() != nil {
			return p, err
		}
	}
	var versions []Version
	for version, err := range v.Versions(ctx, prefix) {
		if err != nil {
			if ctx.Err() != nil {
				return p, err
			}
			p.Versions = Redacted(err, "an error of the store")
			break
		}
		if len(versions) == maxPurged {
			p.Failed[moreToPurge]++
			break
		}
		if !keep(version.Key) {
			versions = append(versions, version)
		}
	}
	for _, version := range versions {
		if err := note(v.DeleteVersion(ctx, version.Key, version.ID)); err != nil {
			return p, err
		}
	}
	if p.Versions == "" {
		return p, nil
	}
	for _, key := range keys { // if versions cannot be listed, delete at least the visible objects
		if err := note(b.Delete(ctx, key)); err != nil {
			return p, err
		}
	}
	return p, nil
}

package objstore

import (
	"context"
	"iter"
)

// Versioned is implemented by buckets whose store may keep earlier versions of an object after it
// was replaced or deleted. Without it, deleting an object is all that can be done.
type Versioned interface {
	// Versions yields every version of the objects whose key begins with prefix, also of those that
	// were deleted, and the marks that say so. Of a bucket that keeps no versions it yields each
	// object once. After an error nothing more is yielded.
	Versions(ctx context.Context, prefix string) iter.Seq2[Version, error]

	// DeleteVersion removes one version for good. It is not an error if there is none.
	DeleteVersion(ctx context.Context, key, id string) error
}

// Unfinished is implemented by buckets whose store keeps the parts of an upload that was never
// completed, which are invisible and cost money.
type Unfinished interface {
	// AbortUploads removes the parts of uploads to keys which begin with prefix, except those for
	// which keep returns true and those that this Bucket is making, and returns the number of
	// uploads. A store that cannot list such uploads is not an error. It continues after an upload
	// that cannot be removed, and returns the first error.
	AbortUploads(ctx context.Context, prefix string, keep func(key string) bool) (int, error)
}

// Version is one version of an object, or the mark of its deletion.
type Version struct {
	Key string
	ID  string // as the store names it; "" or "null" where it does not
}

// Purged is what [Purge] did.
type Purged struct {
	Deleted int // objects, versions and interrupted uploads that are gone
	// Failed are those that could not be deleted, and why: the store's words, without keys.
	Failed map[string]int
	// Versions says why earlier versions could not be looked for; "" where they were, or where the
	// store has none.
	Versions string
	// Uploads says why parts of interrupted uploads could not be looked for or removed; "" where
	// they were, or where the store has none.
	Uploads string
}

// Complete reports whether everything is gone that was there.
func (p Purged) Complete() bool { return len(p.Failed) == 0 && p.Versions == "" && p.Uploads == "" }

// Purge deletes, with all their versions, the objects whose keys begin with prefix, except those
// for which keep returns true, and the parts of uploads to such keys that were interrupted. first
// is deleted before all others, so that after an interruption the rest is not taken for a whole
// recording. It continues after an object that cannot be deleted. The error is one of listing the
// objects or of ctx.
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

// maxPurged bounds how many objects, and how many versions, one purge takes into memory. It is more
// than a recording has.
const maxPurged = 1_000_000

// moreToPurge is the reason why a purge that came to the bound is not complete.
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
		// Only marks it as deleted in a bucket with versions; the version goes below.
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
	for _, key := range keys { // at least what everybody sees
		if err := note(b.Delete(ctx, key)); err != nil {
			return p, err
		}
	}
	return p, nil
}

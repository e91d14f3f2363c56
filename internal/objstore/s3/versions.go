package s3

import (
	"context"
	"iter"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/syncflow/textegress/internal/objstore"
)

var _ objstore.Versioned = (*Bucket)(nil)

// Versions implements [objstore.Versioned]. It needs s3:ListBucketVersions.
func (b *Bucket) Versions(ctx context.Context, prefix string) iter.Seq2[objstore.Version, error] {
	return func(yield func(objstore.Version, error) bool) {
		in := &s3.ListObjectVersionsInput{Bucket: &b.o.Bucket, Prefix: &prefix}
		pages := pages{b: b, prefix: prefix}
		for {
			out, err := b.versionsPage(ctx, in, prefix)
			if err != nil {
				yield(objstore.Version{}, err)
				return
			}
			var found []objstore.Version
			for _, v := range out.Versions {
				found = append(found, objstore.Version{
					Key: aws.ToString(v.Key),
					ID:  aws.ToString(v.VersionId),
				})
			}
			for _, m := range out.DeleteMarkers {
				found = append(found, objstore.Version{
					Key: aws.ToString(m.Key),
					ID:  aws.ToString(m.VersionId),
				})
			}
			for _, v := range found {
				if err := pages.key(ctx, v.Key); err != nil {
					yield(objstore.Version{}, err)
					return
				}
				if !yield(v, nil) {
					return
				}
			}
			isList := out.Name != nil || out.IsTruncated != nil || out.MaxKeys != nil ||
				len(found) > 0
			more, err := pages.next(ctx, isList, out.IsTruncated, len(found), out.NextKeyMarker,
				out.NextVersionIdMarker)
			if err != nil {
				yield(objstore.Version{}, err)
			}
			if !more {
				return
			}
			in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
		}
	}
}

func (b *Bucket) versionsPage(ctx context.Context, in *s3.ListObjectVersionsInput,
	prefix string,
) (*s3.ListObjectVersionsOutput, error) {
	ctx, w := watch(ctx, b.o.StallTimeout)
	defer w.stop()
	out, err := b.client.ListObjectVersions(ctx, in)
	if err != nil {
		e := b.fail(ctx, "list", prefix, err)
		if e.Remedy != "" && e.Permanent {
			e.Remedy = "allow this access key s3:ListBucketVersions on the bucket"
		}
		return nil, e
	}
	return out, nil
}

// DeleteVersion implements [objstore.Versioned]. It needs s3:DeleteObjectVersion, or
// s3:DeleteObject where the bucket keeps no versions.
func (b *Bucket) DeleteVersion(ctx context.Context, key, id string) error {
	if err := objstore.CheckKey(key); err != nil {
		return objstore.BadKey("delete", b.name, key, err)
	}
	ctx, w := watch(ctx, b.o.StallTimeout)
	defer w.stop()
	in := &s3.DeleteObjectInput{Bucket: &b.o.Bucket, Key: &key}
	if id != "" {
		in.VersionId = &id
	}
	out, err := b.client.DeleteObject(ctx, in)
	if err == nil && !isDeleted(out.ResultMetadata) {
		err = errNotAStore
	}
	if err == nil {
		return nil
	}
	e := b.fail(ctx, "delete", key, err)
	if e.NotFound {
		return nil
	}
	if e.Remedy != "" && e.Permanent {
		e.Remedy = "allow this access key s3:DeleteObject and s3:DeleteObjectVersion on the " +
			"objects; an object lock must have ended"
	}
	return e
}

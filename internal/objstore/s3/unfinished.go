package s3

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/syncflow/textegress/internal/objstore"
)

var _ objstore.Unfinished = (*Bucket)(nil)

// making records the start or the end of a multipart upload.
func (b *Bucket) making(id string, begins bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if begins {
		b.uploads[id] = true
	} else {
		delete(b.uploads, id)
	}
}

func (b *Bucket) makes(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.uploads[id]
}

// abort removes the parts of a failed upload from the store, even if ctx has ended. It is best
// effort: the next upload to the same key, [Bucket.AbortUploads] or a lifecycle rule of the bucket
// that removes incomplete uploads after some days cleans up the rest.
func (b *Bucket) abort(ctx context.Context, key string, id *string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_, _ = b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &b.o.Bucket, Key: &key, UploadId: id,
	})
}

type unfinished struct{ key, id string }

// maxUnfinished is far more than the number of unfinished uploads below the prefix of a recording.
// A longer list is treated as endless.
const maxUnfinished = 10_000

// AbortUploads implements [objstore.Unfinished]. It needs s3:ListBucketMultipartUploads and
// s3:AbortMultipartUpload.
func (b *Bucket) AbortUploads(ctx context.Context, prefix string, keep func(key string) bool) (int,
	error,
) {
	found, err := b.unfinished(ctx, prefix)
	n := 0
	for _, u := range found {
		if keep(u.key) || b.makes(u.id) {
			continue
		}
		switch e := b.abortUpload(ctx, u); {
		case e == nil:
			n++
		case ctx.Err() != nil:
			return n, e
		case err == nil:
			err = e
		}
	}
	return n, err
}

func (b *Bucket) abortUpload(ctx context.Context, u unfinished) error {
	ctx, w := watch(ctx, b.o.StallTimeout)
	defer w.stop()
	out, err := b.client.AbortMultipartUpload(ctx,
		&s3.AbortMultipartUploadInput{Bucket: &b.o.Bucket, Key: &u.key, UploadId: &u.id})
	if err == nil && !isDeleted(out.ResultMetadata) {
		err = errNotAStore
	}
	if err == nil {
		return nil
	}
	e := b.fail(ctx, "delete", u.key, err)
	if e.NotFound || hasCode(err, "NoSuchUpload") {
		return nil
	}
	if e.Remedy != "" && e.Permanent {
		e.Remedy = "allow this access key s3:AbortMultipartUpload on the objects"
	}
	return e
}

// unfinished lists multipart uploads that were started and not completed. On an error it also
// returns the uploads found so far.
func (b *Bucket) unfinished(ctx context.Context, prefix string) ([]unfinished, error) {
	var found []unfinished
	in := &s3.ListMultipartUploadsInput{Bucket: &b.o.Bucket, Prefix: &prefix}
	pages := pages{b: b, prefix: prefix}
	for {
		out, err := b.unfinishedPage(ctx, in, prefix)
		if out == nil || err != nil {
			return found, err
		}
		for _, u := range out.Uploads {
			if err := pages.key(ctx, aws.ToString(u.Key)); err != nil {
				return found, err
			}
			if len(found) == maxUnfinished {
				return found, b.fail(ctx, "list", prefix, errListEndless)
			}
			if id := aws.ToString(u.UploadId); id != "" {
				found = append(found, unfinished{*u.Key, id})
			}
		}
		isList := out.Bucket != nil || out.IsTruncated != nil || out.MaxUploads != nil ||
			len(out.Uploads) > 0
		more, err := pages.next(ctx, isList, out.IsTruncated, len(out.Uploads), out.NextKeyMarker,
			out.NextUploadIdMarker)
		if !more {
			return found, err
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
}

// unfinishedPage returns nil if the store does not support the request.
func (b *Bucket) unfinishedPage(ctx context.Context, in *s3.ListMultipartUploadsInput,
	prefix string,
) (*s3.ListMultipartUploadsOutput, error) {
	ctx, w := watch(ctx, b.o.StallTimeout)
	defer w.stop()
	out, err := b.client.ListMultipartUploads(ctx, in)
	switch {
	case err == nil:
		return out, nil
	case hasCode(err, "NotImplemented") || hasCode(err, "MethodNotAllowed") ||
		hasStatus(err, 405, 501):
		return nil, nil
	}
	e := b.fail(ctx, "list", prefix, err)
	if e.Remedy != "" && e.Permanent {
		e.Remedy = "allow this access key s3:ListBucketMultipartUploads on the bucket"
	}
	return nil, e
}

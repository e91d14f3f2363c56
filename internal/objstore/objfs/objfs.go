// Package objfs presents the objects of a bucket as files. It supports reading but not listing.
package objfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/syncflow/textegress/internal/objstore"
)

type bucketFS struct {
	ctx    context.Context // fs.FS takes no context
	bucket objstore.Bucket
	prefix string // with a slash at its end
}

// New returns a file system of the objects below a prefix, which ends in a slash or is empty. ctx
// bounds all reads. Errors about missing objects wrap fs.ErrNotExist.
func New(ctx context.Context, bucket objstore.Bucket, prefix string) fs.FS {
	return &bucketFS{ctx: ctx, bucket: bucket, prefix: prefix}
}

// Open implements [fs.FS].
func (b *bucketFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	key := b.prefix + name
	body, err := b.bucket.Open(b.ctx, key)
	if err != nil {
		if objstore.IsNotFound(err) {
			err = errors.Join(fs.ErrNotExist, err)
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &bucketFile{ReadCloser: body, fs: b, key: key}, nil
}

type bucketFile struct {
	io.ReadCloser

	fs  *bucketFS
	key string
}

// Stat implements [fs.File].
func (f *bucketFile) Stat() (fs.FileInfo, error) {
	attrs, err := f.fs.bucket.Stat(f.fs.ctx, f.key)
	if err != nil {
		return nil, err
	}
	return objectInfo{attrs}, nil
}

// objectInfo presents the attributes of an object as those of a file.
type objectInfo struct{ attrs objstore.Attrs }

func (i objectInfo) Name() string     { return path.Base(i.attrs.Key) }
func (i objectInfo) Size() int64      { return i.attrs.Size }
func (objectInfo) Mode() fs.FileMode  { return 0o444 }
func (objectInfo) ModTime() time.Time { return time.Time{} }
func (objectInfo) IsDir() bool        { return false }
func (objectInfo) Sys() any           { return nil }

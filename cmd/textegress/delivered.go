package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/app"
	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/objstore"
)

// openDelivered opens the objects of a delivered recording: a directory, or s3://bucket/prefix with the access of the project
// that delivers to that bucket.
func (sh *shell) openDelivered(location string) (fs.FS, error) {
	rest, isS3 := strings.CutPrefix(location, "s3://")
	if !isS3 {
		info, err := os.Stat(location)
		if err != nil {
			return nil, fmt.Errorf("open the recording: %w", err)
		}
		if !info.IsDir() {
			return nil, usageError(fmt.Errorf("%s is not a directory; name the one that holds manifest.json", location))
		}
		return os.DirFS(location), nil
	}
	name, prefix, _ := strings.Cut(rest, "/")
	prefix = strings.TrimSuffix(strings.TrimSuffix(prefix, "manifest.json"), "/")
	if name == "" || prefix == "" {
		return nil, usageError(fmt.Errorf("%s: write s3://bucket/prefix, where the prefix is the part of the keys before manifest.json", location))
	}
	c, err := sh.loadConfig()
	if err != nil {
		return nil, err
	}
	project, err := projectOfBucket(c, name)
	if err != nil {
		return nil, err
	}
	bucket, err := app.Bucket(project)
	if err != nil {
		return nil, err
	}
	return &bucketFS{ctx: sh.ctx, bucket: bucket, prefix: prefix}, nil
}

// projectOfBucket finds whose access to use. Where several projects share a bucket, the first does.
func projectOfBucket(c *config.Config, bucket string) (config.Project, error) {
	for _, p := range c.Projects {
		if p.S3 != nil && p.S3.Bucket == bucket {
			return p, nil
		}
	}
	return config.Project{}, usageError(fmt.Errorf("no project of the configuration delivers to the bucket %q, so there is no access to it; "+
		"set PROJECTS__<n>__S3_CONFIG__… for it, or download the objects and name the directory", bucket))
}

// bucketFS shows the objects below a prefix as files. It reads and does not list.
type bucketFS struct {
	ctx    context.Context // of the command: fs.FS has no place for one
	bucket objstore.Bucket
	prefix string // without a slash at its end
}

// Open implements [fs.FS].
func (b *bucketFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	key := b.prefix + "/" + name
	body, err := b.bucket.Open(b.ctx, key)
	if err != nil {
		if b.bucket.IsNotFound(err) {
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

// objectInfo shows the attributes of an object as those of a file.
type objectInfo struct{ attrs objstore.Attrs }

func (i objectInfo) Name() string     { return path.Base(i.attrs.Key) }
func (i objectInfo) Size() int64      { return i.attrs.Size }
func (objectInfo) Mode() fs.FileMode  { return 0o444 }
func (objectInfo) ModTime() time.Time { return time.Time{} }
func (objectInfo) IsDir() bool        { return false }
func (objectInfo) Sys() any           { return nil }

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/objstore/objfs"
)

// openDelivered opens the objects of a delivered recording: a directory, or s3://bucket/prefix with
// the credentials of the project that delivers to that bucket.
func (env *environment) openDelivered(location string) (fs.FS, error) {
	rest, isS3 := strings.CutPrefix(location, "s3://")
	if !isS3 {
		info, err := os.Stat(location)
		if err != nil {
			return nil, fmt.Errorf("open the recording: %w", err)
		}
		if !info.IsDir() {
			return nil, usageError(fmt.Errorf("%s is not a directory; name the one that holds "+
				"manifest.json", location))
		}
		root, err := os.OpenRoot(location)
		if err != nil {
			return nil, fmt.Errorf("open the recording: %w", err)
		}
		return localFS{root}, nil // open for the life of the process
	}
	name, prefix, _ := strings.Cut(rest, "/")
	prefix = strings.TrimSuffix(strings.TrimSuffix(prefix, "manifest.json"), "/")
	if name == "" || prefix == "" {
		return nil, usageError(fmt.Errorf("%s: use s3://bucket/prefix, where prefix is the part "+
			"of the keys before manifest.json", location))
	}
	bucket, err := bucketOf(env, name)
	if err != nil {
		return nil, err
	}
	return objfs.New(env.ctx, bucket, prefix+"/"), nil
}

// localFS gives access to the regular files below a directory. It follows no symbolic link out of
// the directory.
type localFS struct{ root *os.Root }

// Stat implements [fs.StatFS].
func (l localFS) Stat(name string) (fs.FileInfo, error) { return l.root.Stat(name) }

// Open implements [fs.FS]. It uses O_NONBLOCK because the file may have become a named pipe since
// it was checked.
func (l localFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	f, err := l.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", name, textegress.ErrNotRegular)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// projectOfBucket returns the project whose credentials give access to the bucket: the first one if
// several share it.
func projectOfBucket(c *config.Config, bucket string) (config.Project, error) {
	for _, p := range c.Projects {
		if p.S3 != nil && p.S3.Bucket == bucket {
			return p, nil
		}
	}
	return config.Project{},
		usageError(fmt.Errorf("no configured project delivers to the bucket %q, so there are no "+
			"credentials for it; set PROJECTS__<n>__S3_CONFIG__…, or download the objects and "+
			"name the directory",
			bucket))
}

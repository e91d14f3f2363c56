package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// S3Options configures an S3 server.
type S3Options struct {
	// Dir is the server's directory, required. The objects are plain files in
	// Dir/data/<bucket>/<key>.
	Dir string
}

// S3 is a running S3 server (versitygw over a directory) that checks signatures and checksums.
type S3 struct {
	*Process
	Endpoint             string // http://127.0.0.1:port
	AccessKey, SecretKey string
	Region               string
	DataDir              string // directory with one subdirectory for each bucket
	// directory with earlier versions of objects; "" if the file system cannot hold them
	VersionsDir string
}

func startS3(ctx context.Context, o S3Options, ports *portBlock) (*S3, error) {
	bin, err := EnsureBinaries(ctx, BinS3)
	if err != nil {
		return nil, err
	}
	port, err := ports.tcp()
	if err != nil {
		return nil, err
	}
	s := &S3{
		Endpoint: fmt.Sprintf("http://127.0.0.1:%d", port), Region: "us-east-1",
		AccessKey: "AKTESTSTACK", SecretKey: "stack-secret-0123456789",
		DataDir: filepath.Join(o.Dir, "data"),
	}
	if err := os.MkdirAll(s.DataDir, 0o755); err != nil {
		return nil, err
	}
	args := []string{
		"--port", fmt.Sprintf("127.0.0.1:%d", port), "--region", s.Region, "--quiet",
		"--health", "/-/healthy", "posix",
	}
	if !hasXattr(o.Dir) {
		sidecar := filepath.Join(o.Dir, "sidecar")
		if err := os.MkdirAll(sidecar, 0o755); err != nil {
			return nil, err
		}
		args = append(args, "--sidecar", sidecar)
	} else {
		s.VersionsDir = filepath.Join(o.Dir, "versions")
		if err := os.MkdirAll(s.VersionsDir, 0o755); err != nil {
			return nil, err
		}
		args = append(args, "--versioning-dir", s.VersionsDir)
	}
	s.Process, err = StartProcess(ctx, ProcessSpec{
		Name: "versitygw", Path: filepath.Join(bin, BinS3), Args: append(args, s.DataDir),
		Env: []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey},
		Dir: o.Dir, Log: filepath.Join(o.Dir, "versitygw.log"), StopTimeout: 5 * time.Second,
		Ready: func(ctx context.Context) error { return httpOK(ctx, s.Endpoint+"/-/healthy") },
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// hasXattr reports whether the file system of dir has user extended attributes, where versitygw
// keeps an object's metadata.
func hasXattr(dir string) bool {
	f := filepath.Join(dir, ".xattr")
	if err := os.WriteFile(f, nil, 0o600); err != nil {
		return false
	}
	defer os.Remove(f)
	return syscall.Setxattr(f, "user.textegress", []byte("1"), 0) == nil
}

// Client returns an S3 client with the server's own credentials.
func (s *S3) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint), Region: s.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
}

// CreateBucket creates a bucket, or does nothing if it exists.
func (s *S3) CreateBucket(ctx context.Context, name string) error {
	_, err := s.Client().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
	var owned *types.BucketAlreadyOwnedByYou
	var exists *types.BucketAlreadyExists
	if err == nil || errors.As(err, &owned) || errors.As(err, &exists) {
		return nil
	}
	return fmt.Errorf("stack: creating bucket %s: %w", name, err)
}

// KeepVersions makes a bucket keep every version of its objects, including deleted ones.
func (s *S3) KeepVersions(ctx context.Context, bucket string) error {
	if s.VersionsDir == "" {
		return fmt.Errorf("stack: the file system of %s has no extended attributes, in which "+
			"versitygw keeps versions", s.DataDir)
	}
	_, err := s.Client().PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{
			Status: types.BucketVersioningStatusEnabled,
		},
	})
	if err != nil {
		return fmt.Errorf("stack: versions of bucket %s: %w", bucket, err)
	}
	return nil
}

// BucketDir returns the directory that holds the objects of a bucket as plain files, readable with
// os.DirFS.
func (s *S3) BucketDir(bucket string) string { return filepath.Join(s.DataDir, bucket) }

// Keys lists the keys of all objects of a bucket that begin with prefix.
func (s *S3) Keys(ctx context.Context, bucket, prefix string) ([]string, error) {
	var keys []string
	p := s3.NewListObjectsV2Paginator(s.Client(), &s3.ListObjectsV2Input{
		Bucket: &bucket,
		Prefix: &prefix,
	})
	for p.HasMorePages() {
		page, err := p.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("stack: listing bucket %s: %w", bucket, err)
		}
		for _, o := range page.Contents {
			keys = append(keys, aws.ToString(o.Key))
		}
	}
	return keys, nil
}

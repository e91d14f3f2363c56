package s3test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/objstore/s3"
	"github.com/syncflow/textegress/test/stack"
)

var servers *stack.Stack

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var err error
	if servers, err = stack.Start(ctx, stack.Options{NoRabbitMQ: true}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer servers.Stop(context.Background())
	return m.Run()
}

var buckets atomic.Int64

// options describes a new, empty bucket.
func options(t *testing.T) s3.Options {
	t.Helper()
	name := fmt.Sprintf("bucket-%d", buckets.Add(1))
	if err := servers.S3.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return s3.Options{
		Endpoint: servers.S3.Endpoint, Region: servers.S3.Region, Bucket: name,
		AccessKey: servers.S3.AccessKey, SecretKey: servers.S3.SecretKey, Checksums: true,
	}
}

func open(t *testing.T, o s3.Options) *s3.Bucket {
	t.Helper()
	b, err := s3.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	for name, checksums := range map[string]bool{"with checksums": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			objtest.Run(t, func(t *testing.T) objstore.Bucket {
				o := options(t)
				o.Checksums = checksums
				return open(t, o)
			}, objtest.Options{Checksums: checksums, Large: 40 << 20})
		})
	}
}

func TestVersions(t *testing.T) {
	o := options(t)
	if err := servers.S3.KeepVersions(t.Context(), o.Bucket); err != nil {
		t.Fatal(err)
	}
	objtest.Versions(t, open(t, o))
}

// A bucket that keeps no versions yields each object once.
func TestVersionsOfNone(t *testing.T) {
	b := open(t, options(t))
	if err := b.Upload(t.Context(), "a", objstore.Bytes([]byte("x"), "text/plain")); err != nil {
		t.Fatal(err)
	}
	p, err := objstore.Purge(t.Context(), b, "", "", func(string) bool { return false })
	if err != nil || !p.Complete() || p.Deleted != 1 {
		t.Errorf("purged: %+v, %v", p, err)
	}
	if _, err := b.Stat(t.Context(), "a"); !objstore.IsNotFound(err) {
		t.Errorf("still there: %v", err)
	}
}

// TestMistakes shows what an operator sees who made one.
func TestMistakes(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*s3.Options)
		remedy string
	}{
		"wrong secret key": {func(o *s3.Options) {
			o.SecretKey = "not the secret " +
				"key of anybody"
		}, "SECRET_KEY"},
		"unknown access key": {func(o *s3.Options) { o.AccessKey = "AKNOBODY" }, "ACCESS_KEY"},
		"no such bucket":     {func(o *s3.Options) { o.Bucket = "no-such-bucket" }, "BUCKET_NAME"},
		"TLS on a plain port": {func(o *s3.Options) {
			o.Endpoint = "https" + strings.TrimPrefix(o.Endpoint, "http")
		}, "http://"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			tc.change(&o)
			b := open(t, o)
			err := b.Upload(t.Context(), "room/alice.txt",
				objstore.Bytes([]byte("x"), "text/plain"))
			e, _ := errors.AsType[*objstore.Error](err)
			if e == nil || !objstore.IsPermanent(err) || !strings.Contains(e.Remedy, tc.remedy) {
				t.Fatalf("Upload = %v, want a permanent error that names %s", err, tc.remedy)
			}
			t.Log(objstore.Redacted(err, ""))
			if strings.Contains(err.Error(), o.SecretKey) ||
				strings.Contains(objstore.Redacted(err, ""), "alice") {
				t.Errorf("%v says too much", err)
			}
		})
	}
}

func TestServerGoesAwayInTheMiddle(t *testing.T) {
	o := options(t)
	b := open(t, o)
	large := objtest.Generated(64<<20, 1)
	openWhole := large.Open
	reached := make(chan struct{})
	killed := make(chan struct{})
	interrupted := large
	interrupted.Open = func() (r readSeekCloser, err error) {
		r, err = openWhole()
		return &pausingReader{readSeekCloser: r, at: 40 << 20, reached: reached, resume: killed},
			err
	}
	result := make(chan error, 1)
	go func() { result <- b.Upload(t.Context(), "large", interrupted) }()
	<-reached
	if err := servers.S3.Kill(); err != nil {
		t.Fatal(err)
	}
	close(killed)
	if err := <-result; err == nil || objstore.IsPermanent(err) {
		t.Errorf("Upload = %v, want a transient error", err)
	}
	if _, err := b.Stat(t.Context(), "large"); err == nil || objstore.IsPermanent(err) ||
		objstore.IsNotFound(err) {
		t.Errorf("Stat while it is away = %v, want a transient error", err)
	}
	if err := servers.S3.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Stat(t.Context(), "large"); !objstore.IsNotFound(err) {
		t.Errorf("Stat of the interrupted upload = %v, want not found", err)
	}
	if err := b.Upload(t.Context(), "large", large); err != nil {
		t.Fatal(err)
	}
	if err := objstore.Verify(t.Context(), b, "large", large.Size, large.SHA256); err != nil {
		t.Error(err)
	}
}

// TestDamageInTheStoreIsFound changes bytes behind the server's back. It keeps the checksum that it
// computed at the upload, so only reading back shows that.
func TestDamageInTheStoreIsFound(t *testing.T) {
	o := options(t)
	o.Checksums = false
	b := open(t, o)
	obj := objstore.Bytes([]byte("content"), "text/plain")
	if err := b.Upload(t.Context(), "k", obj); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(servers.S3.BucketDir(o.Bucket), "k"), []byte("c0ntent"),
		0o644); err != nil {
		t.Fatal(err)
	}
	if err := objstore.Verify(t.Context(), b, "k", obj.Size, obj.SHA256); !errors.Is(err,
		objstore.ErrDiffers) {
		t.Errorf("Verify = %v, want ErrDiffers", err)
	}
}

// Package s3 stores objects in any store with the S3 protocol. It is the only package that uses the
// AWS SDK.
//
// Bodies are streamed from their files and never held in memory. The parts of a large object are
// sections of one file, sent in sequence. This package sends them itself instead of using an SDK
// upload manager, so that it can sign the SHA-256 of each part, watch each request for a stall, and
// use no feature of the store that is not configured (no CRC32, no trailers).
package s3

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/syncflow/textegress/internal/objstore"
)

// Options describes a bucket.
type Options struct {
	// Endpoint is the URL of the store. The default scheme is https; empty means AWS.
	Endpoint string
	Region   string // empty: us-east-1, which stores without regions expect
	Bucket   string

	AccessKey string
	SecretKey string

	// PathStyle puts the bucket into the path of the URL instead of the host name. nil means true
	// for every endpoint except those of AWS.
	PathStyle *bool
	// Checksums sends x-amz-checksum-sha256 with every object and requests it in Stat. Stores that
	// reject the header need false; objects are then verified by reading them back. In both cases
	// the SHA-256 of every request body is signed (x-amz-content-sha256), so a store that checks
	// signatures rejects a damaged body.
	Checksums bool

	// Large objects, of more than MultipartThreshold bytes [16 MiB], are uploaded in parts of
	// PartSize bytes [16 MiB].
	MultipartThreshold int64
	PartSize           int64
	// StallTimeout ends a call after this time without any bytes sent or received [2m]. The
	// duration of a whole call is not limited.
	StallTimeout time.Duration
	// Transport replaces the SDK's transport in tests.
	Transport http.RoundTripper
}

const (
	defaultPartSize = 16 << 20
	maxParts        = 10000 // limit of the protocol
)

// Bucket is an S3 bucket. It is safe for concurrent use.
type Bucket struct {
	o      Options
	name   string
	client *s3.Client

	mu      sync.Mutex
	uploads map[string]bool // multipart uploads in progress, by upload id
}

var _ objstore.Bucket = (*Bucket)(nil)

// New returns the bucket that o describes. It makes no request.
func New(o Options) (*Bucket, error) {
	if o.Bucket == "" {
		return nil, errors.New("S3: the name of the bucket is empty")
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.MultipartThreshold <= 0 {
		o.MultipartThreshold = defaultPartSize
	}
	if o.PartSize <= 0 {
		o.PartSize = defaultPartSize
	}
	if o.StallTimeout <= 0 {
		o.StallTimeout = 2 * time.Minute
	}
	where, isAWS := "AWS "+o.Region, true
	if o.Endpoint != "" {
		if !strings.Contains(o.Endpoint, "://") {
			o.Endpoint = "https://" + o.Endpoint
		}
		u, err := url.Parse(o.Endpoint)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return nil, errors.New("S3: the endpoint is not a URL like https://s3.example.org")
		}
		if u.User != nil {
			return nil, errors.New("S3: the endpoint must not contain a user name or password")
		}
		where, isAWS = u.Scheme+"://"+u.Host, isAmazon(u.Hostname())
	}
	transport := o.Transport
	if transport == nil {
		transport = awshttp.NewBuildableClient().
			WithDialerOptions(func(d *net.Dialer) { d.Timeout = 10 * time.Second }).
			WithTransportOptions(func(t *http.Transport) {
				t.TLSHandshakeTimeout, t.MaxResponseHeaderBytes = 10*time.Second, maxHeader
			}).GetTransport()
	}
	so := s3.Options{
		Region:      o.Region,
		Credentials: credentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey, ""),
		HTTPClient:  client{transport},
		// Parts that intermediaries change are not signed.
		HTTPSignerV4: newSigner(),
		// Delivery retries; the SDK does not.
		Retryer: aws.NopRetryer{},
		// This package sets checksums where configured. Many clones reject what the SDK adds by
		// default (CRC32, trailers).
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		UsePathStyle:               !isAWS,
	}
	if o.Endpoint != "" {
		so.BaseEndpoint = aws.String(o.Endpoint)
	}
	if o.PathStyle != nil {
		so.UsePathStyle = *o.PathStyle
	}
	return &Bucket{
		o: o, name: fmt.Sprintf("s3://%s at %s", o.Bucket, where), client: s3.New(so),
		uploads: map[string]bool{},
	}, nil
}

// isAmazon reports whether a host belongs to AWS. Few other stores support the bucket in the host
// name.
func isAmazon(host string) bool {
	host = strings.ToLower(host)
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
}

// String returns "s3://<bucket> at <endpoint>".
func (b *Bucket) String() string { return b.name }

// Upload implements [objstore.Bucket].
func (b *Bucket) Upload(ctx context.Context, key string, o objstore.Object) error {
	if err := objstore.CheckKey(key); err != nil {
		return objstore.BadKey("upload", b.name, key, err)
	}
	if err := ctx.Err(); err != nil {
		return b.fail(ctx, "upload", key, err)
	}
	body, err := o.Open()
	if err != nil {
		return b.fail(ctx, "upload", key, &contentError{err})
	}
	defer body.Close() //nolint:errcheck // reading only
	if o.Size > b.o.MultipartThreshold {
		return b.uploadParts(ctx, key, o, body)
	}
	ctx, w := watch(ctx, b.o.StallTimeout)
	defer w.stop()
	in := &s3.PutObjectInput{
		Bucket: &b.o.Bucket, Key: &key, ContentType: &o.ContentType, ContentLength: &o.Size,
		Body: w.body(body),
	}
	sum, err := hex.DecodeString(o.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return b.fail(ctx, "upload", key, &contentError{errors.New("its SHA-256 is not known")})
	}
	if b.o.Checksums {
		in.ChecksumSHA256 = aws.String(base64.StdEncoding.EncodeToString(sum))
	}
	out, err := b.client.PutObject(ctx, in, signedPayload(sum))
	if err == nil && !isStores(out.ETag, out.ResultMetadata) {
		err = errNotAStore
	}
	if err != nil {
		return b.fail(ctx, "upload", key, err)
	}
	return nil
}

// Stat implements [objstore.Bucket]. It sets SHA256 for objects that were uploaded in one request
// with Checksums. For an object uploaded in parts, S3 has only a checksum of checksums.
func (b *Bucket) Stat(ctx context.Context, key string) (objstore.Attrs, error) {
	if err := objstore.CheckKey(key); err != nil {
		return objstore.Attrs{}, objstore.BadKey("stat", b.name, key, err)
	}
	a, err := b.head(ctx, key)
	if err == nil {
		return a, nil
	}
	e := b.fail(ctx, "stat", key, err)
	if ctx.Err() == nil && unexplained(err) {
		// The response to HEAD has no body, so it does not show whether the access key, the secret,
		// the clock or the policy caused it. The response to GET does.
		if err := b.reason(ctx, key); err != nil {
			if why := b.fail(ctx, "stat", key, err); !why.NotFound {
				return objstore.Attrs{}, why
			}
		}
		// The cause was transient, for example a clock difference, which the SDK corrects from the
		// store's responses.
		if a, err = b.head(ctx, key); err == nil {
			return a, nil
		}
		e = b.fail(ctx, "stat", key, err)
	}
	return objstore.Attrs{}, e
}

func (b *Bucket) head(ctx context.Context, key string) (objstore.Attrs, error) {
	ctx, w := watch(ctx, b.o.StallTimeout)
	defer w.stop()
	in := &s3.HeadObjectInput{Bucket: &b.o.Bucket, Key: &key}
	if b.o.Checksums {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := b.client.HeadObject(ctx, in)
	switch {
	case err != nil:
		return objstore.Attrs{}, w.explain(err)
	case !isStores(out.ETag, out.ResultMetadata):
		return objstore.Attrs{}, errNotAStore
	}
	a := objstore.Attrs{Key: key, Size: size(out.ContentLength)}
	if b.o.Checksums && out.ChecksumType != types.ChecksumTypeComposite {
		if sum, err := base64.StdEncoding.DecodeString(
			aws.ToString(out.ChecksumSHA256)); err == nil && len(sum) == sha256.Size {
			a.SHA256 = hex.EncodeToString(sum)
		}
	}
	return a, nil
}

// size returns the size of an object according to a response. It may be absent: HTTP permits a
// response to HEAD without it.
func size(n *int64) int64 {
	if n == nil || *n < 0 {
		return objstore.UnknownSize
	}
	return *n
}

// reason requests the first byte of an object and returns the error of that request.
func (b *Bucket) reason(ctx context.Context, key string) error {
	ctx, w := watch(ctx, b.o.StallTimeout)
	defer w.stop()
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &b.o.Bucket, Key: &key,
		Range: aws.String("bytes=0-0"),
	})
	if err != nil {
		return w.explain(err)
	}
	return out.Body.Close()
}

// Open implements [objstore.Bucket].
func (b *Bucket) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := objstore.CheckKey(key); err != nil {
		return nil, objstore.BadKey("open", b.name, key, err)
	}
	ctx, w := watch(withObject(ctx), b.o.StallTimeout)
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.o.Bucket, Key: &key})
	if err == nil && !isStores(out.ETag, out.ResultMetadata) {
		err = errors.Join(errNotAStore, out.Body.Close())
	}
	if err != nil {
		defer w.stop()
		return nil, b.fail(ctx, "open", key, err)
	}
	return &reader{b: b, ctx: ctx, w: w, key: key, body: out.Body}, nil
}

// reader classifies errors in the middle of a body and detects a stall.
type reader struct {
	b    *Bucket
	ctx  context.Context // context of this call
	w    *watchdog
	key  string
	body io.ReadCloser
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	r.w.progress()
	if err != nil && err != io.EOF {
		err = r.b.fail(r.ctx, "read", r.key, err)
	}
	return n, err
}

func (r *reader) Close() error {
	r.w.stop()
	return r.body.Close()
}

// Delete implements [objstore.Bucket].
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := objstore.CheckKey(key); err != nil {
		return objstore.BadKey("delete", b.name, key, err)
	}
	ctx, w := watch(ctx, b.o.StallTimeout)
	defer w.stop()
	out, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.o.Bucket, Key: &key})
	if err == nil && !isDeleted(out.ResultMetadata) {
		err = errNotAStore
	}
	if err == nil {
		return nil
	}
	if err := b.fail(ctx, "delete", key, err); !err.NotFound {
		return err
	}
	return nil
}

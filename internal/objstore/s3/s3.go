// Package s3 delivers objects to anything that speaks the S3 protocol. It is the only package that
// knows the AWS SDK.
//
// Bodies are streamed from where they lie and are never held in memory; parts of a large object are
// sections of the same file, sent one after the other. They are sent here and not by one of the
// SDK's managers because the SHA-256 of each part is signed, each request is watched for a stall of
// its own, and nothing is asked of the store that it was not set to do (no CRC32, no trailers).
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
	// Endpoint is the URL of the store. Without a scheme it is https; empty is AWS.
	Endpoint string
	Region   string // empty: us-east-1, which stores without regions expect
	Bucket   string

	AccessKey string
	SecretKey string

	// PathStyle puts the bucket into the path of the URL instead of the host name. nil: for every
	// endpoint but AWS's own.
	PathStyle *bool
	// Checksums sends x-amz-checksum-sha256 with every object and asks for it in Stat. Stores that
	// refuse the header need false; objects are then verified by reading them back. In both cases
	// the SHA-256 of every request body is signed (x-amz-content-sha256), so a store that checks
	// signatures refuses a damaged one.
	Checksums bool

	// Large objects, of more than MultipartThreshold bytes [16 MiB], are uploaded in parts of
	// PartSize bytes [16 MiB].
	MultipartThreshold int64
	PartSize           int64
	// StallTimeout ends a call in which nothing was sent or received for so long [2m]. A call as a
	// whole may take any time.
	StallTimeout time.Duration
	// Transport replaces the SDK's, for tests.
	Transport http.RoundTripper
}

const (
	defaultPartSize = 16 << 20
	maxParts        = 10000 // of the protocol
)

// Bucket is an S3 bucket. It is safe for concurrent use.
type Bucket struct {
	o      Options
	name   string
	client *s3.Client

	mu      sync.Mutex
	uploads map[string]bool // in parts, being made; by upload id
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
		// What intermediaries change is not signed.
		HTTPSignerV4: newSigner(),
		// Retrying is the business of delivery, which knows about it.
		Retryer: aws.NopRetryer{},
		// Checksums are set where wanted; what the SDK would add by itself (CRC32, trailers) many
		// clones refuse.
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

// isAmazon reports whether a host is one of AWS. Few other stores answer to the host name of a
// bucket.
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

// Stat implements [objstore.Bucket]. SHA256 is filled for objects that were uploaded in one request
// with Checksums; of one in parts, S3 knows only a checksum of checksums.
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
		// The answer to HEAD has no body, so it does not say whether it is about the key, the
		// secret, the clock or the policy. The answer to GET does.
		if err := b.reason(ctx, key); err != nil {
			if why := b.fail(ctx, "stat", key, err); !why.NotFound {
				return objstore.Attrs{}, why
			}
		}
		// It was something that has passed; the SDK corrects the clock by the store's answers.
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

// size is what an answer says of the size of an object, which need not be there: HTTP lets the
// answer to HEAD leave it out.
func size(n *int64) int64 {
	if n == nil || *n < 0 {
		return objstore.UnknownSize
	}
	return *n
}

// reason asks for the first byte of an object, and returns the error that this gives.
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

// reader explains errors in the middle of a body and notices when nothing comes any more.
type reader struct {
	b    *Bucket
	ctx  context.Context // of this one call
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

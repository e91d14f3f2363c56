package s3

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/syncflow/textegress/internal/objstore"
)

// uploadParts uploads a large object in sequential parts. It reads each part twice, first for the
// SHA-256. Nothing is visible under the key before the last request. uploadParts does not send that
// request if the content does not match its size and SHA-256.
func (b *Bucket) uploadParts(ctx context.Context, key string, o objstore.Object,
	body io.ReadSeeker,
) (err error) {
	partSize := b.o.PartSize
	if (o.Size+partSize-1)/partSize > maxParts {
		partSize = (o.Size + maxParts - 1) / maxParts
	}
	// An earlier attempt, perhaps by a killed process, may have left parts. They remain if the
	// store cannot list them.
	b.AbortUploads(ctx, key, func(k string) bool { return k != key }) //nolint:errcheck // see above
	id, err := b.createUpload(ctx, key, o.ContentType)
	if err != nil {
		return err
	}
	b.making(*id, true)
	defer func() {
		if err != nil {
			b.abort(ctx, key, id)
		}
		b.making(*id, false)
	}()

	whole := sha256.New()
	var parts []types.CompletedPart
	for offset := int64(0); offset < o.Size; offset += partSize {
		part, err := b.uploadPart(ctx, key, id, int32(len(parts)+1), whole,
			&section{r: body, start: offset, size: min(partSize, o.Size-offset)})
		if err != nil {
			return err
		}
		parts = append(parts, part)
	}
	if n, _ := io.CopyN(io.Discard, &section{r: body, start: o.Size, size: 1}, 1); n != 0 ||
		hex.EncodeToString(whole.Sum(nil)) != o.SHA256 {
		return b.fail(ctx, "upload", key,
			&contentError{errors.New("it does not have the announced size and SHA-256")})
	}
	// Some stores take minutes to assemble the parts and send only white space meanwhile.
	ctx, w := watch(ctx, 5*b.o.StallTimeout)
	defer w.stop()
	out, err := b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &b.o.Bucket, Key: &key, UploadId: id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err == nil && out.Key == nil && out.Location == nil &&
		!isStores(out.ETag, out.ResultMetadata) {
		err = errNotAStore
	}
	if err != nil {
		return b.fail(ctx, "upload", key, err)
	}
	return nil
}

func (b *Bucket) createUpload(ctx context.Context, key, contentType string) (id *string,
	err error,
) {
	ctx, w := watch(ctx, b.o.StallTimeout)
	defer w.stop()
	in := &s3.CreateMultipartUploadInput{Bucket: &b.o.Bucket, Key: &key, ContentType: &contentType}
	if b.o.Checksums {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmSha256
	}
	out, err := b.client.CreateMultipartUpload(ctx, in)
	if err == nil && aws.ToString(out.UploadId) == "" {
		err = errNotAStore
	}
	if err != nil {
		return nil, b.fail(ctx, "upload", key, err)
	}
	return out.UploadId, nil
}

func (b *Bucket) uploadPart(ctx context.Context, key string, id *string, number int32,
	whole io.Writer, body *section,
) (types.CompletedPart, error) {
	h := sha256.New()
	if n, err := io.Copy(io.MultiWriter(h, whole), body); err != nil || n != body.size {
		return types.CompletedPart{},
			b.fail(ctx, "upload", key,
				&contentError{errors.Join(err, fmt.Errorf("part %d: read %d of %d bytes", number, n,
					body.size))})
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return types.CompletedPart{}, b.fail(ctx, "upload", key, &contentError{err})
	}
	sum := h.Sum(nil)
	ctx, w := watch(ctx, b.o.StallTimeout)
	defer w.stop()
	in := &s3.UploadPartInput{
		Bucket: &b.o.Bucket, Key: &key, UploadId: id, PartNumber: &number,
		ContentLength: &body.size, Body: w.body(body),
	}
	if b.o.Checksums {
		in.ChecksumSHA256 = aws.String(base64.StdEncoding.EncodeToString(sum))
	}
	out, err := b.client.UploadPart(ctx, in, signedPayload(sum))
	switch {
	case err == nil && !isStores(out.ETag, out.ResultMetadata):
		err = errNotAStore
	case err == nil && aws.ToString(out.ETag) == "":
		err = errNoETag
	}
	if err != nil {
		return types.CompletedPart{}, b.fail(ctx, "upload", key, err)
	}
	return types.CompletedPart{
		ETag: out.ETag, PartNumber: &number,
		ChecksumSHA256: in.ChecksumSHA256,
	}, nil
}

// signedPayload signs the known SHA-256 of the body with the request. Otherwise the SDK would read
// the body once more (http) or sign no hash (https).
func signedPayload(sum []byte) func(*s3.Options) {
	set := middleware.InitializeMiddlewareFunc("textegressPayloadHash",
		func(ctx context.Context, in middleware.InitializeInput,
			next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata,
			error,
		) {
			return next.HandleInitialize(v4.SetPayloadHash(ctx, hex.EncodeToString(sum)), in)
		})
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions,
			func(s *middleware.Stack) error { return s.Initialize.Add(set, middleware.Before) })
	}
}

// section is the range of a body from start to start+size. Only one section of a body may be in use
// at a time.
type section struct {
	r           io.ReadSeeker
	start, size int64
	pos         int64 // relative to start
	placed      bool  // r is positioned at start+pos
}

func (s *section) Read(p []byte) (int, error) {
	if s.pos >= s.size {
		return 0, io.EOF
	}
	if !s.placed {
		if _, err := s.r.Seek(s.start+s.pos, io.SeekStart); err != nil {
			return 0, err
		}
		s.placed = true
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.size-s.pos)])
	s.pos += int64(n)
	return n, err
}

func (s *section) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.pos
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	s.pos, s.placed = offset, false
	return offset, nil
}

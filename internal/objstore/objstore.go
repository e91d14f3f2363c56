// Package objstore defines the small interface to an object store that delivery needs.
//
// It is independent of recordings. Each implementation is a package below it, together with the one
// vendor library that it uses: s3 for any store with the S3 protocol, dir for a directory. objtest
// contains the conformance suite for every implementation, and an in-memory bucket for other tests.
package objstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"unicode/utf8"
)

// Bucket stores objects under keys.
//
// Keys are slash-separated paths without empty, "." or ".." components. Components may contain any
// valid UTF-8 without control characters, including spaces, colons, percent signs and any script.
//
// All methods are safe for concurrent use. No method retries. Every returned error is, or wraps, an
// [*Error]; see [IsNotFound], [IsPermanent] and [RetryAfter]. If ctx ended, the error also wraps
// the context's error.
type Bucket interface {
	// Upload stores o under key and replaces an existing object.
	//
	// When Upload returns nil, the whole object is durable and every later call finds it. When it
	// returns an error, it is UNKNOWN whether the object is stored: the store may have completed a
	// request whose response was lost. The caller checks with Stat. A partial object is never
	// visible under key.
	Upload(ctx context.Context, key string, o Object) error

	// Stat describes the object stored under key.
	Stat(ctx context.Context, key string) (Attrs, error)

	// Open reads the object stored under key. If the connection breaks, the reader returns an error
	// instead of an early end.
	Open(ctx context.Context, key string) (io.ReadCloser, error)

	// List yields the objects whose key starts with prefix, in ascending order of keys. It does not
	// set SHA256 of the attributes. It yields nothing after an error.
	List(ctx context.Context, prefix string) iter.Seq2[Attrs, error]

	// Delete removes the object stored under key. It is not an error if there is none.
	Delete(ctx context.Context, key string) error

	// String names the bucket for messages, for example "s3://recordings at
	// https://s3.example.org". It contains no secret.
	String() string
}

// Attrs describes a stored object.
type Attrs struct {
	Key  string
	Size int64 // bytes, or UnknownSize
	// SHA256 is the lower-case hexadecimal SHA-256 that the store itself computed over the received
	// content, or "" if the store computes none. It is never a value supplied by a client.
	SHA256 string
}

// UnknownSize is the size of an object whose size the store does not state. The object may have any
// size; in particular, it need not be empty.
const UnknownSize = -1

// Object is content to be uploaded.
type Object struct {
	// Open returns the content from its start. It is called at least once per attempt, so an upload
	// can be retried without holding the content in memory.
	Open func() (io.ReadSeekCloser, error)
	Size int64 // bytes, exact
	// SHA256 is the lower-case hexadecimal SHA-256 of the content. A store rejects content that
	// does not match it.
	SHA256      string
	ContentType string // MIME type
}

// Bytes returns an object with the given content.
func Bytes(data []byte, contentType string) Object {
	sum := sha256.Sum256(data)
	open := func() (io.ReadSeekCloser, error) { return nopCloser{bytes.NewReader(data)}, nil }
	return Object{
		Open:        open,
		Size:        int64(len(data)),
		SHA256:      hex.EncodeToString(sum[:]),
		ContentType: contentType,
	}
}

// File returns an object with the content of the file at path. The caller supplies its size in
// bytes and its hexadecimal SHA-256. Every attempt opens the file again.
func File(path string, size int64, sha256Hex, contentType string) Object {
	return Object{
		Open:        func() (io.ReadSeekCloser, error) { return os.Open(path) },
		Size:        size,
		SHA256:      sha256Hex,
		ContentType: contentType,
	}
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// CheckKey returns an error unless every [Bucket] accepts key. Implementations call it first, so
// that a test with any implementation detects a bad key, whatever the store accepts.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("the key is empty")
	}
	if len(key) > 1024 {
		return fmt.Errorf("the key has %d bytes, S3 allows 1024", len(key))
	}
	if !utf8.ValidString(key) {
		return fmt.Errorf("the key is not valid UTF-8")
	}
	for c := range strings.SplitSeq(key, "/") {
		if c == "" || c == "." || c == ".." {
			return fmt.Errorf("the key has a component %q", c)
		}
	}
	for i := range len(key) {
		if key[i] < 0x20 || key[i] == 0x7f {
			return fmt.Errorf("the key contains a control character")
		}
	}
	return nil
}

// BadKey returns the error for a key that [CheckKey] rejected.
func BadKey(op, bucket, key string, err error) *Error {
	return &Error{Op: op, Bucket: bucket, Key: key, Cause: err.Error(), Permanent: true, Err: err}
}

// ErrDiffers reports that the object stored under a key is not the expected one.
var ErrDiffers = errors.New("the stored object has other content")

// Verify returns nil if the object stored under key has exactly the given size in bytes and
// hexadecimal SHA-256.
//
// It relies on the store's own checksum if the store computes one, and otherwise reads the object
// back. It also reads the object back before it reports a different object, because the
// consequences are costly and some front ends respond to HEAD, and so to Stat, with a length of 0.
// It reads at most one byte more than the size. The error satisfies [IsNotFound] if there is no
// such object, and errors.Is(err, ErrDiffers) if the object differs.
func Verify(ctx context.Context, b Bucket, key string, size int64, sha256Hex string) error {
	a, err := b.Stat(ctx, key)
	if err != nil {
		return err
	}
	if a.SHA256 == sha256Hex && a.SHA256 != "" && (a.Size == size || a.Size == UnknownSize) {
		return nil
	}
	r, err := b.Open(ctx, key)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // reading only
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(r, size+1))
	switch {
	case err != nil:
		return err
	case n > size:
		return differs(b, key, fmt.Sprintf("stored are more than the expected %d bytes", size))
	case n < size:
		return differs(b, key, fmt.Sprintf("stored are %d bytes, expected %d", n, size))
	case hex.EncodeToString(h.Sum(nil)) != sha256Hex:
		return differs(b, key, "read back, it has another SHA-256")
	}
	return nil
}

func differs(b Bucket, key, cause string) error {
	return &Error{Op: "verify", Bucket: b.String(), Key: key, Cause: cause, Err: ErrDiffers}
}

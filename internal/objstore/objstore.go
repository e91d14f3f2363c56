// Package objstore is the small view of an object store that delivery needs.
//
// It knows nothing of recordings. The implementations live below it, each in its own package
// together with the one vendor library it uses: s3 for anything that speaks the S3 protocol, dir
// for a directory, mem for tests. retry is a decorator, objtest the conformance suite which every
// implementation passes.
package objstore

import (
	"context"
	"io"
	"iter"
)

// Bucket stores objects under keys.
//
// Keys are slash-separated paths without empty, "." or ".." components. Every other byte sequence
// of valid UTF-8 without control characters is allowed in them, so also spaces, colons, percent
// signs and any script.
//
// All methods may be called concurrently. None of them retries anything. Every
// error they return is, or wraps, an [*Error]; see [IsNotFound], [IsPermanent] and [RetryAfter]. If
// ctx ended, errors.Is finds the context's error in it too.
type Bucket interface {
	// Upload stores o under key, replacing what was there.
	//
	// When Upload returns nil, the object is stored durably as a whole and is found by every later
	// call. When it returns an error, it is UNKNOWN whether the object is stored: a store may well
	// have completed the request whose answer was lost. What is never visible under key is a part
	// of an object. The caller decides with Stat.
	Upload(ctx context.Context, key string, o Object) error

	// Stat describes the object stored under key.
	Stat(ctx context.Context, key string) (Attrs, error)

	// Open reads the object stored under key. The reader fails rather than ending early when the
	// connection breaks.
	Open(ctx context.Context, key string) (io.ReadCloser, error)

	// List yields the objects whose key begins with prefix, in ascending order of keys. SHA256 of
	// the attributes is not filled. After an error nothing more is yielded.
	List(ctx context.Context, prefix string) iter.Seq2[Attrs, error]

	// Delete removes the object stored under key. It is not an error if there is none.
	Delete(ctx context.Context, key string) error

	// String names the bucket for messages, for example "s3://recordings at
	// https://s3.example.org". It holds no secret.
	String() string
}

// Attrs describes a stored object.
type Attrs struct {
	Key  string
	Size int64 // bytes, or UnknownSize
	// SHA256 is the lower-case hexadecimal SHA-256 of the content as the store itself computed it
	// over the bytes that it received, or "" where the store computes none. It is never a value
	// that a client merely attached.
	SHA256 string
}

// UnknownSize is the size of an object of which the store does not tell it: no statement about it
// at all, least of all that the object is empty.
const UnknownSize = -1

// Object is content to be uploaded.
type Object struct {
	// Open returns the content from its beginning. It is called at least once per attempt, so an
	// upload can be repeated and is never held in memory.
	Open func() (io.ReadSeekCloser, error)
	Size int64 // bytes, exact
	// SHA256 is the lower-case hexadecimal SHA-256 of the content. A store refuses content that
	// does not match it.
	SHA256      string
	ContentType string // MIME type
}

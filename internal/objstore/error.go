package objstore

import (
	"errors"
	"strings"
	"time"
)

// Error is a failed operation on a bucket. Its parts are separate because keys contain names of
// people: log [Error.WithoutKey].
type Error struct {
	Op     string // "upload", "stat", "open", "read", "list", "delete"
	Bucket string // Bucket.String
	Key    string // key or prefix; "" if left out
	Cause  string // what happened; never contains the key, a secret or content
	Remedy string // what a person can do about it, "" if nothing or unknown

	NotFound  bool // there is no object under Key
	Permanent bool // see IsPermanent

	RetryAfter time.Duration // how long the store asks to be left alone, 0 if it does not say

	Err error // the underlying error, for errors.Is and errors.As; its text may contain the key
}

// Error names the operation, the key, the bucket, the cause and the remedy.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Key != "" {
		b.WriteString(" \"" + e.Key + "\"")
	}
	b.WriteString(" (" + e.Bucket + "): " + e.Cause)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// Unwrap returns the underlying error.
func (e *Error) Unwrap() error { return e.Err }

// WithoutKey returns a copy of e for logs and status pages, whose text does not contain the key and
// which does not lead to an error whose text does.
func (e *Error) WithoutKey() *Error {
	c := *e
	c.Key, c.Err = "", nil
	return &c
}

// IsNotFound reports whether err says that there is no object under that key.
func IsNotFound(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.NotFound
}

// IsPermanent reports whether repeating the same call unchanged cannot help: wrong credentials, a
// missing bucket, a full disk. It needs operator action, so such a call is repeated only rarely.
// Everything else (timeouts, throttling, server errors, broken connections) is transient.
func IsPermanent(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Permanent
}

// RetryAfter returns how long the store asks to be left alone, 0 if it does not say.
func RetryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}

// Redacted returns the text of err without any key in it. An error that is not an [*Error] may say
// anything, so only its operation would be safe; for those it returns fallback.
func Redacted(err error, fallback string) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.WithoutKey().Error()
	}
	return fallback
}

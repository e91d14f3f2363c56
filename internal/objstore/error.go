package objstore

import (
	"errors"
	"strings"
	"time"
)

// Error describes a failed operation on a bucket. Its parts are separate because keys contain names
// of people: log [Error.WithoutKey].
type Error struct {
	Op     string // "upload", "stat", "open", "read", "list", "delete"
	Bucket string // Bucket.String
	Key    string // key or prefix; "" if omitted
	Cause  string // what failed; never contains the key, a secret or content
	Remedy string // what an operator can do, or "" if nothing or unknown

	NotFound  bool // there is no object under Key
	Permanent bool // see IsPermanent

	RetryAfter time.Duration // delay before a retry as requested by the store, or 0 if not stated

	Err error // the underlying error, for errors.Is and errors.As; its text may contain the key
}

// Error returns a text with the operation, the key, the bucket, the cause and the remedy.
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

// WithoutKey returns a copy of e for logs and status pages. The copy contains neither the key nor
// the underlying error, whose text may contain the key.
func (e *Error) WithoutKey() *Error {
	c := *e
	c.Key, c.Err = "", nil
	return &c
}

// IsNotFound reports whether err means that there is no object under the key.
func IsNotFound(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.NotFound
}

// IsPermanent reports whether retrying the unchanged call cannot help: wrong credentials, a missing
// bucket, a full disk. Such errors need operator action, so callers retry only rarely. Everything
// else (timeouts, throttling, server errors, broken connections) is transient.
func IsPermanent(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Permanent
}

// RetryAfter returns the delay before a retry as requested by the store, or 0 if not stated.
func RetryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}

// Redacted returns the text of err without any key. The text of an error other than an [*Error] may
// contain a key; for such an error it returns fallback.
func Redacted(err error, fallback string) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.WithoutKey().Error()
	}
	return fallback
}

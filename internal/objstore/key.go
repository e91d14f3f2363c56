package objstore

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// CheckKey returns an error if key is none that every [Bucket] accepts, see there. Implementations
// call it first, so that a mistake shows in tests with whichever of them and never depends on the
// store.
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

// BadKey returns the error for a key that [CheckKey] refused.
func BadKey(op, bucket, key string, err error) *Error {
	return &Error{Op: op, Bucket: bucket, Key: key, Cause: err.Error(), Permanent: true, Err: err}
}

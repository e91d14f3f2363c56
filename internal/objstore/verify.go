package objstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// ErrDiffers says that the object stored under a key is not the expected one.
var ErrDiffers = errors.New("the stored object has other content")

// Verify returns nil if exactly the content with that size in bytes and hexadecimal SHA-256 is
// stored under key.
//
// It relies on the store's own checksum where the store computes one, and otherwise reads the
// object back. It does so too before it says that there is another object: what is concluded from
// that is costly, and what Stat tells passes through front ends, which for example answer HEAD with
// a length of 0. No more is read than the size and one byte. The error satisfies
// [IsNotFound] if there is no such object, and errors.Is(err, ErrDiffers) if there is
// another one.
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

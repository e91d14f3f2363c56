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

// Verify returns nil if exactly the content with that size in bytes and hexadecimal SHA-256 is stored under key.
//
// It relies on the store's own checksum where the store computes one and otherwise reads the object back. The error
// satisfies [Bucket.IsNotFound] if there is no such object, and errors.Is(err, ErrDiffers) if there is another one.
func Verify(ctx context.Context, b Bucket, key string, size int64, sha256Hex string) error {
	a, err := b.Stat(ctx, key)
	if err != nil {
		return err
	}
	if a.Size != size {
		return differs(b, key, fmt.Sprintf("stored are %d bytes, expected %d", a.Size, size))
	}
	if a.SHA256 != "" {
		if a.SHA256 != sha256Hex {
			return differs(b, key, "the SHA-256 computed by the store is another one")
		}
		return nil
	}
	r, err := b.Open(ctx, key)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // reading only
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return err
	}
	if n != size {
		return differs(b, key, fmt.Sprintf("read back %d bytes, expected %d", n, size))
	}
	if hex.EncodeToString(h.Sum(nil)) != sha256Hex {
		return differs(b, key, "read back, it has another SHA-256")
	}
	return nil
}

func differs(b Bucket, key, cause string) error {
	return &Error{Op: "verify", Bucket: b.String(), Key: key, Cause: cause, Err: ErrDiffers}
}

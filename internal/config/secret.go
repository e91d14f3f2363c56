package config

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// mask is shown in place of a Secret. Its length is fixed, so that it does not reveal the length of
// the value.
const mask = "********"

// Secret is a value that must not be shown: an API secret, an S3 secret key, a password. It appears
// as a mask if it is printed with any verb, logged, or encoded as JSON, YAML or text. Only Reveal
// returns the value.
type Secret struct{ value string }

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value. Every call needs a review.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether there is no value.
func (s Secret) IsZero() bool { return s.value == "" }

// Equal compares two secrets in constant time.
func (s Secret) Equal(t Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.value), []byte(t.value)) == 1
}

// String returns the mask, or nothing for an empty secret.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return mask
}

// Format writes the mask for every verb. Without it, %x, %q and %+v of a struct would read the
// field by reflection.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue returns the mask for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns the mask for encoding/json, YAML and flag packages.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

package config

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// mask is what a Secret shows of itself. It has a fixed length, so that not even the length of the
// value is shown.
const mask = "********"

// Secret is a value that must not be shown: an API secret, an S3 secret key, a password. Printed
// with any verb, logged, or encoded as JSON, YAML or text it shows a mask. Only Reveal gives the
// value.
type Secret struct{ value string }

// NewSecret wraps a value so that it can be passed around without being shown by accident.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value itself. Review every call of it.
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

// Format shows the mask for every verb. Without it %x, %q and %+v of a struct would reach the field
// by reflection.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is what slog shows.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is what encoding/json, YAML and flag packages show.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

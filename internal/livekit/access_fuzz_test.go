package livekit_test

import (
	"errors"
	"testing"

	"github.com/syncflow/textegress/internal/livekit"
)

// FuzzAccess: only a signed token permits anything, and every other text yields
// [livekit.ErrAccess].
func FuzzAccess(f *testing.F) {
	signed, err := livekit.Key{ID: "another", Secret: "another"}.JoinToken("room", "identity")
	if err != nil {
		f.Fatal(err)
	}
	for _, token := range []string{"", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", signed} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := livekit.TokenKey(token); err != nil && !errors.Is(err, livekit.ErrAccess) {
			t.Errorf("TokenKey: %v", err)
		}
		access, err := key.Access(token)
		if !errors.Is(err, livekit.ErrAccess) || access != (livekit.Access{}) {
			t.Errorf("Access: %+v, %v", access, err)
		}
	})
}

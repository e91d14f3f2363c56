package livekit_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/syncflow/textegress/internal/livekit"
)

// TestAccess: only a token that the key signed and that is valid now permits anything.
func TestAccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		in := func(d time.Duration) int64 { return now.Add(d).Unix() }
		record := map[string]any{"roomRecord": true, "room": "a/b"}
		for _, tt := range []struct {
			name   string
			method jwt.SigningMethod
			secret any
			claims jwt.MapClaims
			want   livekit.Access
			says   string
		}{
			{
				"recorder", jwt.SigningMethodHS256, []byte(key.Secret),
				jwt.MapClaims{"iss": key.ID, "exp": in(time.Minute), "video": record},
				livekit.Access{Record: true, Room: "a/b"},
				"",
			},
			{
				"no grant", jwt.SigningMethodHS256, []byte(key.Secret),
				jwt.MapClaims{"iss": key.ID, "exp": in(time.Minute)},
				livekit.Access{},
				"",
			},
			{
				"just expired", jwt.SigningMethodHS256, []byte(key.Secret),
				jwt.MapClaims{"iss": key.ID, "exp": in(-59 * time.Second), "video": record},
				livekit.Access{Record: true, Room: "a/b"},
				"",
			},
			{
				"expired", jwt.SigningMethodHS256, []byte(key.Secret),
				jwt.MapClaims{"iss": key.ID, "exp": in(-61 * time.Second), "video": record},
				livekit.Access{},
				"expired",
			},
			{
				"early", jwt.SigningMethodHS256, []byte(key.Secret),
				jwt.MapClaims{
					"iss": key.ID, "exp": in(time.Hour), "nbf": in(2 * time.Minute),
					"video": record,
				},
				livekit.Access{},
				"not valid yet",
			},
			{
				"no expiry", jwt.SigningMethodHS256, []byte(key.Secret),
				jwt.MapClaims{"iss": key.ID, "video": record},
				livekit.Access{},
				"no expiry",
			},
			{
				"another secret", jwt.SigningMethodHS256, []byte("another secret"),
				jwt.MapClaims{"iss": key.ID, "exp": in(time.Minute), "video": record},
				livekit.Access{},
				"not signed",
			},
			{
				"another key", jwt.SigningMethodHS256, []byte(key.Secret),
				jwt.MapClaims{"iss": "another", "exp": in(time.Minute), "video": record},
				livekit.Access{},
				"not signed",
			},
			{
				"another algorithm", jwt.SigningMethodHS512, []byte(key.Secret),
				jwt.MapClaims{"iss": key.ID, "exp": in(time.Minute), "video": record},
				livekit.Access{},
				"not signed",
			},
			{
				"no signature", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType,
				jwt.MapClaims{"iss": key.ID, "exp": in(time.Minute), "video": record},
				livekit.Access{},
				"not signed",
			},
		} {
			token, err := jwt.NewWithClaims(tt.method, tt.claims).SignedString(tt.secret)
			if err != nil {
				t.Fatal(err)
			}
			got, err := key.Access(token)
			refused := errors.Is(err, livekit.ErrAccess) && strings.Contains(err.Error(), tt.says)
			if got != tt.want || refused != (tt.says != "") || err != nil && !refused {
				t.Errorf("%s: %+v, %v", tt.name, got, err)
			}
			if err != nil && strings.Contains(err.Error(), "eyJ") {
				t.Errorf("%s: the error contains the token", tt.name)
			}
		}
	})
}

// TestAccessWithoutKey: an unset key accepts no token, not even one signed with an empty secret.
func TestAccessWithoutKey(t *testing.T) {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "", "exp": time.Now().Add(time.Minute).Unix(),
	}).SignedString([]byte{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (livekit.Key{}).Access(token); !errors.Is(err, livekit.ErrAccess) {
		t.Errorf("Access = %v", err)
	}
}

// TestTokenKey: the key id is read without verifying the signature.
func TestTokenKey(t *testing.T) {
	token, err := key.JoinToken("room", "identity")
	if err != nil {
		t.Fatal(err)
	}
	if id, err := livekit.TokenKey(token); err != nil || id != key.ID {
		t.Errorf("TokenKey = %q, %v", id, err)
	}
	for _, text := range []string{"", "x", "a.b.c", strings.Repeat(".", 60000)} {
		if id, err := livekit.TokenKey(text); !errors.Is(err, livekit.ErrAccess) || id != "" {
			t.Errorf("TokenKey(%.10q) = %q, %v", text, id, err)
		}
	}
}

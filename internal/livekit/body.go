package livekit

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// bodyLifetime is how long a token of SignBody is valid, as LiveKit's own webhooks have it.
const bodyLifetime = 5 * time.Minute

type bodyClaims struct {
	jwt.RegisteredClaims
	SHA256 string `json:"sha256"`
}

// SignBody returns the token of the Authorization header with which LiveKit's webhook receivers
// verify body (livekit/protocol/webhook.Receive): it contains the SHA-256 of the body in base64.
// The token is valid for five minutes.
func (k Key) SignBody(body []byte) (string, error) {
	if k.ID == "" || k.Secret == "" {
		return "", errors.New("sign a webhook: key and secret are required")
	}
	now := time.Now()
	sum := sha256.Sum256(body)
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, bodyClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    k.ID,
			NotBefore: jwt.NewNumericDate(now.Add(-backdated)),
			ExpiresAt: jwt.NewNumericDate(now.Add(bodyLifetime)),
		},
		SHA256: base64.StdEncoding.EncodeToString(sum[:]),
	})
	signed, err := t.SignedString([]byte(k.Secret))
	if err != nil {
		return "", fmt.Errorf("sign a webhook: %w", err)
	}
	return signed, nil
}

package syncflow

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	tokenLifetime = time.Hour
	// tokenRenewal is how long before its expiry a token is replaced: a request may wait in the
	// server for half a minute before its token is checked, and the clocks may differ.
	tokenRenewal = 10 * time.Minute
)

// signer signs project tokens: JWTs with HS256 that prove possession of a project's API key.
type signer struct {
	projectID string

	mu      sync.Mutex // guards the fields below
	key     string
	secret  []byte
	cached  string
	renewAt time.Time
}

// fresh returns a new token. Its claims are exactly those of SyncFlow's own clients. The server
// determines the kind of a token by trying to decode its claims: with one more claim it may take
// ours for another kind, and with aud it refuses the token.
func (s *signer) fresh() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sign()
}

// sign is fresh with s.mu held.
func (s *signer) sign() (string, error) {
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss":       s.key,
		"projectId": s.projectID,
		"iat":       now.Unix(), // integers: the server refuses a fraction
		"exp":       now.Add(tokenLifetime).Unix(),
	})
	signed, err := t.SignedString(s.secret)
	if err != nil {
		return "", fmt.Errorf("sign the project token: %w", err)
	}
	return signed, nil
}

// current returns the token for API calls, and renews it before it expires.
func (s *signer) current() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.cached == "" || !now.Before(s.renewAt) ||
		now.Before(s.renewAt.Add(tokenRenewal-tokenLifetime)) {
		t, err := s.sign() // also when the clock was set back
		if err != nil {
			return "", err
		}
		s.cached, s.renewAt = t, now.Add(tokenLifetime-tokenRenewal)
	}
	return s.cached, nil
}

// replace sets the key that signs from now on.
func (s *signer) replace(key, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key, s.secret, s.cached = key, []byte(secret), ""
}

// invalidate drops the cached token after the API refused it.
func (s *signer) invalidate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cached = ""
}

// ProjectToken returns a fresh project token, valid for an hour. RabbitMQ accepts it as the user
// name.
func (c *Client) ProjectToken(context.Context) (string, error) { return c.signer.fresh() }

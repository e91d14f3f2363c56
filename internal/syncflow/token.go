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
	// A token is replaced this long before it expires: a request may wait in the server for half a
	// minute before its token is looked at, and the clocks need not agree.
	tokenRenewal = 10 * time.Minute
)

// signer makes project tokens: JWTs with HS256 that prove the possession of a project's API key.
type signer struct {
	projectID string

	mu      sync.Mutex // guards the fields below
	key     string
	secret  []byte
	cached  string
	renewAt time.Time
}

// fresh makes a new token. Its claims are exactly those of SyncFlow's own clients: the server tells
// kinds of tokens apart by trying to read their claims, so one more claim can make it take ours for
// another kind, and aud makes it refuse.
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

// current returns the token for API calls, which is renewed before it expires.
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

// replace signs with another key from now on.
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

// ProjectToken returns a fresh project token, valid for an hour. RabbitMQ takes it as the user
// name.
func (c *Client) ProjectToken(context.Context) (string, error) { return c.signer.fresh() }

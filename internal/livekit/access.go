package livekit

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// tokenLeeway is the clock difference that is tolerated when a token is verified, as on a LiveKit
// server (auth/verifier.go of livekit/protocol).
const tokenLeeway = time.Minute

// ErrAccess means that an access token is invalid: malformed, expired, without an expiry, or not
// signed with the secret of its key.
var ErrAccess = errors.New("invalid access token")

// Access is what an access token permits.
type Access struct {
	Record bool   // the grant roomRecord
	Room   string // the room that the token is restricted to; "": all rooms
}

// accessClaims are the claims of an access token that this package reads.
type accessClaims struct {
	jwt.RegisteredClaims
	Video struct {
		RoomRecord bool   `json:"roomRecord"`
		Room       string `json:"room"`
	} `json:"video"`
}

// TokenKey returns the id of the key that an access token names. It proves nothing; see
// [Key.Access]. The error wraps [ErrAccess].
func TokenKey(token string) (string, error) {
	var claims jwt.RegisteredClaims
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}))
	if _, _, err := parser.ParseUnverified(token, &claims); err != nil {
		return "", fmt.Errorf("%w: it is not a JWT", ErrAccess)
	}
	return claims.Issuer, nil
}

// Access verifies an access token against the key, and returns what it permits. Like a LiveKit
// server it tolerates a clock difference of a minute; unlike one it requires an expiry. The error
// wraps [ErrAccess] and contains neither the token nor the secret.
func (k Key) Access(token string) (Access, error) {
	if k.ID == "" || k.Secret == "" {
		return Access{}, fmt.Errorf("%w: no key to verify it with", ErrAccess)
	}
	var claims accessClaims
	_, err := jwt.ParseWithClaims(token, &claims,
		func(*jwt.Token) (any, error) { return []byte(k.Secret), nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(k.ID), jwt.WithExpirationRequired(), jwt.WithLeeway(tokenLeeway))
	switch {
	case err == nil:
		return Access{Record: claims.Video.RoomRecord, Room: claims.Video.Room}, nil
	case errors.Is(err, jwt.ErrTokenExpired):
		return Access{}, fmt.Errorf("%w: it has expired; check the clocks", ErrAccess)
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return Access{}, fmt.Errorf("%w: it is not valid yet; check the clocks", ErrAccess)
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return Access{}, fmt.Errorf("%w: it has no expiry (exp)", ErrAccess)
	default:
		return Access{}, fmt.Errorf("%w: it is not signed with the secret of its key", ErrAccess)
	}
}

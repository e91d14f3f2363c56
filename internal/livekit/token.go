// Package livekit uses a LiveKit server's API with one of its keys: join tokens and rooms.
package livekit

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// lifetime is how long a token admits to its room; the server renews it for participants. It
	// equals that of SyncFlow's tokens.
	lifetime = 6 * time.Hour
	// backdated is how much our clock may be ahead of the server's, which refuses tokens that are
	// not valid yet.
	backdated = 10 * time.Minute
)

// Key is an API key of a LiveKit server.
type Key struct {
	ID     string
	Secret string `json:"-"`
}

// String keeps the secret out of formatted text.
func (k Key) String() string { return "LiveKit API key" }

// GoString does so for %#v.
func (k Key) GoString() string { return k.String() }

// LogValue does so for logs.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// grants are those of a hidden recorder: it takes no participant's place, does not hold the room
// open, is seen by no other client and can publish nothing. Data packets are delivered only to
// participants that may subscribe. False values are explicit, because LiveKit treats a missing
// right to publish as granted.
type grants struct {
	RoomJoin             bool   `json:"roomJoin"`
	Room                 string `json:"room"`
	CanPublish           bool   `json:"canPublish"`
	CanSubscribe         bool   `json:"canSubscribe"`
	CanPublishData       bool   `json:"canPublishData"`
	CanUpdateOwnMetadata bool   `json:"canUpdateOwnMetadata"`
	Hidden               bool   `json:"hidden"`
	Recorder             bool   `json:"recorder"`
}

type claims struct {
	jwt.RegisteredClaims
	Name  string `json:"name"`
	Video grants `json:"video"`
}

// JoinToken returns a token that admits a hidden, passive recorder to a room under an identity.
func (k Key) JoinToken(room, identity string) (string, error) {
	switch {
	case k.ID == "" || k.Secret == "":
		return "", errors.New("join token: key and secret are required")
	case room == "" || identity == "":
		return "", errors.New("join token: room and identity are required")
	}
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: k.ID, Subject: identity,
			NotBefore: jwt.NewNumericDate(now.Add(-backdated)),
			ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
		},
		Name:  identity,
		Video: grants{RoomJoin: true, Room: room, CanSubscribe: true, Hidden: true, Recorder: true},
	})
	signed, err := t.SignedString([]byte(k.Secret))
	if err != nil {
		return "", fmt.Errorf("join token: %w", err)
	}
	return signed, nil
}

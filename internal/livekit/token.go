// Package livekit makes a LiveKit server a platform: its rooms are the sessions, and one of its API
// keys is the key to them. It lists rooms, creates join tokens and verifies webhooks.
package livekit

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// lifetime is how long a token admits a participant; the server renews it for participants in
	// the room. SyncFlow's tokens have the same lifetime.
	lifetime = 6 * time.Hour
	// backdated is how far our clock may be ahead of the server's. The server refuses tokens that
	// are not valid yet.
	backdated = 10 * time.Minute
)

// Key is an API key of a LiveKit server.
type Key struct {
	ID     string
	Secret string `json:"-"`
}

// String keeps the secret out of formatted text.
func (k Key) String() string { return "LiveKit API key" }

// GoString keeps the secret out of %#v.
func (k Key) GoString() string { return k.String() }

// LogValue keeps the secret out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// grants are the permissions of a hidden recorder: it takes no participant's place, does not keep
// the room open, is invisible to other clients and cannot publish. Data packets are delivered only
// to participants that may subscribe. False values are explicit, because LiveKit treats a missing
// permission to publish as granted. Without recorder, a hidden participant takes a place and keeps
// the room open.
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

// kindEgress makes LiveKit list the recorder as an egress, which clients and dashboards leave out
// of their lists of people. LiveKit moves no such participant to another room.
const kindEgress = "egress"

type claims struct {
	jwt.RegisteredClaims
	Name  string `json:"name"`
	Kind  string `json:"kind"`
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
		Name: identity, Kind: kindEgress,
		Video: grants{RoomJoin: true, Room: room, CanSubscribe: true, Hidden: true, Recorder: true},
	})
	signed, err := t.SignedString([]byte(k.Secret))
	if err != nil {
		return "", fmt.Errorf("join token: %w", err)
	}
	return signed, nil
}

// SenderToken returns a token that admits a participant who may send data to a room, for a
// rehearsal.
func (k Key) SenderToken(room, identity string) (string, error) {
	if k.ID == "" || k.Secret == "" || room == "" || identity == "" {
		return "", errors.New("sender token: key, secret, room and identity are required")
	}
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: k.ID, Subject: identity,
			NotBefore: jwt.NewNumericDate(now.Add(-backdated)),
			ExpiresAt: jwt.NewNumericDate(now.Add(backdated)),
		},
		Name: identity, Kind: "standard",
		Video: grants{RoomJoin: true, Room: room, CanPublishData: true, CanSubscribe: true},
	})
	signed, err := t.SignedString([]byte(k.Secret))
	if err != nil {
		return "", fmt.Errorf("sender token: %w", err)
	}
	return signed, nil
}

// roomsToken returns a token that may create, list and delete rooms, and nothing else.
func (k Key) roomsToken() (string, error) {
	if k.ID == "" || k.Secret == "" {
		return "", errors.New("rooms token: key and secret are required")
	}
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": k.ID, "nbf": now.Add(-backdated).Unix(), "exp": now.Add(backdated).Unix(),
		"video": map[string]any{"roomCreate": true, "roomList": true},
	})
	signed, err := t.SignedString([]byte(k.Secret))
	if err != nil {
		return "", fmt.Errorf("rooms token: %w", err)
	}
	return signed, nil
}

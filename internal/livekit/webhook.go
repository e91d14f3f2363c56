package livekit

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/syncflow/textegress/internal/session"
)

// webhookLeeway is the clock difference that is tolerated when a webhook is verified, as in
// LiveKit's own receivers.
const webhookLeeway = time.Minute

// The names of the webhook events about rooms (livekit.WebhookEvent).
const (
	EventRoomStarted       = "room_started"
	EventParticipantJoined = "participant_joined"
	EventTrackPublished    = "track_published"
	EventRoomFinished      = "room_finished"
)

// ErrWebhookToken means that a webhook is not signed with the key, or that its token has expired or
// is not valid yet.
var ErrWebhookToken = errors.New("the webhook is not signed with the project's API key, or its " +
	"token has expired")

// Digest is the SHA-256 of the body of a webhook, as its token states it.
type Digest [sha256.Size]byte

// Matches reports whether it is the digest of body. It takes the same time for every digest.
func (d Digest) Matches(body []byte) bool {
	sum := sha256.Sum256(body)
	return subtle.ConstantTimeCompare(d[:], sum[:]) == 1
}

// WebhookDigest verifies the Authorization header of a webhook at the time now by the server's
// clock, and returns the digest of the body that belongs to it. The error is [ErrWebhookToken].
// It does not need the body, so a forged request is rejected before the body is read.
func (k Key) WebhookDigest(authorization string, now time.Time) (Digest, error) {
	if k.ID == "" || k.Secret == "" {
		return Digest{}, ErrWebhookToken
	}
	var claims struct {
		jwt.RegisteredClaims
		SHA256 string `json:"sha256"`
	}
	_, err := jwt.ParseWithClaims(strings.TrimPrefix(authorization, "Bearer "), &claims,
		func(*jwt.Token) (any, error) { return []byte(k.Secret), nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(k.ID),
		jwt.WithExpirationRequired(), jwt.WithLeeway(webhookLeeway),
		jwt.WithTimeFunc(func() time.Time { return now }))
	if err != nil { // its text may quote the token
		return Digest{}, ErrWebhookToken
	}
	sum, err := base64.StdEncoding.DecodeString(claims.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return Digest{}, ErrWebhookToken
	}
	return Digest(sum), nil
}

// WebhookDigest verifies a webhook of the project's server, see [Key.WebhookDigest].
func (r *Registry) WebhookDigest(authorization string) (Digest, error) {
	offset, _ := r.rooms.ClockOffset()
	return r.rooms.Key().WebhookDigest(authorization, time.Now().Add(offset))
}

// WebhookEvent is the part of a webhook event that concerns a room.
type WebhookEvent struct {
	ID   string // the same in every delivery of the event
	Name string // EventRoomStarted, …
	Room Room   // without SID if the event is not about a room
	// Recorder is true if the event is about a participant that is a recorder or hidden.
	Recorder bool
}

// ParseWebhook decodes the body of a webhook (livekit.WebhookEvent in the JSON form of protobuf).
// Its error does not quote the body.
func ParseWebhook(body []byte) (WebhookEvent, error) {
	var e struct {
		ID    string `json:"id"`
		Event string `json:"event"`
		Room  struct {
			SID             string  `json:"sid"`
			Name            string  `json:"name"`
			Metadata        string  `json:"metadata"`
			NumParticipants int     `json:"numParticipants"`
			ActiveRecording bool    `json:"activeRecording"`
			CreationTime    integer `json:"creationTime"`
			CreationTimeMS  integer `json:"creationTimeMs"`
		} `json:"room"`
		Participant struct {
			Kind       string `json:"kind"`
			Permission struct {
				Hidden   bool `json:"hidden"`
				Recorder bool `json:"recorder"`
			} `json:"permission"`
		} `json:"participant"`
	}
	if json.Unmarshal(body, &e) != nil || e.ID == "" || e.Event == "" {
		return WebhookEvent{}, fmt.Errorf("the body is not an event of LiveKit (%d bytes)",
			len(body))
	}
	permission := e.Participant.Permission
	return WebhookEvent{
		ID: e.ID, Name: e.Event,
		Room: Room{
			SID: e.Room.SID, Name: e.Room.Name, Metadata: e.Room.Metadata,
			Participants: e.Room.NumParticipants, ActiveRecording: e.Room.ActiveRecording,
			Created: created(int64(e.Room.CreationTime), int64(e.Room.CreationTimeMS)),
		},
		Recorder: permission.Hidden || permission.Recorder ||
			strings.EqualFold(e.Participant.Kind, kindEgress),
	}, nil
}

// Announced returns the session of an event, and whether it is to be recorded according to the
// event. The id of the session is empty if the event is not about a room.
func (r *Registry) Announced(e WebhookEvent) (s session.Session, recorded bool) {
	if e.Room.SID == "" {
		return session.Session{}, false
	}
	v := r.verdict(e.Room)
	return r.session(e.Room, v), v.Record
}

// integer is a 64-bit integer, which the JSON form of protobuf writes as a string.
type integer int64

// UnmarshalJSON implements [json.Unmarshaler].
func (i *integer) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 64)
	*i = integer(n)
	return err
}

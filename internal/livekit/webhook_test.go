package livekit_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	lkproto "github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/syncflow/textegress/internal/livekit"
)

// sign makes the Authorization header of a webhook as LiveKit does, changed by change.
func sign(t testing.TB, k livekit.Key, body []byte, change func(jwt.MapClaims)) string {
	t.Helper()
	now := time.Now()
	sum := sha256.Sum256(body)
	claims := jwt.MapClaims{
		"iss": k.ID, "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"sha256": base64.StdEncoding.EncodeToString(sum[:]),
	}
	if change != nil {
		change(claims)
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(k.Secret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Only a currently valid token of the key verifies a body, and only that body.
func TestWebhookDigest(t *testing.T) {
	body, now := []byte(`{"id":"EV_1"}`), time.Now()
	good := sign(t, key, body, nil)
	for _, header := range []string{good, "Bearer " + good} {
		d, err := key.WebhookDigest(header, now)
		if err != nil || !d.Matches(body) || d.Matches(append(body, ' ')) || d.Matches(nil) {
			t.Errorf("%v", err)
		}
	}
	for d, ok := range map[time.Duration]bool{
		30 * time.Second: true, 5*time.Minute + 30*time.Second: true, 7 * time.Minute: false,
		-30 * time.Second: true, -2 * time.Minute: false,
	} {
		if _, err := key.WebhookDigest(good, now.Add(d)); (err == nil) != ok {
			t.Errorf("at %v: %v", d, err)
		}
	}
	set := func(name string, v any) func(jwt.MapClaims) {
		return func(c jwt.MapClaims) {
			if c[name] = v; v == nil {
				delete(c, name)
			}
		}
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{
		"iss": key.ID, "exp": now.Add(time.Minute).Unix(),
		"sha256": base64.StdEncoding.EncodeToString(make([]byte, 32)),
	}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	for name, header := range map[string]string{
		"nothing":           "",
		"no token":          "Bearer x",
		"another secret":    sign(t, livekit.Key{ID: key.ID, Secret: "x"}, body, nil),
		"another key":       sign(t, livekit.Key{ID: "APIother", Secret: key.Secret}, body, nil),
		"no issuer":         sign(t, key, body, set("iss", nil)),
		"no expiry":         sign(t, key, body, set("exp", nil)),
		"expired":           sign(t, key, body, set("exp", now.Add(-2*time.Minute).Unix())),
		"not valid yet":     sign(t, key, body, set("nbf", now.Add(2*time.Minute).Unix())),
		"no digest":         sign(t, key, body, set("sha256", nil)),
		"a short digest":    sign(t, key, body, set("sha256", "YWJj")),
		"not base64":        sign(t, key, body, set("sha256", "!")),
		"no signature":      none,
		"a changed payload": strings.Replace(good, ".", ".e30", 1),
	} {
		if _, err := key.WebhookDigest(header, now); !errors.Is(err, livekit.ErrWebhookToken) ||
			header != "" && strings.Contains(err.Error(), header) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (livekit.Key{}).WebhookDigest(sign(t, livekit.Key{Secret: " "}, body, nil),
		now); err == nil {
		t.Error("no key verifies a webhook")
	}
}

// Webhooks are verified by the server's clock, as measured from its answers.
func TestRegistryWebhookDigest(t *testing.T) {
	s := newServer(t)
	s.ahead = time.Hour
	r := s.registry(key)
	body := []byte("{}")
	header := sign(t, key, body, func(c jwt.MapClaims) {
		c["nbf"], c["exp"] = time.Now().Add(time.Hour).Unix(), time.Now().Add(65*time.Minute).Unix()
	})
	if _, err := r.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d, err := r.WebhookDigest(header); err != nil || !d.Matches(body) {
		t.Error(err)
	}
}

func TestParseWebhook(t *testing.T) {
	at := time.UnixMilli(1760000000123)
	lkroom := &lkproto.Room{
		Sid: "RM_1", Name: "a", Metadata: "m", NumParticipants: 2, ActiveRecording: true,
		CreationTime: at.Unix(), CreationTimeMs: at.UnixMilli(),
		EnabledCodecs: []*lkproto.Codec{{Mime: "audio/opus"}},
	}
	want := livekit.Room{
		SID: "RM_1", Name: "a", Metadata: "m", Participants: 2, ActiveRecording: true, Created: at,
	}
	for name, c := range map[string]struct {
		event    *lkproto.WebhookEvent
		want     livekit.Room
		recorder bool
	}{
		"room": {&lkproto.WebhookEvent{Event: "room_started", Room: lkroom}, want, false},
		"person": {&lkproto.WebhookEvent{
			Event: "participant_joined", Room: lkroom,
			Participant: &lkproto.ParticipantInfo{
				Sid: "PA_1", Identity: "alice", JoinedAt: 1, Version: 3,
				Permission: &lkproto.ParticipantPermission{CanPublish: true, CanSubscribe: true},
			},
		}, want, false},
		"hidden": {&lkproto.WebhookEvent{
			Event: "participant_joined", Room: lkroom,
			Participant: &lkproto.ParticipantInfo{
				Permission: &lkproto.ParticipantPermission{Hidden: true},
			},
		}, want, true},
		"recorder": {&lkproto.WebhookEvent{
			Event: "participant_joined", Room: lkroom,
			Participant: &lkproto.ParticipantInfo{
				Permission: &lkproto.ParticipantPermission{Recorder: true},
			},
		}, want, true},
		"egress": {&lkproto.WebhookEvent{
			Event: "participant_joined", Room: lkroom,
			Participant: &lkproto.ParticipantInfo{Kind: lkproto.ParticipantInfo_EGRESS},
		}, want, true},
		"no room": {
			&lkproto.WebhookEvent{Event: "ingress_started"},
			livekit.Room{},
			false,
		},
	} {
		c.event.Id, c.event.CreatedAt = "EV_1", at.Unix()
		for _, o := range []protojson.MarshalOptions{{}, {EmitUnpopulated: true}} {
			body, err := o.Marshal(c.event)
			if err != nil {
				t.Fatal(err)
			}
			got, err := livekit.ParseWebhook(body)
			if diff := cmp.Diff(livekit.WebhookEvent{
				ID: "EV_1", Name: c.event.Event,
				Room: c.want, Recorder: c.recorder,
			}, got); diff != "" || err != nil {
				t.Errorf("%s: %v\n%s", name, err, diff)
			}
		}
	}
	for _, body := range []string{
		"", "alice", "[]", "{}", `{"id":"EV_1"}`, `{"event":"room_started"}`,
		`{"id":"EV_1","event":"room_started","room":{"sid":1}}`,
		`{"id":"EV_1","event":"room_started","room":{"creationTime":"alice"}}`,
	} {
		if e, err := livekit.ParseWebhook([]byte(body)); err == nil ||
			strings.Contains(err.Error(), "alice") {
			t.Errorf("%s: %+v, %v", body, e, err)
		}
	}
}

package livekit_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/livekit"
)

var key = livekit.Key{ID: "APIkey", Secret: "a secret of LiveKit"}

// The token admits to one room, and its holder can do nothing there but listen, unseen.
func TestJoinToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token, err := key.JoinToken("class/1", "bot")
		if err != nil {
			t.Fatal(err)
		}
		got := jwt.MapClaims{}
		if _, err := jwt.ParseWithClaims(token, got,
			func(*jwt.Token) (any, error) { return []byte(key.Secret), nil },
			jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired()); err != nil {
			t.Fatal(err)
		}
		now := float64(time.Now().Unix())
		want := jwt.MapClaims{
			"iss": "APIkey", "sub": "bot", "name": "bot", "kind": "egress",
			"nbf": now - 600, "exp": now + 6*3600,
			"video": map[string]any{
				"roomJoin": true, "room": "class/1", "hidden": true, "recorder": true,
				"canSubscribe": true,
				"canPublish":   false, "canPublishData": false, "canUpdateOwnMetadata": false,
			},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("claims (-want +got):\n%s", d)
		}
	})
}

func TestJoinTokenNeedsEverything(t *testing.T) {
	for _, c := range []struct {
		key            livekit.Key
		room, identity string
	}{
		{key, "", "bot"},
		{key, "room", ""},
		{livekit.Key{ID: "k"}, "room", "bot"},
		{livekit.Key{Secret: "s"}, "room", "bot"},
	} {
		if _, err := c.key.JoinToken(c.room, c.identity); err == nil {
			t.Errorf("a token for room %q, identity %q", c.room, c.identity)
		}
	}
}

func TestKeyShowsNoSecret(t *testing.T) {
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", key)
	out := log.String() + fmt.Sprintf("%v %+v %#v %s", key, key, key, key)
	if strings.Contains(out, key.Secret) {
		t.Error(out)
	}
	if b, err := json.Marshal(struct{ Key fmt.Stringer }{key}); err != nil ||
		strings.Contains(string(b), key.Secret) {
		t.Errorf("%s, %v", b, err)
	}
}

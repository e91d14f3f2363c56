package project

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/config"
)

// A project's key of LiveKit arrives where tokens are made, and makes no project of its own.
func TestJoinTokenOfAProject(t *testing.T) {
	env := []string{
		"SYNCFLOW_SERVER_URL=http://127.0.0.1:1", "RABBITMQ_HOST=x", "RABBITMQ_PORT=1",
		"RABBITMQ_VHOST_NAME=syncflow",
		"DEVICE_GROUP_NAME=text-egress", "PROJECTS__0__KEY=k", "PROJECTS__0__SECRET=s",
		"PROJECTS__0__PROJECT_ID=0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11", "PROJECTS__0__DIRECTORY=x",
	}
	c, err := config.Load(config.Options{Environ: env, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := LiveKitKey(c.Projects[0]); ok {
		t.Error("tokens without a key")
	}
	c, err = config.Load(config.Options{
		Environ: append(env, "PROJECTS__0__LIVEKIT__API_KEY=APIabc",
			"PROJECTS__0__LIVEKIT__API_SECRET=s3cr3t"), Dir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Projects) != 1 {
		t.Errorf("%d projects", len(c.Projects))
	}
	key, _ := LiveKitKey(c.Projects[0])
	token, err := key.JoinToken("class-1", "bot")
	if err != nil {
		t.Fatal(err)
	}
	dot := strings.LastIndex(token, ".")
	signed, signature := token[:dot], token[dot+1:]
	mac := hmac.New(sha256.New, []byte("s3cr3t"))
	mac.Write([]byte(signed))
	if signature != base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) {
		t.Error("not signed with the project's secret")
	}
	_, claims, _ := strings.Cut(signed, ".")
	if b, err := base64.RawURLEncoding.DecodeString(claims); err != nil ||
		!strings.Contains(string(b), `"iss":"APIabc"`) {
		t.Errorf("claims %s, %v", b, err)
	}
}

// TestKeysOfALiveKitProject: new keys take effect, a new address does not.
func TestKeysOfALiveKitProject(t *testing.T) {
	at := func(url, key string) config.Project {
		return config.Project{LiveKit: &config.LiveKit{
			URL: url, APIKey: key, APISecret: config.NewSecret("s"),
		}}
	}
	next := at("ws://new", "new")
	p := Project{Config: at("ws://old", "old")}
	p.setKey = func(config.Project) error { return nil }
	if err := p.SetKeys(next); err != nil {
		t.Fatal(err)
	}
	if got := p.Config.LiveKit; got.URL != "ws://old" || got.APIKey != "new" {
		t.Errorf("%s with %s", got.URL, got.APIKey)
	}
	if next.LiveKit.URL != "ws://new" {
		t.Error("the new settings were changed")
	}
}

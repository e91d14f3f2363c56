package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEverySecretCanBeAFile: every key and secret has NAME_FILE, and the value of its file is used
// and shown as the value itself would be.
func TestEverySecretCanBeAFile(t *testing.T) {
	base := map[string]string{
		"SYNCFLOW_SERVER_URL": "http://x", "RABBITMQ_HOST": "x", "RABBITMQ_PORT": "1",
		"RABBITMQ_VHOST_NAME": "syncflow", "DEVICE_GROUP_NAME": "text-egress",
		"RABBITMQ_USERNAME": "u", "RABBITMQ_PASSWORD": "value",
		"PROJECTS__0__KEY": "value", "PROJECTS__0__SECRET": "value",
		"PROJECTS__0__PROJECT_ID":              "0b7e6d1e8a474c7a9a7e0d4f5f0f7c11",
		"PROJECTS__0__S3_CONFIG__ACCESS_KEY":   "value",
		"PROJECTS__0__S3_CONFIG__SECRET_KEY":   "value",
		"PROJECTS__0__S3_CONFIG__ENDPOINT":     "http://x",
		"PROJECTS__0__S3_CONFIG__BUCKET_NAME":  "bucket",
		"PROJECTS__0__S3_CONFIG__REGION":       "us-east-1",
		"PROJECTS__0__LIVEKIT__API_KEY":        "value",
		"PROJECTS__0__LIVEKIT__API_SECRET":     "value",
		"PROJECTS__0__WEBHOOKS__3__URL":        "https://example.org",
		"PROJECTS__0__WEBHOOKS__3__API_KEY":    "value",
		"PROJECTS__0__WEBHOOKS__3__API_SECRET": "value",
		"PROJECTS__0__WEBHOOKS__3__EVENTS":     "egress_ended",
		"PROJECTS__0__EXCLUDE_BY_ATTRIBUTE":    "true",
		"PROJECTS__0__S3_CONFIG__CHECKSUMS":    "on",
		"PROJECTS__0__WEBHOOKS__3__MAX_AGE":    "1h",
		"PROJECTS__0__S3_CONFIG__PATH_STYLE":   "true",
		"PROJECTS__0__TOPICS_ALLOW":            "a",
		"PROJECTS__0__PSEUDONYMS":              "true",
		"PROJECTS__0__ENCRYPTED":               "keep",
		"PROJECTS__0__IDENTITIES_DENY":         "b",
		"WEBHOOK_HOSTS":                        "example.org",
		"POLL_INTERVAL":                        "2s",
		"POLL_INTERVAL_WITH_WEBHOOKS":          "20s",
		"RECORD_SESSIONS":                      "all",
	}
	topLevel := map[string]string{
		"LIVEKIT_URL": "ws://x", "LIVEKIT_API_KEY": "value", "LIVEKIT_API_SECRET": "value",
	}
	n := numbers{0: {3: true}}
	for _, k := range all(n) {
		if k.kind != ident && k.kind != secret || strings.HasSuffix(k.name, "E2EE_KEY") {
			continue // E2EE_KEY_FILE is a file of keys
		}
		t.Run(k.name, func(t *testing.T) {
			settings := base
			if strings.HasPrefix(k.name, topLevelPrefix) {
				settings = topLevel
			}
			dir := t.TempDir()
			file := filepath.Join(dir, "f")
			if err := os.WriteFile(file, []byte(" from-file\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if settings[k.name] == "" {
				t.Fatal("the test does not have it")
			}
			var env []string
			for name, text := range settings {
				if name == k.name {
					name, text = name+"_FILE", "f"
				}
				env = append(env, name+"="+text)
			}
			load := func(env []string) *Config {
				c, err := Load(Options{Environ: env, Dir: dir})
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			c := load(env)
			if len(c.Broken) > 0 {
				t.Fatal(c.Broken)
			}
			if got := c.values()[k.name]; got.text != "from-file" &&
				c.values()[topLevelOfProject+strings.TrimPrefix(k.name, topLevelPrefix)].text !=
					"from-file" {
				t.Errorf("the value is %q", got.text)
			}
			for _, s := range c.Settings() {
				if s.Value == "from-file" || s.Key == k.name &&
					s.Source != "the file of "+k.name+"_FILE" {
					t.Errorf("%+v", s)
				}
			}
			// New content is a change of the setting.
			if err := os.WriteFile(filepath.Join(dir, "f"), []byte("other"), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := c.Changes(load(env)); len(got) != 1 || got[0] != k.name {
				t.Errorf("changes %q", got)
			}
			// Both are an error, wherever they are.
			_, err := Load(Options{Environ: append(env, k.name+"=value"), Dir: dir})
			if err == nil || !strings.Contains(err.Error(), k.name+"_FILE (environment): is set "+
				"together with "+k.name) {
				t.Errorf("both: %v", err)
			}
		})
	}
}

// TestFilesOfValuesBelongToSecrets: NAME_FILE holds the value of NAME only where that is a secret.
func TestFilesOfValuesBelongToSecrets(t *testing.T) {
	for _, k := range all(numbers{0: {0: true}}) {
		if k.kind != inFile {
			continue
		}
		of, ok := lookup(strings.TrimSuffix(k.name, "_FILE"))
		if !ok || of.kind != ident && of.kind != secret {
			t.Errorf("%s is the file of no secret", k.name)
		}
	}
}

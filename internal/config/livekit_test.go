package config_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A project's key of LiveKit comes from the settings or from files, in either form of the settings.
func TestLiveKitKey(t *testing.T) {
	files := map[string]string{".env": predecessorEnv, "id": "APIabc\n", "secret": "  s3cr3t\r\n"}
	for name, c := range map[string]struct{ env, yaml string }{
		"values": {"PROJECTS__0__LIVEKIT__API_KEY=APIabc " +
			"PROJECTS__0__LIVEKIT__API_SECRET=s3cr3t", ""},
		"files": {"PROJECTS__0__LIVEKIT__API_KEY_FILE=id " +
			"PROJECTS__0__LIVEKIT__API_SECRET_FILE=secret", ""},
		"one of each": {"PROJECTS__0__LIVEKIT__API_KEY=APIabc " +
			"PROJECTS__0__LIVEKIT__API_SECRET_FILE=secret", ""},
		"YAML":           {"", "projects: [{livekit: {api_key: APIabc, api_secret: s3cr3t}}]"},
		"YAML and files": {"", "projects: [{livekit: {api_key: APIabc, api_secret_file: secret}}]"},
	} {
		t.Run(name, func(t *testing.T) {
			with := map[string]string{"textegress.yaml": c.yaml}
			maps.Copy(with, files)
			cfg, err := load(t, strings.Fields(c.env), with)
			if err != nil {
				t.Fatal(err)
			}
			p := cfg.Projects[0]
			if p.LiveKit == nil || p.LiveKit.APIKey != "APIabc" ||
				p.LiveKit.APISecret.Reveal() != "s3cr3t" {
				t.Errorf("%+v", p.LiveKit)
			}
			if p.Key == "" || p.ProjectID == "" {
				t.Error("it is no SyncFlow project any more")
			}
			for _, s := range cfg.Settings() {
				if strings.Contains(s.Value, "s3cr3t") || strings.Contains(s.Value, "APIabc") {
					t.Errorf("%s shows %q", s.Key, s.Value)
				}
			}
		})
	}
	c, err := load(t, nil, map[string]string{".env": predecessorEnv})
	if err != nil || c.Projects[0].LiveKit != nil {
		t.Errorf("without: %+v, %v", c, err)
	}
}

// One half of a pair, both forms of one value, and a file that has none are errors that name the
// key.
func TestLiveKitKeyIsAPair(t *testing.T) {
	for env, key := range map[string]string{
		"PROJECTS__0__LIVEKIT__API_KEY=a":              "PROJECTS__0__LIVEKIT__API_SECRET",
		"PROJECTS__0__LIVEKIT__API_SECRET=a":           "PROJECTS__0__LIVEKIT__API_KEY",
		"PROJECTS__0__LIVEKIT__API_SECRET_FILE=secret": "PROJECTS__0__LIVEKIT__API_KEY",
		"PROJECTS__0__LIVEKIT__API_KEY=a " +
			"PROJECTS__0__LIVEKIT__API_SECRET_FILE=missing": "PROJECTS__0__LIVEKIT__API_SECRET_FILE",
		"PROJECTS__0__LIVEKIT__API_KEY=a " +
			"PROJECTS__0__LIVEKIT__API_SECRET_FILE=empty": "PROJECTS__0__LIVEKIT__API_SECRET_FILE",
		"PROJECTS__0__LIVEKIT__API_KEY=a " +
			"PROJECTS__0__LIVEKIT__API_SECRET_FILE=huge": "PROJECTS__0__LIVEKIT__API_SECRET_FILE",
		"PROJECTS__0__LIVEKIT__API_KEY=a " +
			"PROJECTS__0__LIVEKIT__API_SECRET_FILE=two": "PROJECTS__0__LIVEKIT__API_SECRET",
		"PROJECTS__0__LIVEKIT__API_KEY=a PROJECTS__0__LIVEKIT__API_SECRET=b " +
			"PROJECTS__0__LIVEKIT__API_SECRET_FILE=secret": "PROJECTS__0__LIVEKIT__API_SECRET_FILE",
	} {
		_, err := load(t, strings.Fields(env), map[string]string{
			".env": predecessorEnv, "secret": "s3cr3t", "empty": "\n",
			"huge": strings.Repeat("x", 100_000), "two": "s3cr3t words",
		})
		if err == nil {
			t.Errorf("%s: no error", env)
			continue
		}
		found := slices.ContainsFunc(strings.Split(err.Error(), "\n"),
			func(line string) bool {
				return strings.Contains(line, key+" ") ||
					strings.Contains(line, key+":")
			})
		if !found || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v; want %s named", env, err, key)
		}
	}
}

// A new content of a file is a change, as a new value is.
func TestLiveKitKeyInAFileThatChanges(t *testing.T) {
	files := map[string]string{".env": predecessorEnv, "secret": "one"}
	env := []string{
		"PROJECTS__0__LIVEKIT__API_KEY=a",
		"PROJECTS__0__LIVEKIT__API_SECRET_FILE=secret",
	}
	before, err := load(t, env, files)
	if err != nil {
		t.Fatal(err)
	}
	files["secret"] = "two"
	after, err := load(t, append(env, "PROJECTS__0__LIVEKIT__API_SECRET_FILE="+
		filepath.Join(".", "secret")), files)
	if err != nil {
		t.Fatal(err)
	}
	if got := before.Changes(after); !slices.Contains(got, "PROJECTS__0__LIVEKIT__API_SECRET") {
		t.Errorf("changes %q", got)
	}
}

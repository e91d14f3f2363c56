package config_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/config"
)

// threeSettings are all that a LiveKit project needs.
var threeSettings = []string{
	"LIVEKIT_URL=ws://localhost:7880/", "LIVEKIT_API_KEY=APIabc", "LIVEKIT_API_SECRET=s3cr3t",
}

// mustLoad returns a configuration without broken projects.
func mustLoad(t *testing.T, env []string, files map[string]string) *config.Config {
	t.Helper()
	c, err := load(t, env, files)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Broken) > 0 {
		t.Fatalf("broken: %v", c.Broken)
	}
	return c
}

// allProblems returns the problems of the service and of its projects.
func allProblems(t *testing.T, env []string, files map[string]string) []string {
	t.Helper()
	if c, err := load(t, env, files); err == nil {
		var out []string
		for _, b := range c.Broken {
			for _, p := range b.Problems {
				out = append(out, p.String())
			}
		}
		return out
	}
	return problems(t, env, files)
}

func shown(c *config.Config) map[string]config.Setting {
	out := map[string]config.Setting{}
	for _, s := range c.Settings() {
		out[s.Key] = s
	}
	return out
}

// TestThreeSettingsSuffice: with the variables of LiveKit's own tools, nothing else is required.
func TestThreeSettingsSuffice(t *testing.T) {
	// RABBITMQ_HOST of another program is no problem.
	c := mustLoad(t, append([]string{"RABBITMQ_HOST=amqp://u:p@rmq/x"}, threeSettings...), nil)
	want := config.Project{
		TopLevel: true, Name: "livekit", ProjectID: "livekit",
		LiveKit: &config.LiveKit{
			URL: "ws://localhost:7880", APIKey: "APIabc", APISecret: config.NewSecret("s3cr3t"),
		},
		Directory:   filepath.Join(filepath.Dir(c.DataDir), "recordings"),
		RecordRooms: []string{"*"},
	}
	if diff := cmp.Diff([]config.Project{want}, c.Projects); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.Projects[0].Platform() != config.LiveKitServer || c.ServerURL != "" ||
		c.RabbitMQ != (config.RabbitMQ{}) || len(c.Warnings) != 0 {
		t.Errorf("%+v", c)
	}
	if c.PollInterval != time.Second || c.PollIntervalWithWebhooks != 15*time.Second {
		t.Errorf("polling every %v, %v", c.PollInterval, c.PollIntervalWithWebhooks)
	}
	settings := shown(c)
	for key, want := range map[string]config.Setting{
		"LIVEKIT_URL":                        {Value: "ws://localhost:7880/", Source: "environment"},
		"LIVEKIT_API_SECRET":                 {Value: "********", Source: "environment"},
		"PROJECTS__0__LIVEKIT__URL":          {Value: "ws://localhost:7880/", Source: "LIVEKIT_URL"},
		"PROJECTS__0__LIVEKIT__API_SECRET":   {Value: "********", Source: "LIVEKIT_API_SECRET"},
		"PROJECTS__0__DIRECTORY":             {Value: "./recordings", Source: "default"},
		"PROJECTS__0__NAME":                  {Value: "livekit", Source: "default"},
		"PROJECTS__0__S3_CONFIG__ACCESS_KEY": {Source: "not set"},
	} {
		want.Key = key
		if settings[key] != want {
			t.Errorf("%+v, want %+v", settings[key], want)
		}
	}
	for rest, want := range map[string]string{
		"LIVEKIT__API_KEY": "LIVEKIT_API_KEY", "DIRECTORY": "PROJECTS__0__DIRECTORY",
	} {
		if got := c.Projects[0].Variable(rest); got != want {
			t.Errorf("Variable(%s) = %s, want %s", rest, got, want)
		}
	}
}

// TestMoreSettingsOfTheTopLevelProject: LIVEKIT_URL can be combined with a bucket, rooms and
// webhooks.
func TestMoreSettingsOfTheTopLevelProject(t *testing.T) {
	c := mustLoad(t, append([]string{
		"PROJECTS__0__DIRECTORY=/out", "PROJECTS__0__RECORD_ROOMS=!test-*, *",
		"PROJECTS__0__EXCLUDE_BY_ATTRIBUTE=true",
		"PROJECTS__0__WEBHOOKS__2__URL=https://example.org/hook?token=hunter2",
		"PROJECTS__0__WEBHOOKS__2__EVENTS=message, egress_ended, EGRESS_STARTED",
		`PROJECTS__0__WEBHOOKS__2__TOPICS=moves*, "", a\, b`,
		"WEBHOOK_HOSTS=Example.org, 10.0.0.1", "WEBHOOK_ALLOW_PRIVATE=yes",
	}, threeSettings...), nil)
	p := c.Projects[0]
	if !p.TopLevel || p.Directory != "/out" || !p.ExcludeByAttribute ||
		!slices.Equal(p.RecordRooms, []string{"!test-*", "*"}) {
		t.Errorf("%+v", p)
	}
	want := []config.Webhook{{
		Index: 2, URL: "https://example.org/hook?token=hunter2", APIKey: "APIabc",
		APISecret: config.NewSecret("s3cr3t"),
		Events:    []string{"egress_started", "egress_ended", "message"},
		Topics:    []string{"moves*", `""`, `a\, b`}, MaxAge: 168 * time.Hour,
	}}
	if diff := cmp.Diff(want, p.Webhooks); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !slices.Equal(c.WebhookHosts, []string{"example.org", "10.0.0.1"}) ||
		!c.WebhookAllowPrivate {
		t.Errorf("%q, %v", c.WebhookHosts, c.WebhookAllowPrivate)
	}
	if s := shown(c)["PROJECTS__0__WEBHOOKS__2__URL"]; s.Value != "https://example.org/…" {
		t.Errorf("%+v", s)
	}
}

// TestBothKinds: a service can have projects of both kinds; top-level LIVEKIT_* then define none.
func TestBothKinds(t *testing.T) {
	own := []string{
		"PROJECTS__1__LIVEKIT__URL=https://lk.example.org", "PROJECTS__1__LIVEKIT__API_KEY=k",
		"PROJECTS__1__LIVEKIT__API_SECRET=s", "PROJECTS__1__NAME=physics",
		"PROJECTS__2__LIVEKIT__URL=https://lk.example.org", "PROJECTS__2__LIVEKIT__API_KEY=k",
		"PROJECTS__2__LIVEKIT__API_SECRET=s", "RECORD_ROOMS=class-*",
		"PROJECTS__1__RECORD_ROOMS=lab-*",
	}
	c := mustLoad(t, append(slices.Clone(own), threeSettings...),
		map[string]string{".env": predecessorEnv})
	var ids []string
	for _, p := range c.Projects {
		ids = append(ids, string(p.Platform())+" "+p.ProjectID+" "+strings.Join(p.RecordRooms, ","))
		if p.TopLevel {
			t.Errorf("project %d is made by LIVEKIT_URL", p.Index)
		}
	}
	want := []string{
		"syncflow 0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11 ", "livekit physics lab-*",
		"livekit livekit class-*",
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "LIVEKIT_URL (environment)") ||
		!strings.Contains(c.Warnings[0], "ignored") {
		t.Errorf("warnings: %q", c.Warnings)
	}
	if s := shown(c)["PROJECTS__0__LIVEKIT__URL"]; s.Source != "not set" {
		t.Errorf("%+v", s)
	}

	// A file that is ignored with its setting is not read.
	mustLoad(t, []string{"LIVEKIT_API_SECRET_FILE=missing"},
		map[string]string{".env": predecessorEnv})
}

// TestPlatformFaults has one fault per row; the problem names what the user wrote.
func TestPlatformFaults(t *testing.T) {
	live := strings.Join(threeSettings, "\n") + "\n"
	own := "PROJECTS__0__LIVEKIT__URL=ws://x\nPROJECTS__0__LIVEKIT__API_KEY=k\n" +
		"PROJECTS__0__LIVEKIT__API_SECRET=s\n"
	for _, tc := range []struct {
		name, dotenv string
		want         []string
	}{
		{
			"no URL", "LIVEKIT_API_KEY=k\nLIVEKIT_API_SECRET=s\nLIVEKIT_ULR=x",
			[]string{"LIVEKIT_URL: is missing", "LIVEKIT_ULR is set in .env line 3", "ws://"},
		},
		{
			"no secret", "LIVEKIT_URL=ws://x\nLIVEKIT_API_KEY=k",
			[]string{"LIVEKIT_API_SECRET: is missing"},
		},
		{
			"empty key", "LIVEKIT_URL=ws://x\nLIVEKIT_API_KEY=\nLIVEKIT_API_SECRET=s",
			[]string{"LIVEKIT_API_KEY (.env line 2): is empty"},
		},
		{
			"default directory in DATA_DIR", "DATA_DIR=.\n" + live,
			[]string{"PROJECTS__0__DIRECTORY", "keeps its own files (DATA_DIR)", "outside of it"},
		},
		{
			"directory is DATA_DIR", "DATA_DIR=d\nPROJECTS__0__DIRECTORY=d/.\n" + live,
			[]string{"PROJECTS__0__DIRECTORY (.env line 2)", "keeps its own files (DATA_DIR)"},
		},
		{
			"directory in a folder of state",
			"DATA_DIR=d\nPROJECTS__0__DIRECTORY=./d/webhooks/x\n" + live,
			[]string{"PROJECTS__0__DIRECTORY (.env line 2)", "keeps its own files (DATA_DIR)"},
		},
		{
			"key with white space", "LIVEKIT_API_KEY='hunter2 '\n" + live,
			[]string{"LIVEKIT_API_KEY (.env line 1): ", "white space"},
		},
		{
			"no scheme", "LIVEKIT_URL=localhost:7880\n" + live,
			[]string{"LIVEKIT_URL", "not a URL", "wss://"},
		},
		{
			"another scheme", "LIVEKIT_URL=rtmp://x\n" + live,
			[]string{"LIVEKIT_URL", "ws, wss, http or https"},
		},
		{
			"file that is missing", "LIVEKIT_URL=ws://x\nLIVEKIT_API_KEY=k\n" +
				"LIVEKIT_API_SECRET_FILE=nowhere",
			[]string{"LIVEKIT_API_SECRET_FILE", "no such file"},
		},
		{
			"half of it in a project", "LIVEKIT_URL=ws://x\nPROJECTS__0__LIVEKIT__API_KEY=k\n" +
				"PROJECTS__0__LIVEKIT__API_SECRET=s",
			[]string{"PROJECTS__0__LIVEKIT__URL", "LIVEKIT_URL makes a project only"},
		},
		{
			"both kinds in one", own + predecessorEnv,
			[]string{
				"PROJECTS__0__LIVEKIT__URL", "together with PROJECTS__0__KEY",
				"remove KEY, SECRET and PROJECT_ID",
			},
		},
		{
			"neither kind", "PROJECTS__0__DIRECTORY=x",
			[]string{
				"PROJECTS__0__LIVEKIT__URL: is missing", "LIVEKIT__API_SECRET",
				"KEY, SECRET and PROJECT_ID",
			},
		},
		{
			"neither kind, beside LIVEKIT_URL", live + "PROJECTS__1__DIRECTORY=x",
			[]string{"PROJECTS__1__LIVEKIT__URL: is missing", "LIVEKIT_URL makes project 0"},
		},
		{
			"the same name", own + strings.ReplaceAll(own, "PROJECTS__0", "PROJECTS__1") +
				"PROJECTS__1__NAME=LiveKit",
			[]string{"PROJECTS__1__NAME", "PROJECTS__0 too"},
		},
		{"name with a slash", own + "PROJECTS__0__NAME=a/b", []string{"PROJECTS__0__NAME", "64"}},
		{"name of dots", own + "PROJECTS__0__NAME=..", []string{"PROJECTS__0__NAME"}},
		{
			"name that is a UUID", own + "PROJECTS__0__NAME=0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11",
			[]string{"PROJECTS__0__NAME", "UUID"},
		},
		{
			"rooms of a SyncFlow project", predecessorEnv + "PROJECTS__0__RECORD_ROOMS=a",
			[]string{"PROJECTS__0__RECORD_ROOMS", "RECORD_SESSIONS"},
		},
		{"rooms misspelt", live + "RECORD_ROMS=a", []string{"did you mean RECORD_ROOMS?"}},
		{"interval", live + "POLL_INTERVAL=1ms", []string{"POLL_INTERVAL", "100ms to 1h"}},
		{
			"topics without messages", live + "PROJECTS__0__WEBHOOKS__0__URL=https://a.org\n" +
				"PROJECTS__0__WEBHOOKS__0__TOPICS=moves",
			[]string{"PROJECTS__0__WEBHOOKS__0__TOPICS", "add message to"},
		},
		{
			"topics malformed", live + "PROJECTS__0__WEBHOOKS__0__URL=https://a.org\n" +
				"PROJECTS__0__WEBHOOKS__0__EVENTS=message\nPROJECTS__0__WEBHOOKS__0__TOPICS=a*b",
			[]string{"PROJECTS__0__WEBHOOKS__0__TOPICS", "star"},
		},
		{"host with port", live + "WEBHOOK_HOSTS=a:1", []string{"WEBHOOK_HOSTS", "port"}},
		{"host is URL", live + "WEBHOOK_HOSTS=https://a", []string{"WEBHOOK_HOSTS", "is a URL"}},
		{"host empty", live + "WEBHOOK_HOSTS='a,,b'", []string{"not a host name"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := allProblems(t, nil, map[string]string{".env": tc.dotenv})
			one(t, got, tc.want...)
			if strings.Contains(strings.Join(got, " "), "hunter2") {
				t.Errorf("the problem quotes the value: %s", got)
			}
		})
	}
}

// TestEmptySettingsOfSyncFlow: a project whose SyncFlow settings are empty is a SyncFlow project
// that lacks them, unless it is a project of a LiveKit server.
func TestEmptySettingsOfSyncFlow(t *testing.T) {
	empty := "PROJECTS__1__KEY=\nPROJECTS__1__SECRET=\nPROJECTS__1__PROJECT_ID=\n"
	got := allProblems(t, nil, map[string]string{
		".env": predecessorEnv + empty + "PROJECTS__1__DIRECTORY=x",
	})
	if len(got) != 3 || !strings.HasPrefix(got[0], "PROJECTS__1__KEY (.env line 16): is empty") {
		t.Errorf("%q", got)
	}
	c := mustLoad(t, nil, map[string]string{
		".env": empty + "PROJECTS__1__LIVEKIT__URL=ws://x\nPROJECTS__1__LIVEKIT__API_KEY=k\n" +
			"PROJECTS__1__LIVEKIT__API_SECRET=s\n",
	})
	if c.Projects[0].Platform() != config.LiveKitServer {
		t.Errorf("%+v", c.Projects[0])
	}
}

// TestCommonNamesInSharedEnv: a name of another program that resembles one of ours is no error.
func TestCommonNamesInSharedEnv(t *testing.T) {
	c := mustLoad(t, nil, map[string]string{
		".env": predecessorEnv + "LIVEKIT_URI=x\nWEBHOOK_HOST=y\n",
	})
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "LIVEKIT_URI, WEBHOOK_HOST") {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

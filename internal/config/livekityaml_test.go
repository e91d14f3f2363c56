package config_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/config"
)

// TestYAMLWithLiveKitsNames: the blocks livekit and s3 of LiveKit's files, at the top and in
// projects, and lists.
func TestYAMLWithLiveKitsNames(t *testing.T) {
	c := mustLoad(t, []string{"PROJECTS__0__S3_CONFIG__SECRET_KEY=from-environment"},
		map[string]string{"textegress.yaml": `
livekit: {ws_url: wss://lk.example.org, api_key: APIabc, api_secret_file: secret}
redis: {address: localhost:6379}
s3:
  access_key: a
  secret: b
  endpoint: https://s3.example.org
  bucket: study
  region: us-east-1
  force_path_style: true
  checksums: off
record_rooms:
  - "!test-*"
  - Smith, Jo
  - "*"
webhook_hosts: [a.example.org, b.example.org]
projects:
  - topics_allow: [chat, "", 'a\,b']
    webhooks:
      - url: https://example.org
        events: [egress_ended]
        max_age: 1h
      - {url: "https://example.com", api_key: k, api_secret: s}
`, "secret": "s3cr3t"})
	want := []config.Project{{
		TopLevel: true, Name: "livekit", ProjectID: "livekit",
		LiveKit: &config.LiveKit{
			URL: "wss://lk.example.org", APIKey: "APIabc", APISecret: config.NewSecret("s3cr3t"),
		},
		S3: &config.S3{
			AccessKey: "a", SecretKey: config.NewSecret("from-environment"),
			Endpoint: "https://s3.example.org", Bucket: "study", Region: "us-east-1",
			PathStyle: new(true),
		},
		RecordRooms: []string{"!test-*", `Smith\, Jo`, "*"},
		Selection:   config.Selection{TopicsAllow: []string{"chat", `""`, `a\,b`}},
		Webhooks: []config.Webhook{
			{
				URL: "https://example.org", APIKey: "APIabc", APISecret: config.NewSecret("s3cr3t"),
				Events: []string{"egress_ended"}, MaxAge: time.Hour,
			},
			{
				Index: 1, URL: "https://example.com", APIKey: "k", APISecret: config.NewSecret("s"),
				Events: []string{"egress_started", "egress_updated", "egress_ended"},
				MaxAge: 168 * time.Hour,
			},
		},
	}}
	if diff := cmp.Diff(want, c.Projects); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "redis (textegress.yaml line 3)") {
		t.Errorf("warnings: %q", c.Warnings)
	}

	c = mustLoad(t, nil, map[string]string{"textegress.yaml": `
projects:
  - name: a
    livekit: {url: wss://a, api_key: k, api_secret: s}
    s3: {access_key: a, secret_key: b, endpoint: c, bucket: study, region: r}
  - {name: b, livekit: {ws_url: wss://b, api_key: k, api_secret: s}}
`})
	if len(c.Projects) != 2 || c.Projects[0].S3.Bucket != "study" ||
		c.Projects[1].LiveKit.URL != "wss://b" || c.Projects[1].TopLevel {
		t.Errorf("%+v", c.Projects)
	}
}

// TestYAMLWithLiveKitsNamesIsStrict has one fault per row.
func TestYAMLWithLiveKitsNamesIsStrict(t *testing.T) {
	const livekit = "livekit: {url: wss://a, api_key: k, api_secret: s}\n"
	const projects = "projects:\n- livekit: {url: wss://a, api_key: k, api_secret: s}\n"
	const s3 = "  s3: {access_key: a, secret: b, endpoint: c, bucket: study, region: r}"
	for _, tc := range []struct {
		name, yaml string
		want       []string
	}{
		{"unknown block", projects + "  webhook: []", []string{"did you mean webhooks?"}},
		{"unknown block at the top", livekit + "project: []", []string{"did you mean projects?"}},
		{"both names", "livekit: {url: wss://a, ws_url: wss://b, api_key: k, api_secret: s}", []string{
			"LIVEKIT_URL (textegress.yaml line 1)", "twice",
		}},
		{"flat and block", livekit + "livekit_url: wss://b", []string{"LIVEKIT_URL", "twice"}},
		{"both blocks", projects + "  s3_config: {region: b}\n" + s3, []string{
			"PROJECTS__0__S3_CONFIG__REGION (textegress.yaml line 4)", "twice",
		}},
		{"s3 for nobody", projects + s3[2:], []string{
			"s3 (textegress.yaml line 3)", "PROJECTS__0__LIVEKIT__API_KEY is set", "into the project",
		}},
		{"unknown in livekit", livekit[:len(livekit)-2] + ", api_kye: x}", []string{
			"LIVEKIT (textegress.yaml line 1)", `"api_kye"`, "did you mean api_key?",
		}},
		{
			"livekit in livekit", "livekit: {livekit: {}, url: wss://a, api_key: k, api_secret: s}",
			[]string{`"livekit"`},
		},
		{"LiveKit's names elsewhere", projects + "  s3_config: {bucket: x}\n  directory: x", []string{
			"PROJECTS__0__S3_CONFIG", `"bucket"`,
		}},
		{"webhooks at the top", livekit + "webhooks: []", []string{`"webhooks"`}},
		{"webhooks no list", projects + "  webhooks: {url: x}", []string{
			"PROJECTS__0__WEBHOOKS (textegress.yaml line 3)", "not a list", "every webhook",
		}},
		{"unknown in webhook", projects + "  webhooks: [{url: 'http://a.org', ulr: x}]", []string{
			"PROJECTS__0__WEBHOOKS__0", "did you mean url?",
		}},
		{"exclusion without quotes", livekit + "record_rooms: !test-*", []string{
			"RECORD_ROOMS (textegress.yaml line 2)", "quotes",
		}},
		{"exclusion in a list without quotes", livekit + "record_rooms:\n- !test\n- '*'", []string{
			"RECORD_ROOMS (textegress.yaml line 3)", "quotes",
		}},
		{"empty list", projects + "  topics_allow: []", []string{"TOPICS_ALLOW", "empty list"}},
		{"backslash at the end of an entry", projects + `  topics_allow: ['a\', b]`, []string{
			"TOPICS_ALLOW", "backslash",
		}},
		{"list in a list", projects + "  topics_allow: [[a]]", []string{"TOPICS_ALLOW", "single"}},
		{"list of nothing", projects + "  topics_allow: [~]", []string{"TOPICS_ALLOW", "single"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			one(t, allProblems(t, nil, map[string]string{"textegress.yaml": tc.yaml}), tc.want...)
		})
	}
}

// TestChangesOfLiveKitProjects: a change has the name that the user wrote, and moving a value from
// one name to another is none.
func TestChangesOfLiveKitProjects(t *testing.T) {
	load := func(env ...string) *config.Config { return mustLoad(t, env, nil) }
	three := load(threeSettings...)
	dir := dir(t, map[string]string{"secret": "s3cr3t"})
	file := load(threeSettings[0], threeSettings[1],
		"LIVEKIT_API_SECRET_FILE="+filepath.Join(dir, "secret"))
	own := []string{
		"PROJECTS__0__LIVEKIT__URL=ws://localhost:7880/", "PROJECTS__0__LIVEKIT__API_KEY=APIabc",
		"PROJECTS__0__LIVEKIT__API_SECRET=s3cr3t",
	}
	hook := "PROJECTS__0__WEBHOOKS__1__URL=https://"
	for _, tc := range []struct {
		name     string
		was, now *config.Config
		want     []string
	}{
		{"the same under other names", three, load(own...), nil},
		{"a file that is gone", file, load(own...), []string{"LIVEKIT_API_SECRET_FILE"}},
		{"defaults written out", three, load(append([]string{
			"PROJECTS__0__DIRECTORY=./recordings", "PROJECTS__0__NAME=livekit", "RECORD_ROOMS=*",
		}, own...)...), nil},
		{
			"a secret", three, load("LIVEKIT_URL=ws://localhost:7880/", "LIVEKIT_API_KEY=APIabc",
				"LIVEKIT_API_SECRET=new"),
			[]string{"LIVEKIT_API_SECRET"},
		},
		{
			"an address under the other name", three,
			load("PROJECTS__0__LIVEKIT__URL=ws://x", own[1], own[2]),
			[]string{"PROJECTS__0__LIVEKIT__URL"},
		},
		{
			"a webhook", load(append([]string{hook + "a.org"}, threeSettings...)...),
			load(append([]string{hook + "b.org"}, threeSettings...)...),
			[]string{"PROJECTS__0__WEBHOOKS__1__URL"},
		},
		{
			"ignored", load(own...), load(append([]string{"LIVEKIT_URL=ws://other"}, own...)...), nil,
		},
	} {
		if diff := cmp.Diff(tc.want, tc.was.Changes(tc.now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	for name, want := range map[string]string{
		"LIVEKIT_API_KEY": "LIVEKIT__API_KEY", "PROJECTS__0__LIVEKIT__API_KEY": "LIVEKIT__API_KEY",
		"PROJECTS__0__WEBHOOKS__1__URL": "WEBHOOKS__1__URL",
	} {
		if i, rest, ok := config.ProjectSetting(name); i != 0 || rest != want || !ok {
			t.Errorf("ProjectSetting(%s) = %d, %s, %v", name, i, rest, ok)
		}
	}
	if i, rest, ok := config.ProjectSetting("PROJECTS__12__NAME"); i != 12 || rest != "NAME" || !ok {
		t.Errorf("%d, %s, %v", i, rest, ok)
	}
	if _, _, ok := config.ProjectSetting("RECORD_ROOMS"); ok {
		t.Error("RECORD_ROOMS is a setting of the service")
	}
}

package config_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/config"
)

func TestEnvironmentBeatsFilesInOrder(t *testing.T) {
	files := map[string]string{
		".env": predecessorEnv +
			"RETENTION=1h\nSYNC_INTERVAL=1s\nREJOIN_WINDOW=1m\nSHUTDOWN_TIMEOUT=1s\n",
		"textegress.yaml": "retention: 2h\nsync_interval: 2s\nrejoin_window: 2m\n",
	}
	c, err := load(t, []string{
		"TEXTEGRESS_CONFIG_BODY=retention: 3h\nsync_interval: 3s",
		"RETENTION=4h", "SHUTDOWN_TIMEOUT=",
	}, files)
	if err != nil {
		t.Fatal(err)
	}
	got := []time.Duration{c.Retention, c.SyncInterval, c.RejoinWindow, c.ShutdownTimeout}
	want := []time.Duration{4 * time.Hour, 3 * time.Second, 2 * time.Minute, time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	sources := map[string]string{}
	for _, s := range c.Settings() {
		sources[s.Key] = s.Source
	}
	for key, want := range map[string]string{
		"RETENTION": "environment", "SYNC_INTERVAL": "TEXTEGRESS_CONFIG_BODY line 2",
		"REJOIN_WINDOW": "textegress.yaml line 3", "SHUTDOWN_TIMEOUT": ".env line 19",
		"LOG_LEVEL": "default", "INSTANCE": "not set",
	} {
		if sources[key] != want {
			t.Errorf("source of %s = %q, want %q", key, sources[key], want)
		}
	}
}

func TestConfigFileIsChosen(t *testing.T) {
	files := map[string]string{
		".env": predecessorEnv, "textegress.yaml": "retention: 1h",
		"a.yaml": "retention: 2h", "b.yaml": "retention: 3h",
	}
	d := dir(t, files)
	for _, tc := range []struct {
		name, flag string
		env        []string
		want       time.Duration
	}{
		{"beside", "", nil, time.Hour},
		{"variable", "", []string{"TEXTEGRESS_CONFIG_FILE=a.yaml"}, 2 * time.Hour},
		{
			"flag", filepath.Join(d, "b.yaml"),
			[]string{"TEXTEGRESS_CONFIG_FILE=a.yaml"},
			3 * time.Hour,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := config.Load(config.Options{Environ: tc.env, Dir: d, File: tc.flag})
			if err != nil || c.Retention != tc.want {
				t.Errorf("retention %v, error %v, want %v", c, err, tc.want)
			}
		})
	}
	_, err := config.Load(config.Options{
		Environ: []string{"TEXTEGRESS_CONFIG_FILE=missing.yaml"},
		Dir:     d,
	})
	if err == nil || !strings.Contains(err.Error(), "TEXTEGRESS_CONFIG_FILE") ||
		!strings.Contains(err.Error(), "no such file") {
		t.Errorf("a missing file that was asked for: %v", err)
	}
}

func TestYAMLCarriesEverySetting(t *testing.T) {
	c, err := load(t, []string{"PROJECTS__0__SECRET=from-environment"}, map[string]string{"textegress.yaml": `
syncflow_server_url: http://localhost:8081
rabbitmq_host: 127.0.0.1
rabbitmq_port: 5672
rabbitmq_vhost_name: syncflow
rabbitmq_tls: off
rabbitmq_username: svc
rabbitmq_password: pw
device_group_name: text-egress
record_sessions: all
instance: lab-1
log_level: debug
log_format: json
http_addr: "127.0.0.1:0"
projects:
  - key: k
    project_id: 0b7e6d1e8a474c7a9a7e0d4f5f0f7c11
    directory: out
  - key: k2
    secret: s2
    project_id: 1b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11
    s3_config:
      access_key: a
      secret_key: b
      endpoint: https://s3.eu-west-1.amazonaws.com
      bucket_name: b-1
      region: eu-west-1
      path_style: true
      checksums: off
`})
	if err != nil {
		t.Fatal(err)
	}
	if c.RabbitMQ.TLS || c.RabbitMQ.Username != "svc" || c.RabbitMQ.Password.Reveal() != "pw" ||
		c.RecordSessions != config.RecordAll ||
		c.Instance != "lab-1" || c.LogLevel != slog.LevelDebug || c.LogFormat != "json" ||
		c.HTTPAddr != "127.0.0.1:0" {
		t.Errorf("%+v", c)
	}
	if p := c.Projects[0]; p.Secret.Reveal() != "from-environment" ||
		filepath.Base(p.Directory) != "out" || p.S3 != nil {
		t.Errorf("%+v", p)
	}
	if s := c.Projects[1].S3; s.Checksums || s.PathStyle == nil || !*s.PathStyle {
		t.Errorf("%+v", s)
	}
}

func TestYAMLIsStrict(t *testing.T) {
	for _, tc := range []struct {
		name, yaml string
		want       []string
	}{
		{"unknown", "colour: blue", []string{"textegress.yaml line 1", `"colour"`}},
		{"misspelt", "retentoin: 1h", []string{"did you mean retention?"}},
		{"in a project", "projects:\n- kye: x", []string{
			"PROJECTS__0", "textegress.yaml line 2",
			"did you mean key?",
		}},
		{
			"in s3", "projects:\n- s3_config:\n    bucket: x",
			[]string{"PROJECTS__0__S3_CONFIG", `"bucket"`},
		},
		{
			"s3 in s3", "projects:\n- s3_config:\n    s3_config: {region: x}",
			[]string{"PROJECTS__0__S3_CONFIG", `"s3_config"`},
		},
		{"upper case", "RETENTION: 1h", []string{"did you mean retention?"}},
		{"twice", "retention: 1h\nretention: 2h", []string{"line 2", "twice"}},
		{"not a mapping", "- a", []string{"not a mapping"}},
		{"projects not a list", "projects: {key: x}", []string{"not a list"}},
		{"list as value", "retention: [1h]", []string{"single value"}},
		{"syntax", "a: b\nretention: hunter2: x", []string{"not YAML", "line 2"}},
		{"two documents", "retention: 1h\n---\nretention: 2h", []string{"more than one"}},
		{"place of the file", "textegress_config_file: x", []string{"textegress_config_file"}},
		{"flat project", "projects__0__key: x", []string{"projects__0__key"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := load(t, nil, map[string]string{
				".env":            predecessorEnv,
				"textegress.yaml": tc.yaml,
			})
			var got []string
			if pe, ok := errors.AsType[*config.ProblemsError](err); ok {
				for _, p := range pe.Problems {
					got = append(got, p.String())
				}
			} else if c != nil {
				for _, p := range c.Broken[0].Problems {
					got = append(got, p.String())
				}
			}
			one(t, got, tc.want...)
			if strings.Contains(got[0], "hunter2") {
				t.Errorf("the problem quotes the value: %s", got[0])
			}
		})
	}
}

func TestSharedEnvGetsOneWarning(t *testing.T) {
	c, err := load(t, []string{"PATH=/bin", "RABBITMQ_NODENAME=x"},
		map[string]string{".env": predecessorEnv +
			"POSTGRES_PASSWORD=hunter2\nREDIS_URL=x\nCOMPOSE_PROJECT_NAME=y\n"})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 1 ||
		!strings.Contains(c.Warnings[0], "COMPOSE_PROJECT_NAME, POSTGRES_PASSWORD, REDIS_URL") {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

func TestWarnings(t *testing.T) {
	for line, want := range map[string]string{
		"DEVICE_GROUP_NAME=other":    "always used text-egress",
		"RABBITMQ_VHOST_NAME=/":      "always used syncflow",
		"RETENTION=1h\nRETENTION=2h": "set twice, in .env line 1 and in .env line 2",
	} {
		c, err := load(t, nil, map[string]string{".env": line + "\n" + predecessorEnv})
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if !strings.Contains(strings.Join(c.Warnings, "\n"), want) {
			t.Errorf("%s: warnings %q lack %q", line, c.Warnings, want)
		}
	}
}

func TestChanges(t *testing.T) {
	load := func(lines string) *config.Config {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(config.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	base := `SYNCFLOW_SERVER_URL=http://127.0.0.1
RABBITMQ_HOST=127.0.0.1
RABBITMQ_PORT=5672
RABBITMQ_VHOST_NAME=syncflow
DEVICE_GROUP_NAME=text-egress
PROJECTS__0__KEY=k
PROJECTS__0__PROJECT_ID=0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11
PROJECTS__0__DIRECTORY=/out
`
	one := load(base + "PROJECTS__0__SECRET=one\nLOG_LEVEL=info\n")
	for name, tc := range map[string]struct {
		lines string
		want  []string
	}{
		"nothing, a default that is written out": {"PROJECTS__0__SECRET=one\nRETENTION=72h\n", nil},
		"a secret": {
			"PROJECTS__0__SECRET=two\n",
			[]string{"PROJECTS__0__SECRET"},
		},
		"a default": {
			"PROJECTS__0__SECRET=one\nLOG_LEVEL=debug\n",
			[]string{"LOG_LEVEL"},
		},
		"a project that is broken": {
			"PROJECTS__0__SECRET=one\nPROJECTS__2__KEY=x\n",
			[]string{"PROJECTS__2__KEY"},
		},
	} {
		two := load(base + tc.lines)
		if got := one.Changes(two); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
		if got := two.Changes(one); !slices.Equal(got, tc.want) {
			t.Errorf("%s, the other way round: %q, want %q", name, got, tc.want)
		}
	}
}

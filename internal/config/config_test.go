package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/syncflow/textegress/internal/config"
)

// predecessorEnv is a `.env` as the predecessor's deployments have it, in all the ways its parser
// allows.
const predecessorEnv = "# SyncFlow\n" +
	"SYNCFLOW_SERVER_URL=https://api.syncflow.live/\r\n" +
	"export RABBITMQ_HOST = rmq.example.org   # the broker\n" +
	"RABBITMQ_PORT=5671\n" +
	"RABBITMQ_VHOST_NAME=\"syncflow\"\n" +
	"\n" +
	"device_group_name='text-egress'\n" +
	"PROJECTS__0__KEY=aB3dE6gH9k\n" +
	"PROJECTS__0__SECRET=\"s3cr#t-32-alphanumerics\" # rotated in May\n" +
	"PROJECTS__0__PROJECT_ID=0B7E6D1E-8A47-4C7A-9A7E-0D4F5F0F7C11\n" +
	"PROJECTS__0__S3_CONFIG__ACCESS_KEY=AKIAEXAMPLE\n" +
	"PROJECTS__0__S3_CONFIG__SECRET_KEY='wJalr/K7MDENG+bPx$RfiCY'\n" +
	"PROJECTS__0__S3_CONFIG__ENDPOINT=s3.example.org\n" +
	"PROJECTS__0__S3_CONFIG__BUCKET_NAME=study-bucket\n" +
	"PROJECTS__0__S3_CONFIG__REGION=us-east-1\n"

// dir writes files into a fresh working directory.
func dir(t *testing.T, files map[string]string) string {
	t.Helper()
	d := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(d, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func load(t *testing.T, env []string, files map[string]string) (*config.Config, error) {
	t.Helper()
	return config.Load(config.Options{Environ: env, Dir: dir(t, files)})
}

// problems loads and returns the lines of the error.
func problems(t *testing.T, env []string, files map[string]string) []string {
	t.Helper()
	_, err := load(t, env, files)
	pe, ok := errors.AsType[*config.ProblemsError](err)
	if !ok {
		t.Fatalf("Load = %v, want a ProblemsError", err)
	}
	var out []string
	for _, p := range pe.Problems {
		out = append(out, p.String())
		if !strings.Contains(err.Error(), p.String()) {
			t.Errorf("the error text lacks the problem %q", p)
		}
	}
	return out
}

// one expects exactly one problem that has every part.
func one(t *testing.T, got []string, parts ...string) {
	t.Helper()
	if len(got) != 1 {
		t.Fatalf("%d problems, want 1:\n%s", len(got), strings.Join(got, "\n"))
	}
	for _, p := range parts {
		if !strings.Contains(got[0], p) {
			t.Errorf("the problem %q lacks %q", got[0], p)
		}
	}
}

func TestLoadPredecessorsEnv(t *testing.T) {
	c, err := load(t, nil, map[string]string{".env": predecessorEnv})
	if err != nil {
		t.Fatal(err)
	}
	d := filepath.Dir(c.DataDir)
	want := &config.Config{
		ServerURL: "https://api.syncflow.live",
		RabbitMQ: config.RabbitMQ{
			Host: "rmq.example.org", Port: 5671, VHost: "syncflow",
			TLS: true,
		},
		DeviceGroup: "text-egress",
		Projects: []config.Project{{
			Key: "aB3dE6gH9k", Secret: config.NewSecret("s3cr#t-32-alphanumerics"),
			ProjectID: "0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11",
			S3: &config.S3{
				AccessKey: "AKIAEXAMPLE", SecretKey: config.NewSecret("wJalr/K7MDENG+bPx$RfiCY"),
				Endpoint: "https://s3.example.org", Bucket: "study-bucket", Region: "us-east-1",
				Checksums: true,
			},
		}},
		RecordSessions: config.RecordNotified, RejoinWindow: 10 * time.Minute,
		RosterGrace:  2 * time.Minute,
		PollInterval: time.Second, PollIntervalWithWebhooks: 15 * time.Second,
		DataDir: filepath.Join(d, "textegress-data"), SyncInterval: 200 * time.Millisecond,
		SegmentSize: 64 << 20, SegmentAge: 15 * time.Minute, DiskMinFree: 256 << 20,
		Retention:       72 * time.Hour,
		ShutdownTimeout: time.Minute, HTTPAddr: "127.0.0.1:9464", LogLevel: slog.LevelInfo,
		LogFormat: "auto", HTTP: config.HTTP{Operators: []string{"*"}},
	}
	if diff := cmp.Diff(want, c, cmpopts.IgnoreUnexported(config.Config{})); diff != "" {
		t.Error(diff)
	}
}

func TestProjectNumbersMayHaveGaps(t *testing.T) {
	c, err := load(t, []string{
		"PROJECTS__7__KEY=k", "PROJECTS__7__SECRET=s",
		"PROJECTS__7__PROJECT_ID=1b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11",
		"PROJECTS__7__DIRECTORY=/srv/out",
	}, map[string]string{".env": predecessorEnv})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Projects) != 2 || c.Projects[1].Index != 7 || c.Projects[1].Directory != "/srv/out" {
		t.Errorf("%+v", c.Projects)
	}
}

func TestOneBrokenProjectDoesNotStopTheOthers(t *testing.T) {
	c, err := load(t, []string{
		"PROJECTS__1__KEY=k", "PROJECTS__1__SECRT=s",
		"PROJECTS__2__PROJECT_ID=0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11",
		"PROJECTS__2__KEY=k", "PROJECTS__2__SECRET=s", "PROJECTS__2__DIRECTORY=x",
	}, map[string]string{".env": predecessorEnv})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Projects) != 1 || len(c.Broken) != 2 {
		t.Fatalf("%d usable, %d broken", len(c.Projects), len(c.Broken))
	}
	text := fmt.Sprint(c.Broken[0].Problems)
	for _, want := range []string{
		"did you mean PROJECTS__1__SECRET?",
		"PROJECTS__1__PROJECT_ID: is missing", "PROJECTS__1__S3_CONFIG__BUCKET_NAME",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("problems of project 1 lack %q: %s", want, text)
		}
	}
	if b := c.Broken[1]; len(b.Problems) != 1 || !strings.Contains(b.Problems[0].Wrong,
		"PROJECTS__0 again") {
		t.Errorf("a project id used twice: %+v", b)
	}
}

func TestNoUsableProjectIsFatal(t *testing.T) {
	text := strings.ReplaceAll(predecessorEnv, "PROJECTS__0__KEY", "#")
	one(t, problems(t, nil, map[string]string{".env": text}), "PROJECTS__0__KEY", "is missing",
		"dashboard")
}

func TestNothingConfigured(t *testing.T) {
	one(t, problems(t, nil, nil), "PROJECTS: no project is configured",
		"LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET", "SYNCFLOW_SERVER_URL",
		"RABBITMQ_HOST", "RABBITMQ_PORT", "RABBITMQ_VHOST_NAME", "DEVICE_GROUP_NAME",
		"PROJECTS__0__KEY", "PROJECTS__0__SECRET", "PROJECTS__0__PROJECT_ID", "S3_CONFIG",
		"PROJECTS__0__DIRECTORY")
}

// TestNoProject: with a part of SyncFlow's settings, everything that is missing is listed.
func TestNoProject(t *testing.T) {
	got := problems(t, []string{"RABBITMQ_HOST=rmq"}, nil)
	for _, key := range []string{
		"SYNCFLOW_SERVER_URL", "RABBITMQ_PORT",
		"RABBITMQ_VHOST_NAME", "DEVICE_GROUP_NAME", "PROJECTS",
	} {
		found := false
		for _, p := range got {
			found = found || strings.HasPrefix(p, key+": ")
		}
		if !found {
			t.Errorf("no problem for %s in %q", key, got)
		}
	}
}

// TestFaults has one fault per row, on top of a good configuration.
func TestFaults(t *testing.T) {
	badPEM := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	for _, tc := range []struct {
		name, dotenv string
		want         []string
	}{
		{
			"url without scheme", "SYNCFLOW_SERVER_URL=api.syncflow.live",
			[]string{"not a URL", "https://"},
		},
		{
			"url with user", "SYNCFLOW_SERVER_URL=https://u:hunter2@api.syncflow.live",
			[]string{"user name"},
		},
		{"url of another kind", "SYNCFLOW_SERVER_URL=wss://x", []string{"scheme", "http or https"}},
		{"url with query", "SYNCFLOW_SERVER_URL=https://x/?a=b", []string{"query"}},
		{"url with port 0", "SYNCFLOW_SERVER_URL=https://x:70000", []string{"port"}},
		{
			"host is url", "RABBITMQ_HOST=amqps://u:hunter2@rmq:5671/syncflow",
			[]string{"RABBITMQ_HOST", "is a URL"},
		},
		{"host with user", "RABBITMQ_HOST=u:hunter2@rmq", []string{"user name"}},
		{"host with port", "RABBITMQ_HOST=rmq:5671", []string{"RABBITMQ_PORT"}},
		{"host with space", "RABBITMQ_HOST=my broker", []string{"not a host name"}},
		{"host empty", "RABBITMQ_HOST=", []string{"RABBITMQ_HOST (.env line 1): is empty"}},
		{"port a word", "RABBITMQ_PORT=amqps", []string{"not a port", "1 to 65535"}},
		{"port too large", "RABBITMQ_PORT=65536", []string{"not a port"}},
		{"group with dot", "DEVICE_GROUP_NAME=text.egress", []string{"device group"}},
		{"group too long", "DEVICE_GROUP_NAME=" + strings.Repeat("a", 51), []string{"1 to 50"}},
		{"tls maybe", "RABBITMQ_TLS=maybe", []string{"neither true nor false"}},
		{"ca missing", "RABBITMQ_CA_FILE=nowhere.pem", []string{
			"RABBITMQ_CA_FILE (.env line 1)",
			"no such file",
		}},
		{"ca is no pem", "RABBITMQ_CA_FILE=.env", []string{"no certificate in PEM form"}},
		{"ca is damaged", "RABBITMQ_CA_FILE=bad.pem", []string{"cannot be read"}},
		{
			"user without password", "RABBITMQ_USERNAME=u",
			[]string{"RABBITMQ_PASSWORD", "RABBITMQ_USERNAME"},
		},
		{"password without user", "RABBITMQ_PASSWORD=hunter2", []string{"RABBITMQ_USERNAME"}},
		{"duration without unit", "RETENTION=72", []string{"not a duration", "72h"}},
		{"duration out of range", "SYNC_INTERVAL=1ns", []string{"out of range", "10ms to 1h"}},
		{"bytes without a unit", "SEGMENT_SIZE=1000000", []string{"SEGMENT_SIZE", "unit", "64MiB"}},
		{"bytes with another unit", "SEGMENT_SIZE=1MibiByte", []string{"MibiByte", "KiB, MiB"}},
		{"bytes out of range", "SEGMENT_SIZE=63KiB", []string{"out of range", "64KiB to 1GiB"}},
		{
			"bytes beyond counting", "DISK_MIN_FREE=999999999999999TiB",
			[]string{"out of range", "1MiB to 16TiB"},
		},
		{"age out of range", "SEGMENT_AGE=1ms", []string{"out of range", "1s to 24h"}},
		{"instance", "INSTANCE=a.b", []string{"instance name"}},
		{"addr", "HTTP_ADDR=9464", []string{"host:port"}},
		{
			"certificate without key", "HTTP_TLS_CERT_FILE=c.pem",
			[]string{"HTTP_TLS_KEY_FILE", "private key"},
		},
		{
			"key without certificate", "HTTP_TLS_KEY_FILE=k.pem",
			[]string{"HTTP_TLS_CERT_FILE", "chain"},
		},
		{"proxy", "HTTP_BEHIND_PROXY=nginx", []string{"true or false"}},
		{"page with a path", "PAGE_URL=https://x.org/egress", []string{"has a path"}},
		{"page without scheme", "PAGE_URL=x.org", []string{"is not a URL"}},
		{"level", "LOG_LEVEL=loud", []string{"debug, info, warn or error"}},
		{"format", "LOG_FORMAT=xml", []string{"auto, text or json"}},
		{"transport", "ICE_TRANSPORT=turn", []string{"all or relay"}},
		{"sessions", "RECORD_SESSIONS=some", []string{"notified or all"}},
		{"project id", "PROJECTS__0__PROJECT_ID=hunter2", []string{"not a UUID"}},
		{"secret with space", "PROJECTS__0__SECRET=\"hunter2 \"", []string{"white space"}},
		{"secret not ascii", "PROJECTS__0__SECRET=hunter2„", []string{"not ASCII"}},
		{
			"endpoint scheme", "PROJECTS__0__S3_CONFIG__ENDPOINT=s3://bucket",
			[]string{"scheme", "http or https"},
		},
		{"bucket is url", "PROJECTS__0__S3_CONFIG__BUCKET_NAME=s3://b/c", []string{"bucket name"}},
		{
			"both places", "PROJECTS__0__DIRECTORY=/out",
			[]string{"PROJECTS__0__DIRECTORY", "S3_CONFIG", "one place"},
		},
		{"checksums", "PROJECTS__0__S3_CONFIG__CHECKSUMS=sometimes", []string{"neither"}},
		{"misspelt", "RABBITMQ_HOTS=x", []string{"did you mean RABBITMQ_HOST?"}},
		{"exchanged twice", "DTAA_DRI=x", []string{"did you mean DATA_DIR?"}},
		{"own prefix", "TEXTEGRESS_DATA_DIR=x", []string{"did you mean DATA_DIR?"}},
		{"own unknown", "TEXTEGRESS_COLOUR=x", []string{"TEXTEGRESS_COLOUR", "not a setting"}},
		{"one underscore", "PROJECTS_0_KEY=x", []string{"did you mean PROJECTS__0__KEY?"}},
		{
			"project unknown", "PROJECTS__0__COLOUR=x",
			[]string{"PROJECTS__0__COLOUR", "not a setting"},
		},
		{"index is no number", "PROJECTS__A__KEY=x", []string{"PROJECTS__<number>__<name>"}},
		{"no equals sign", "hunter2hunter2", []string{".env line 1", "no ="}},
		{
			"quote not closed", "RABBITMQ_CA_FILE=\"hunter2",
			[]string{".env line 1", "no closing quote"},
		},
		{
			"text after quote", "LOG_LEVEL=\"debug\" hunter2",
			[]string{".env line 1", "after the closing quote"},
		},
		{
			"dollar", "RABBITMQ_PASSWORD=hunter2$UNSET_NAME",
			[]string{".env line 1", "single quotes"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// The faulty line comes first: the first assignment of a name counts.
			got := problems(t, nil, map[string]string{
				".env":    tc.dotenv + "\n" + predecessorEnv,
				"bad.pem": badPEM,
			})
			one(t, got, tc.want...)
			if strings.Contains(got[0], "hunter2") {
				t.Errorf("the problem quotes the value: %s", got[0])
			}
		})
	}
}

func TestMissingSettingPointsAtMisspeltVariable(t *testing.T) {
	text := strings.ReplaceAll(predecessorEnv, "export RABBITMQ_HOST", "#")
	one(t, problems(t, []string{"RABBITMQ_HSOT=x"}, map[string]string{".env": text}),
		"RABBITMQ_HOST", "RABBITMQ_HSOT is set", "spelling")
}

func TestSecretsAreNotShown(t *testing.T) {
	c, err := load(t, []string{"RABBITMQ_USERNAME=svc", "RABBITMQ_PASSWORD=hunter2"},
		map[string]string{".env": predecessorEnv})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "config", c, "password", c.RabbitMQ.Password)
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %x %q %s %s %v", c, c.RabbitMQ, c.Projects,
		c.RabbitMQ.Password, c.RabbitMQ.Password, &log, j, c.Settings())
	for _, s := range []string{"hunter2", "68756e74657232", "s3cr#t", "wJalr"} {
		if strings.Contains(shown, s) {
			t.Errorf("%q is shown", s)
		}
	}
	for _, s := range c.Settings() {
		if s.Source == "not set" {
			continue
		}
		if strings.HasSuffix(s.Key, "SECRET") && s.Value != "********" ||
			strings.HasSuffix(s.Key, "__KEY") && s.Value != "aB3d…" {
			t.Errorf("%+v", s)
		}
	}
}

package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWebhookFaults has one fault per row, on top of a SyncFlow project without a LiveKit key.
func TestWebhookFaults(t *testing.T) {
	const hook = "PROJECTS__0__WEBHOOKS__1__"
	key := hook + "API_KEY=k\n" + hook + "API_SECRET=hunter2\n"
	good := hook + "URL=https://example.org\n" + key
	for _, tc := range []struct {
		name, dotenv string
		want         []string
	}{
		{"no URL", key, []string{hook + "URL: is missing"}},
		{"no key", hook + "URL=https://example.org", []string{
			hook + "API_KEY: is missing",
			"PROJECTS__0__LIVEKIT__API_KEY",
		}},
		{"half a key", hook + "URL=https://x.org\n" + hook + "API_KEY=k", []string{
			hook + "API_SECRET: is missing",
		}},
		{"the other half", hook + "URL=https://x.org\n" + hook + "API_SECRET=hunter2", []string{
			hook + "API_KEY: is missing",
		}},
		{"secret file", hook + "URL=https://x.org\n" + hook + "API_KEY=k\n" + hook +
			"API_SECRET_FILE=nowhere", []string{hook + "API_SECRET_FILE", "no such file"}},
		{"no scheme", hook + "URL=example.org/hunter2\n" + key, []string{hook + "URL", "not a URL"}},
		{"ws", hook + "URL=ws://x.org/hunter2\n" + key, []string{hook + "URL", "http or https"}},
		{"user", hook + "URL=http://a:hunter2@x.org\n" + key, []string{hook + "URL", "user name"}},
		{"fragment", hook + "URL=http://x.org#hunter2\n" + key, []string{hook + "URL", "fragment"}},
		{"port", hook + "URL=http://x.org:0/hunter2\n" + key, []string{hook + "URL", "port"}},
		{"loopback", hook + "URL=http://[::1]:80/hunter2\n" + key, []string{"WEBHOOK_ALLOW_PRIVATE"}},
		{"mapped", hook + "URL=http://[::ffff:10.0.0.1]/\n" + key, []string{"WEBHOOK_ALLOW_PRIVATE"}},
		{"mapped any", hook + "URL=http://[::ffff:0.0.0.0]/\n" + key, []string{"_PRIVATE"}},
		{"localhost", hook + "URL=http://localhost/\n" + key, []string{"WEBHOOK_ALLOW_PRIVATE"}},
		{"metadata", hook + "URL=http://169.254.169.254/\n" + key, []string{"WEBHOOK_ALLOW_PRIVATE"}},
		{"event", good + hook + "EVENTS=egress_over", []string{hook + "EVENTS", "egress_ended"}},
		{"age", good + hook + "MAX_AGE=1s", []string{hook + "MAX_AGE", "1m0s"}},
		{"misspelt", good + hook + "ULR=x", []string{"did you mean " + hook + "URL?"}},
		{"underscores", good + "PROJECTS_0_WEBHOOKS_1_API_SECRET=hunter2", []string{
			"did you mean " + hook + "API_SECRET?",
		}},
		{"singular", good + "PROJECTS__0__WEBHOOK__1__URL=x", []string{
			"did you mean " + hook + "URL?",
		}},
		{"no number", good + "PROJECTS__0__WEBHOOKS__URL=x", []string{
			"PROJECTS__<number>__WEBHOOKS__<number>__<name>",
		}},
		{"number", good + "PROJECTS__0__WEBHOOKS__01__URL=x", []string{"not a setting", "leading zeros"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := allProblems(t, nil, map[string]string{".env": predecessorEnv + tc.dotenv})
			one(t, got, tc.want...)
			if strings.Contains(got[0], "hunter2") {
				t.Errorf("the problem quotes the value: %s", got[0])
			}
		})
	}
}

// TestWebhookOfSyncFlowProject: it signs with the project's LiveKit key unless it has its own.
func TestWebhookOfSyncFlowProject(t *testing.T) {
	c := mustLoad(t, nil, map[string]string{
		".env": predecessorEnv +
			"PROJECTS__0__LIVEKIT__API_KEY=k\nPROJECTS__0__LIVEKIT__API_SECRET=s\n" +
			"PROJECTS__0__WEBHOOKS__0__URL=http://127.0.0.1:8080/\nWEBHOOK_ALLOW_PRIVATE=true\n" +
			"PROJECTS__0__WEBHOOKS__7__API_SECRET_FILE=secret\n" +
			"PROJECTS__0__WEBHOOKS__7__URL=https://example.org\n" +
			"PROJECTS__0__WEBHOOKS__7__API_KEY=k7\n",
		"secret": "s7\n",
	})
	var got []string
	for _, w := range c.Projects[0].Webhooks {
		got = append(got, w.URL+" "+w.APIKey+" "+w.APISecret.Reveal())
	}
	want := []string{"http://127.0.0.1:8080/ k s", "https://example.org k7 s7"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

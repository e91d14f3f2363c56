package app

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKindsOfSettings: keys, lists and buckets change while a project runs; everything else, in
// particular the address of a LiveKit server, waits for a restart.
func TestKindsOfSettings(t *testing.T) {
	changed := []string{
		"LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_API_SECRET_FILE",
		"PROJECTS__0__KEY", "PROJECTS__0__KEY_FILE", "PROJECTS__0__SECRET_FILE",
		"PROJECTS__0__LIVEKIT__URL", "PROJECTS__0__LIVEKIT__API_KEY_FILE",
		"PROJECTS__0__DIRECTORY", "PROJECTS__0__S3_CONFIG__SECRET_KEY_FILE",
		"PROJECTS__0__RECORD_ROOMS", "PROJECTS__0__EXCLUDE_BY_ATTRIBUTE",
		"PROJECTS__0__WEBHOOKS__0__API_SECRET", "PROJECTS__0__WEBHOOKS__0__URL",
		"PROJECTS__0__IDENTITIES_DENY", "PROJECTS__0__TOPICS_ALLOW",
		"PROJECTS__1__SECRET", "PROJECTS__10__SECRET", "RECORD_ROOMS", "POLL_INTERVAL",
		"WEBHOOK_HOSTS", "WEBHOOK_ALLOW_PRIVATE",
	}
	for kind, want := range map[int][]string{
		ofKeys: {
			"LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_API_SECRET_FILE", "PROJECTS__0__KEY",
			"PROJECTS__0__KEY_FILE", "PROJECTS__0__SECRET_FILE",
			"PROJECTS__0__LIVEKIT__API_KEY_FILE",
		},
		ofBucket: {"PROJECTS__0__DIRECTORY", "PROJECTS__0__S3_CONFIG__SECRET_KEY_FILE"},
		ofLists:  {"PROJECTS__0__IDENTITIES_DENY", "PROJECTS__0__TOPICS_ALLOW"},
		ofStart: {
			"LIVEKIT_URL", "PROJECTS__0__LIVEKIT__URL", "PROJECTS__0__RECORD_ROOMS",
			"PROJECTS__0__EXCLUDE_BY_ATTRIBUTE", "PROJECTS__0__WEBHOOKS__0__API_SECRET",
			"PROJECTS__0__WEBHOOKS__0__URL",
		},
	} {
		if diff := cmp.Diff(want, ofProject(changed, 0, kind)); diff != "" {
			t.Errorf("kind %d (-want +got):\n%s", kind, diff)
		}
	}
	if diff := cmp.Diff([]string{"PROJECTS__1__SECRET"}, ofProject(changed, 1, ofKeys)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

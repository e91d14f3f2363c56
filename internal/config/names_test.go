package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func projectWith(t *testing.T, extra ...string) *Config {
	t.Helper()
	c, err := Load(Options{Dir: t.TempDir(), Environ: append([]string{
		"SYNCFLOW_SERVER_URL=http://x", "RABBITMQ_HOST=x", "RABBITMQ_PORT=1",
		"RABBITMQ_VHOST_NAME=syncflow", "DEVICE_GROUP_NAME=text-egress",
		"PROJECTS__0__KEY=k", "PROJECTS__0__SECRET=s",
		"PROJECTS__0__PROJECT_ID=0b7e6d1e8a474c7a9a7e0d4f5f0f7c11", "PROJECTS__0__DIRECTORY=x",
		"PROJECTS__1__KEY=k", "PROJECTS__1__SECRET=s",
		"PROJECTS__1__PROJECT_ID=1b7e6d1e8a474c7a9a7e0d4f5f0f7c11", "PROJECTS__1__DIRECTORY=x",
	}, extra...)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestListsOfNames(t *testing.T) {
	c := projectWith(t, `PROJECTS__0__IDENTITIES_DENY= bob , guest-*, Smith\, Jo,"",a\\`,
		"PROJECTS__0__TOPICS_ALLOW=chat", "PROJECTS__0__ENCRYPTED=keep")
	want := Selection{
		IdentitiesDeny: []string{"bob", "guest-*", `Smith\, Jo`, `""`, `a\\`},
		TopicsAllow:    []string{"chat"}, KeepEncrypted: true,
	}
	if diff := cmp.Diff(want, c.Projects[0].Selection); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !cmp.Equal(c.Projects[1].Selection, Selection{}) {
		t.Errorf("nothing set: %+v", c.Projects[1].Selection)
	}
	for _, bad := range []string{"bob,,alice", "bob,", "b*b", `bob\`, `b\ob`, "**"} {
		c := projectWith(t, "PROJECTS__0__IDENTITIES_ALLOW="+bad)
		if len(c.Broken) != 1 {
			t.Errorf("%q is accepted", bad)
			continue
		}
		// A list that is not understood must never mean "everything".
		if text := c.Broken[0].String(); !strings.Contains(text, "IDENTITIES_ALLOW") ||
			strings.Contains(text, "bob") {
			t.Errorf("%q: %s", bad, text)
		}
	}
}

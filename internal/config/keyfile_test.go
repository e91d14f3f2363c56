package config_test

import (
	"strings"
	"testing"
)

// TestKeyFile: keys of encrypted rooms are never shown, and a file that cannot be read does not
// stop the recording.
func TestKeyFile(t *testing.T) {
	keys := "open sesame\nhex:00112233445566778899aabbccddeeff\n"
	env := []string{"PROJECTS__0__E2EE_KEY=a pass phrase", "PROJECTS__0__E2EE_KEY_FILE=keys"}
	c, err := load(t, env, map[string]string{".env": predecessorEnv, "keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Projects[0]; p.E2EEKey.Reveal() != "a pass phrase" || p.E2EEKeys.Reveal() != keys {
		t.Errorf("keys %q, %q", p.E2EEKey.Reveal(), p.E2EEKeys.Reveal())
	}
	for _, s := range c.Settings() {
		if strings.Contains(s.Value, "phrase") || strings.Contains(s.Value, "sesame") {
			t.Errorf("%s shows %q", s.Key, s.Value)
		}
	}
	for name, files := range map[string]map[string]string{
		"missing": {".env": predecessorEnv},
		"huge":    {".env": predecessorEnv, "keys": strings.Repeat("x", 100_000)},
	} {
		c, err := load(t, env, files)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Projects) == 0 || !c.Projects[0].E2EEKeys.IsZero() ||
			!strings.Contains(strings.Join(c.Warnings, "\n"), "PROJECTS__0__E2EE_KEY_FILE") {
			t.Errorf("%s: %d projects, warnings %q", name, len(c.Projects), c.Warnings)
		}
	}
}

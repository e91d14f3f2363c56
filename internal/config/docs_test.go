package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestManualNamesEverySettingAndItsDefault keeps docs/CONFIGURATION.md and the program together.
func TestManualNamesEverySettingAndItsDefault(t *testing.T) {
	text, err := os.ReadFile("../../docs/CONFIGURATION.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z][A-Za-z0-9_<>]+)` "+
		"\\| (.*?) ?\\|").FindAllStringSubmatch(string(text), -1) {
		rows[m[1]] = m[2]
	}
	check := func(name, def string) {
		cell, ok := rows[name]
		if !ok {
			t.Errorf("%s is not in the manual", name)
			return
		}
		delete(rows, name)
		if def != "" && cell != "`"+def+"`" {
			t.Errorf("%s: the manual says %q, the default is %q", name, cell, def)
		}
		if def == "" && strings.HasPrefix(cell, "`") && !strings.HasSuffix(name, "PATH_STYLE") {
			t.Errorf("%s: the manual says %q, there is no default", name, cell)
		}
	}
	for _, k := range globalKeys {
		check(k.name, k.def)
	}
	for _, k := range projectKeys {
		check("PROJECTS__<n>__"+k.name, k.def)
	}
	for _, k := range webhookKeys {
		check("PROJECTS__<n>__WEBHOOKS__<m>__"+k.name, k.def)
	}
	check(keyConfigFile, "")
	check(keyConfigBody, "")
	for name := range rows {
		t.Errorf("the manual has %s, which is no setting", name)
	}
}

// TestDefaultsAreValid: a default is a value that could be set.
func TestDefaultsAreValid(t *testing.T) {
	env := []string{
		"SYNCFLOW_SERVER_URL=http://x", "RABBITMQ_HOST=x", "RABBITMQ_PORT=1",
		"RABBITMQ_VHOST_NAME=syncflow", "DEVICE_GROUP_NAME=text-egress",
		"PROJECTS__0__KEY=k", "PROJECTS__0__SECRET=s",
		"PROJECTS__0__PROJECT_ID=0b7e6d1e8a474c7a9a7e0d4f5f0f7c11", "PROJECTS__0__DIRECTORY=x",
	}
	for _, k := range globalKeys {
		if k.def != "" {
			env = append(env, k.name+"="+k.def)
		}
	}
	if _, err := Load(Options{Environ: env, Dir: t.TempDir()}); err != nil {
		t.Error(err)
	}
}

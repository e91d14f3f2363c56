package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func none(string) (string, bool) { return "", false }

func TestParseDotenv(t *testing.T) {
	env := func(k string) (string, bool) { return "outside", k == "HOME" }
	for _, tc := range []struct{ name, text, want string }{
		{"plain", "A=b", "b"},
		{"spaces", "  A =  b c  ", "b c"},
		{"hash in word", "A=b#c", "b#c"},
		{"comment", "A=b # c", "b"},
		{"comment only", "A= # c", ""},
		{"empty", "A=", ""},
		{"equals in value", "A=b=c==", "b=c=="},
		{"export", "export\tA=b", "b"},
		{"byte order mark", "\ufeffA=b", "b"},
		{"crlf", "A=b\r\n", "b"},
		{"single", `A='b # "c" \n $D'`, `b # "c" \n $D`},
		{"double", `A="b \"c\" \\ \n \$D"`, "b \"c\" \\ \n $D"},
		{"comment after quote", `A="b" # c`, "b"},
		{"several lines", "A=\"b\nc\"", "b\nc"},
		{"several lines single", "A='b  \n  c'", "b  \n  c"},
		{"substitution", "A=x${HOME}y$HOME", "xoutsideyoutside"},
		{"no substitution", "A='$HOME'", "$HOME"},
		{"dollar alone", "A=b$", "b$"},
		{"dollar digit", "A=b$1", "b$1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, faults := parseDotenv(tc.text, env)
			if diff := cmp.Diff([]envLine{{"A", tc.want, 1}}, got,
				cmp.AllowUnexported(envLine{})); diff != "" || len(faults) > 0 {
				t.Errorf("%s%v", diff, faults)
			}
		})
	}
}

func TestParseDotenvGoesOnAfterFaults(t *testing.T) {
	lines, faults := parseDotenv("A=1\nbroken\nB='x\nC=$D\nE=\"2\n3\"\n\nF=4", none)
	var got []int
	for _, f := range faults {
		got = append(got, f.line)
	}
	if diff := cmp.Diff([]int{2, 3, 4}, got); diff != "" {
		t.Error(diff)
	}
	want := []envLine{{"A", "1", 1}, {"E", "2\n3", 5}, {"F", "4", 8}}
	if diff := cmp.Diff(want, lines, cmp.AllowUnexported(envLine{})); diff != "" {
		t.Error(diff)
	}
}

func TestSuggestLeavesStrangersAlone(t *testing.T) {
	for _, name := range []string{
		"PATH", "PORT", "HTTP_PORT", "DATABASE_URL", "REDIS_URL",
		"NODE_ENV", "RABBITMQ_DEFAULT_USER", "HOST", "KEY",
	} {
		if s := suggest(name); s != "" {
			t.Errorf("suggest(%s) = %s", name, s)
		}
	}
}

// FuzzLoadText feeds hostile text to both parsers: no panic, no endless loop, and every problem
// names a place.
func FuzzLoadText(f *testing.F) {
	for _, s := range []string{
		"A=b", "A='b\nc'", "projects:\n- key: x\n  s3_config: {region: r}",
		"livekit: {ws_url: x}\ns3: {secret: y}\nrecord_rooms: ['!a', \"\"]\nredis: {}",
		"projects: &p\n- webhooks: [{url: x, events: [a]}, {webhooks: *p}]\n  topics_deny: !a",
		"a: &a [*a]", "A=\"$B\\", "export", "? {a: b}", "<<: *x", "\ufeff=\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines, faults := parseDotenv(text, none)
		for _, l := range lines {
			if l.line < 1 || !envKey.MatchString(l.key) {
				t.Errorf("%+v", l)
			}
		}
		for _, x := range faults {
			if x.line < 1 || x.wrong == "" {
				t.Errorf("%+v", x)
			}
		}
		flattenYAML([]byte(text), "f", checkedTarget{t})
	})
}

// checkedTarget checks whatever it gets.
type checkedTarget struct{ t *testing.T }

func (c checkedTarget) set(name, _, source string) {
	if !isKnown(name) || source == "" {
		c.t.Errorf("%q from %q", name, source)
	}
}

func (c checkedTarget) report(p Problem) {
	if p.Source == "" || p.Wrong == "" {
		c.t.Errorf("%+v", p)
	}
}

func (c checkedTarget) warn(text string) {
	if text == "" {
		c.t.Error("an empty warning")
	}
}

func (c checkedTarget) setTopS3(source string) {
	if source == "" {
		c.t.Error("no source")
	}
}

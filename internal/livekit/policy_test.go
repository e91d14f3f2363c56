package livekit_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/livekit"
)

func policy(t testing.TB, patterns ...string) *livekit.Policy {
	t.Helper()
	p, err := livekit.NewPolicy(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The first pattern that matches decides; no match means no recording.
func TestPolicyPatterns(t *testing.T) {
	for _, c := range []struct {
		patterns string
		yes, no  string
	}{
		{"*", "a class-1 test-1 !x", ""},
		{"", "", "a class-1"},
		{"class-*", "class-1 class-", "clas Class-1 test-1"},
		{"!test-* *", "class-1 tes", "test-1 test-"},
		{"* !test-*", "class-1 test-1", ""},
		{"!test-*", "", "test-1 class-1"},
		{"test-9 !test-* *", "test-9 x", "test-1 test-99"},
		{`\*`, "*", "a"},
		{`\!a`, "!a", "a"},
		{`!\!a* *`, "a b", "!a !ab"},
	} {
		p := policy(t, strings.Fields(c.patterns)...)
		for name := range strings.FieldsSeq(c.yes) {
			if v := p.Verdict(livekit.Room{Name: name}); !v.Record || v.OptedOut {
				t.Errorf("%s: %s: %+v", c.patterns, name, v)
			}
		}
		for name := range strings.FieldsSeq(c.no) {
			if v := p.Verdict(livekit.Room{Name: name}); v.Record || v.OptedOut {
				t.Errorf("%s: %s: %+v", c.patterns, name, v)
			}
		}
	}
	for _, malformed := range []string{"", "!", "alice*x", `!alice\`} {
		if _, err := livekit.NewPolicy([]string{"*", malformed}); err == nil ||
			!strings.Contains(err.Error(), "pattern 2") || strings.Contains(err.Error(), "alice") {
			t.Errorf("%q: %v", malformed, err)
		}
	}
}

// The metadata of a room overrides the patterns; metadata without our key has no effect.
func TestPolicyMetadata(t *testing.T) {
	none, all := policy(t), policy(t, "*")
	for _, c := range []struct {
		metadata   string
		none, all  bool // recorded without and with a pattern that matches
		out        bool
		topics     string
		misreading bool
	}{
		{``, false, true, false, "", false},
		{`textegress`, false, true, false, "", false},
		{`{"textegress"`, false, true, false, "", false},
		{`["textegress"]`, false, true, false, "", false},
		{`{"x":"textegress"}`, false, true, false, "", false},
		{`{"textegress":null}`, false, true, false, "", false},
		{`{"textegress":{}}`, false, true, false, "", false},
		{`{"textegress":{"record":null}}`, false, true, false, "", false},
		{`{"textegress":{"record":true},"x":1}`, true, true, false, "", false},
		{`{"textegress":{"record":false}}`, false, false, true, "", false},
		{
			`{"textegress":{"record":true,"topics":["chat","log-*"]}}`, true, true, false,
			"chat log-*", false,
		},
		{`{"textegress":{"topics":["chat"]}}`, false, true, false, "chat", false},
		{`{"textegress":{"record":false,"topics":["chat"]}}`, false, false, true, "", false},
		{`{"textegress":{"record":"no"}}`, false, false, true, "", true},
		{`{"textegress":"no"}`, false, false, true, "", true},
		{`{"textegress":false}`, false, false, true, "", true},
		{`{"textegress":{"topics":"alice"}}`, false, false, true, "", true},
		{`{"textegress":{"record":true,"topics":["alice*x"]}}`, false, false, true, "", true},
		// misspelt options must not be ignored, and an empty list does not mean all topics
		{`{"textegress":{"recording":false}}`, false, false, true, "", true},
		{`{"textegress":{"record":true,"topic":["chat"]}}`, false, false, true, "", true},
		{`{"textegress":{"record":true,"topics":[]}}`, false, false, true, "", true},
		{`{"textegress":{"record":true,"topics":null}}`, true, true, false, "", false},
	} {
		for _, p := range []struct {
			*livekit.Policy

			record bool
		}{{none, c.none}, {all, c.all}} {
			v := p.Verdict(livekit.Room{Name: "class-1", Metadata: c.metadata})
			if v.Record != p.record || v.OptedOut != c.out || (v.Problem != nil) != c.misreading ||
				p.record && !slices.Equal(v.Limits.Topics, strings.Fields(c.topics)) ||
				!p.record && !v.Limits.IsZero() || len(v.Limits.Participants) > 0 {
				t.Errorf("%s, want %v: %+v", c.metadata, p.record, v)
			}
			if v.Problem != nil && strings.Contains(v.Problem.Error(), "alice") {
				t.Error(v.Problem)
			}
		}
	}
	// The rooms of `config check` are never recorded, regardless of their metadata.
	for _, metadata := range []string{"", `{"textegress":{"record":true}}`} {
		v := all.Verdict(livekit.Room{Name: "textegress-check-x", Metadata: metadata})
		if v.Record {
			t.Errorf("%+v", v)
		}
	}
}

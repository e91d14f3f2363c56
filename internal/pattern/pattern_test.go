package pattern

import (
	"errors"
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		entry string
		yes   []string
		no    []string
	}{
		{"chat", []string{"chat"}, []string{"", "chats", "cha", "Chat"}},
		{"chat*", []string{"chat", "chats", "chat*"}, []string{"", "cha", "a chat"}},
		{"*", []string{"", "*", "é"}, nil},
		{`""`, []string{""}, []string{`""`, " "}},
		{`\*`, []string{"*"}, []string{"", "x"}},
		{`a\,b\"\\*`, []string{`a,b"\`, `a,b"\c`}, []string{`a,b"`}},
		{`\"\"`, []string{`""`}, []string{""}},
		{`\!a*`, []string{"!a", "!ab"}, []string{"a", `\!a`}},
	} {
		p, err := Parse(c.entry)
		if err != nil {
			t.Errorf("%q: %v", c.entry, err)
		}
		for _, name := range c.yes {
			if !p.Match(name) {
				t.Errorf("%q does not match %q", c.entry, name)
			}
		}
		for _, name := range c.no {
			if p.Match(name) {
				t.Errorf("%q matches %q", c.entry, name)
			}
		}
	}
}

func TestMalformedPattern(t *testing.T) {
	for entry, want := range map[string]error{
		"": errEmpty, "alice*x": errStar, `alice\`: errEscape, `alice\x`: errEscape,
	} {
		if _, err := Parse(entry); !errors.Is(err, want) || strings.Contains(err.Error(), "alice") {
			t.Errorf("%q: %v", entry, err)
		}
	}
}

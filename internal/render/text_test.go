package render

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// The expected results are those of Rust's String::from_utf8_lossy and of Unicode 16, tables 3-8 to
// 3-11.
func TestAppendText(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "",
		"plain | text":       "plain | text",
		"a\nb\r\nc":          `a\nb\r\nc`,
		`already \n escaped`: `already \n escaped`,
		"\x00\t\x7f":         "\x00\t\x7f",
		"学👩🏽‍🎓\u2028":        `学👩🏽‍🎓\u2028`,
		"a\v\f\x1c\x1d\x1e\x1f\x1b\u0085\u0084z": `a\u000b\u000c\u001c\u001d\u001e` + "\x1f\x1b" +
			`\u0085` + "\u0084z",
		"\u2029\u2027\u202a":                   `\u2029` + "\u2027\u202a",
		"\x85":                                 "�", // in Latin-1
		"\uFFFD":                               "\uFFFD",
		"\x80":                                 "�",
		"\xff\xfe":                             "��",
		"\xc3\x28":                             "�(",
		"\xe4\xb8":                             "�",   // a truncated sequence is one
		"\xe4\xb8\xe4\xb8":                     "��",  // two of them are two
		"\xe2\x82\x41":                         "�A",  //
		"\xf0\x9f\x98":                         "�",   //
		"\xf0\x9f\x98\xf0\x9f":                 "��",  //
		"\xed\xa0\x80":                         "���", // a surrogate: no byte begins anything
		"\xe0\x80\x80":                         "���", // overlong
		"\xf0\x80\x80\x80":                     "����",
		"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41": "��������A", // table 3-8
		"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41": "��������A", // table 3-9
		"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42": "�����A��B", // table 3-10
		"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41": "����A",     // table 3-11
		"Hello \xF0\x90\x80World":              "Hello �World",
		"\xf4\x90\x80\x80":                     "����", // beyond U+10FFFF
		"\xf5\x80":                             "��",
	} {
		if got := string(appendText(nil, in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if got := string(appendText(nil, []byte(in))); got != want {
			t.Errorf("%q as bytes: %q, want %q", in, got, want)
		}
	}
}

func FuzzAppendText(f *testing.F) {
	f.Add("a\nb\xe4\xb8\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := appendText(nil, s)
		if !utf8.Valid(got) {
			t.Fatalf("%q became %q", s, got)
		}
		if strings.ContainsAny(string(got), "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029") {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

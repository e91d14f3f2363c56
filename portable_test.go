package textegress_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/syncflow/textegress"
)

func TestPortableKey(t *testing.T) {
	long := strings.Repeat("x", 239) + "-12:30:40UTC.txt" // 255 bytes
	for key, want := range map[string]string{
		"events.jsonl":                         "events.jsonl",
		"raw/00000001.seg.zst":                 "raw/00000001.seg.zst",
		"alice-all-2025-06-11T20:30:40UTC.txt": "alice-all-2025-06-11T20%3A30%3A40UTC.txt",
		`files/%unknown/ST_1-a*b?"<c>|d\e`:     "files/%unknown/ST_1-a%2Ab%3F%22%3Cc%3E%7Cd%5Ce",
		"a./b /c.. ":                           "a%2E/b%20/c..%20",
		"NUL/con.txt/Com1/lpt¹.log":            "%4EUL/%63on.txt/%43om1/%6Cpt¹.log",
		"NULL/console/com/com10/a.nul":         "NULL/console/com/com10/a.nul",
		"con .txt":                             "%63on .txt",
		"100%/50%25/%zz/%3A":                   "100%/50%2525/%zz/%253A",
		"学生/é/e\u0301/👩🏽‍🎓":                    "学生/é/e\u0301/👩🏽‍🎓",
		long:                                   strings.Repeat("x", 238) + "~e082d7493b0d.txt",
	} {
		got := textegress.PortableKey(key)
		if got != want {
			t.Errorf("%q becomes %q, want %q", key, got, want)
		}
	}
}

// FuzzPortableKey: what comes out can be held by NTFS, is made of whole characters, is not changed
// by chance into the form of another key, and a second key that a recording could have has another
// form.
func FuzzPortableKey(f *testing.F) {
	for _, s := range []string{
		"", "a:b", "a%3Ab", "NUL", "x.", strings.Repeat("é", 130),
		strings.Repeat(":", 200), strings.Repeat("x", 250) + "~0123456789ab.txt",
	} {
		f.Add(s, "a:b")
	}
	f.Fuzz(func(t *testing.T, s, other string) {
		a, b := textegress.EscapeName(s), textegress.EscapeName(other)
		p := textegress.PortableKey(a)
		if len(p) > 255 || strings.ContainsAny(p, `"*:<>?|\/`) || strings.HasSuffix(p, ".") ||
			strings.HasSuffix(p, " ") || p == "" {
			t.Errorf("%q becomes %q", a, p)
		}
		if utf8.ValidString(a) && !utf8.ValidString(p) {
			t.Errorf("%q is cut within a character: %q", a, p)
		}
		if a != b && p == textegress.PortableKey(b) {
			t.Errorf("%q and %q both become %q", a, b, p)
		}
		if a != b && p == b {
			t.Errorf("%q becomes %q, which is another name's own form", a, b)
		}
		if twice := textegress.PortableKey("x/" + a + "/y"); twice != "x/"+p+"/y" {
			t.Errorf("as a component %q becomes %q", a, twice)
		}
	})
}

package textegress

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func cutName(prefix, raw string) string {
	sum := sha256.Sum256([]byte(raw))
	return prefix + "~" + hex.EncodeToString(sum[:6])
}

func TestEscapeName(t *testing.T) {
	long := strings.Repeat("a", 201)
	forged := cutName(strings.Repeat("a", 187), long)
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "alice", "alice"},
		{"space, colon, plus and quotes stay", `class 1: "a+b" <c>&d`, `class 1: "a+b" <c>&d`},
		{"other scripts stay", "Müller 李 🙂", "Müller 李 🙂"},
		{"a bidi override stays", "a\u202eb", "a\u202eb"},
		{"a replacement character that was sent stays", "a\ufffdb", "a\ufffdb"},
		{"dots within a name stay", "..a", "..a"},
		{"percent", "100%", "100%25"},
		{"slashes", `a/b\c`, "a%2Fb%5Cc"},
		{"C0 and DEL", "a\x00\n\x7f", "a%00%0A%7F"},
		{"C1", "a\u0085b", "a%C2%85b"},
		{"not UTF-8", "a\xff\xc3", "a%FF%C3"},
		{"dot", ".", "%2E"},
		{"dots", "..", "%2E%2E"},
		{"empty", "", "%empty"},
		{"looks like our mark for the empty name", "%empty", "%25empty"},
		{"200 bytes", long[:200], long[:200]},
		{"201 bytes", long, forged},
		{"a short name with the mark stays", "a~0123456789ab", "a~0123456789ab"},
		{"a name that is another's cut one", forged, cutName(strings.Repeat("a", 187), forged)},
		{
			"no cut within a character", strings.Repeat("a", 185) + strings.Repeat("李", 20),
			cutName(strings.Repeat("a", 185), strings.Repeat("a", 185)+strings.Repeat("李", 20)),
		},
		{
			"no cut within an escape", strings.Repeat("a", 186) + strings.Repeat("/", 20),
			cutName(strings.Repeat("a", 186), strings.Repeat("a", 186)+strings.Repeat("/", 20)),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, EscapeName(tt.in)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestNamesInKeys(t *testing.T) {
	long := strings.Repeat("x", 300)
	at := time.Date(2025, 6, 11, 22, 30, 40, 5, time.FixedZone("CEST", 7200))
	for _, tt := range []struct{ name, got, want string }{
		{
			"prefix", Prefix("My Project", "0b7e", "class-1", "", "DE_x"),
			"My Project-0b7e/class-1/text-egress/all-topics/DE_x/",
		},
		{
			"prefix with topic", Prefix("p", "1", "a/b", "chat", "DE_x"),
			"p-1/a%2Fb/text-egress/chat/DE_x/",
		},
		{"view", TextViewName("alice", "", at), "alice-all-topics-2025-06-11T20:30:40UTC.txt"},
		{
			"view without sender", TextViewName("", "chat", at),
			"%unknown-chat-2025-06-11T20:30:40UTC.txt",
		},
		{
			"view of one called like no sender", TextViewName("%unknown", "chat", at),
			"%25unknown-chat-2025-06-11T20:30:40UTC.txt",
		},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, tt.got, tt.want)
		}
	}
	if n := len(TextViewName(long, long, at)); n > 255 {
		t.Errorf("a text view's name has %d bytes", n)
	}
	if n := len(Prefix(long, long, long, long, "DE_0123456789ab") + TextViewName(long, long,
		at)); n > 1024 {
		t.Errorf("a key has %d bytes, S3 takes 1024", n)
	}
}

// unescapeName undoes an EscapeName that did not cut.
func unescapeName(e string) (string, bool) {
	if e == "%empty" {
		return "", true
	}
	var b strings.Builder
	for i := 0; i < len(e); i++ {
		if e[i] != '%' {
			b.WriteByte(e[i])
			continue
		}
		if i+2 >= len(e) {
			return "", false
		}
		c, err := hex.DecodeString(e[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b.WriteByte(c[0])
		i += 2
	}
	return b.String(), true
}

func FuzzEscapeName(f *testing.F) {
	for _, s := range []string{
		"", ".", "..", "alice", "%2E", "a%", "a/b", "\xff\xfe", "\u202e", "\u0085",
		strings.Repeat("é", 150), strings.Repeat("%", 67), strings.Repeat("a", 187) +
			"~0123456789ab",
	} {
		f.Add(s, s+"x")
	}
	check := func(t *testing.T, s string) (e string, cut bool) {
		e = EscapeName(s)
		if e == "" || e == "." || e == ".." || len(e) > MaxName || strings.ContainsAny(e, `/\`) ||
			!utf8.ValidString(e) {
			t.Fatalf("EscapeName(%q) = %q is no usable component", s, e)
		}
		for _, r := range e {
			if r < 0x20 || r >= 0x7f && r <= 0x9f {
				t.Fatalf("EscapeName(%q) = %q has a control character", s, e)
			}
		}
		cut = len(e) > MaxName-cutMarkLen && looksCut(e)
		if back, ok := unescapeName(e); !cut && (!ok || back != s) {
			t.Fatalf("EscapeName(%q) = %q does not lead back", s, e)
		}
		if sum := sha256.Sum256([]byte(s)); cut &&
			!strings.HasSuffix(e, "~"+hex.EncodeToString(sum[:6])) {
			t.Fatalf("EscapeName(%q) = %q has another name's digest", s, e)
		}
		return e, cut
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		ea, _ := check(t, a)
		eb, _ := check(t, b)
		check(t, ea) // what another's component would become as a name
		if a != b && ea == eb {
			t.Fatalf("%q and %q both become %q", a, b, ea)
		}
		if eea := EscapeName(ea); a != ea && eea == ea {
			t.Fatalf("%q and %q both become %q", a, ea, ea)
		}
	})
}

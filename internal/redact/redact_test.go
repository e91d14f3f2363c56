package redact

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/quick"
	"unicode"
	"unicode/utf8"
)

// shapes are the ways in which a value that is known gets into a text.
var shapes = map[string]func(v string) string{
	"plain":    func(v string) string { return "user '" + v + "' is refused" },
	"twice":    func(v string) string { return v + v },
	"path":     func(v string) string { return "PUT https://store.test/" + url.PathEscape(v) },
	"key":      func(v string) string { return (&url.URL{Path: v}).EscapedPath() },
	"lower":    func(v string) string { return lowerEscapes(url.PathEscape(v)) },
	"query":    func(v string) string { return "at " + url.QueryEscape(v) + " there" },
	"userinfo": func(v string) string { return url.UserPassword(v, v).String() },
	"go":       func(v string) string { return "parse " + strconv.Quote(v) },
	"ascii":    func(v string) string { return strconv.QuoteToASCII(v) },
	"go in url": func(v string) string {
		return fmt.Sprintf("Get %q: EOF",
			"http://h/"+url.PathEscape(v))
	},
	"json": func(v string) string {
		b,
			_ := json.Marshal(map[string]string{"name": v})
		return string(b)
	},
	"json in go": func(v string) string {
		b, _ := json.Marshal(v)
		return fmt.Sprintf("unexpected %q", b)
	},
	"xml": func(v string) string {
		var b strings.Builder
		_ = xml.EscapeText(&b, []byte(v))
		return "<Error><Message>no " + b.String() + "</Message></Error>"
	},
	"html": func(v string) string { return "<h1>" + html.EscapeString(v) + "</h1>" },
	"base64": func(v string) string {
		return "Basic " +
			base64.StdEncoding.EncodeToString([]byte("user:"+v))
	},
	"lines": func(v string) string { return "first\r\n" + v + "\x00\x1b[2J" },
	"AMQP": func(v string) string {
		return fmt.Sprintf("Exception (403) Reason: %q", "ACCESS_REFUSED - user '"+v+"'")
	},
	"long": func(v string) string { return strings.Repeat("x", maxText-len(v)/2) + v },
}

// lowerEscapes writes the digits of percent escapes as some servers do.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], strings.ToLower(string(b[i+1:i+3])))
		}
	}
	return string(b)
}

// check holds a text to the guarantee.
func check(t *testing.T, in, out, value string) {
	t.Helper()
	switch {
	case value != "" && strings.Contains(out, value):
		t.Errorf("%q is in %q, made of %q", value, out, in)
	case !utf8.ValidString(out):
		t.Errorf("%q, made of %q, is not UTF-8", out, in)
	case len(out) > maxText+len(Mark):
		t.Errorf("%d bytes of %q", len(out), in)
	}
	for _, r := range out {
		if !unicode.IsPrint(r) {
			t.Errorf("%q, made of %q, has %U", out, in, r)
		}
	}
	if len(value) < minBase64 || strings.Contains(Mark, value) {
		return // what is decoded by accident can be anything so short
	}
	for _, v := range views(out) {
		if strings.Contains(string(v.b), value) {
			t.Errorf("%q is escaped in %q, made of %q", value, out, in)
		}
	}
	for _, word := range strings.FieldsFunc(out, func(r rune) bool {
		return r > unicode.MaxASCII || strings.IndexByte(base64Chars, byte(r)) < 0
	}) {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if b, _ := enc.DecodeString(strings.TrimRight(word, "=")); strings.Contains(string(b),
				value) {
				t.Errorf("%q is in base64 in %q, made of %q", value, out, in)
			}
		}
	}
}

// TestText_HidesValues is the guarantee for values that are known: keys of objects, identities,
// tokens and credentials of every kind, in every shape, alone, among others, and in chains.
func TestText_HidesValues(t *testing.T) {
	property := func(value, before, after string, other []string) bool {
		other = other[:min(len(other), 2)]
		for name, shape := range shapes {
			in := before + shape(value) + after
			check(t, in, Text(in, append(other, value)...), value)
			chain := &url.Error{Op: "Get", URL: "http://h/", Err: fmt.Errorf("try 2: %w",
				errors.Join(io.ErrUnexpectedEOF, errors.New(in)))}
			err := Error(chain, value)
			check(t, in, err.Error(), value)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %v hides what the error is", name, err)
			}
			if t.Failed() {
				t.Logf("shape %s", name)
				return false
			}
		}
		return true
	}
	for _, value := range []string{
		"alice", "room 1/alice@école.example", "学生", "a", "hunter2", "p@ss:w/rd?#%41+ \"x\"", "…",
		"x…", "\xff\xfe\x00", "a\nb", "<&>'\\", "eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "AKIDEXAMPLE",
		"aaaa", "%25", `\u0041`, "&amp;", "\u2028\u202e",
	} {
		property(value, "", "", nil)
		property(value, value[:len(value)/2], value[len(value)/2:],
			[]string{value[:len(value)-1] + "z"})
	}
	if err := quick.Check(property, &quick.Config{MaxCount: 50}); err != nil {
		t.Error(err)
	}
}

// FuzzText looks for a text and a value in it that break the guarantee.
func FuzzText(f *testing.F) {
	names := make([]string, 0, len(shapes))
	for name := range shapes {
		names = append(names, name)
	}
	for i := range names {
		f.Add(i, "alice", "GET /", " 404")
		f.Add(i, "p@ss w%rd", "https://user:", "@host/?token=x")
		f.Add(i, "\xffé\x00", "\xc3", "\xa9")
	}
	f.Fuzz(func(t *testing.T, shape int, value, before, after string) {
		in := before + shapes[names[uint(shape)%uint(len(names))]](value) + after
		check(t, in, Text(in, value), value)
	})
}

// TestText_HidesForms is the guarantee for secrets that nobody knows here, by their form.
func TestText_HidesForms(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	random := func(chars string, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = chars[rand.N(len(chars))]
		}
		return string(b)
	}
	for range 50 {
		secret := random(alphabet, 12+rand.N(20))
		odd := random(alphabet+"!$&'()*+,;=:@/?#[]%^~ é\"\\<",
			16+rand.N(8)) // what a password may be
		jwt := "eyJ" + random(alphabet+"-_", 20) + ".eyJ" + random(alphabet+"-_", 20) + "." + secret
		for name, c := range map[string][2]string{
			"JWT":      {"user '" + jwt + "'", jwt[3:]},
			"JWT, cut": {"invalid token: " + jwt[:30], jwt[3:30]},
			"password": {"dial amqps://user:" + secret + "@host:5671/v", secret},
			"password, odd": {(&url.URL{
				Scheme: "amqp", Host: "h",
				User: url.UserPassword("u", odd),
			}).String(), odd},
			"user": {"https://" + secret + "@host/path", secret},
			"query": {
				"Get \"https://host/p?a=b&" + secret + "=" + secret + "&c\": EOF",
				secret,
			},
			"query, odd":   {"https://host/p?" + url.Values{"k": {odd}}.Encode(), odd},
			"query, bare":  {"https://host/p?" + secret, secret},
			"fragment":     {"wss://host/rtc#" + secret, secret},
			"join request": {"bad handshake: /rtc/v1?join_request=" + secret, secret},
			"bearer":       {"Authorization: Bearer " + secret, secret},
			"basic": {"header basic " +
				base64.StdEncoding.EncodeToString([]byte("u:"+odd)), odd},
			"header map": {
				fmt.Sprint(map[string][]string{"Authorization": {"Bearer " + odd}}),
				odd,
			},
			"cookie":     {"Set-Cookie: id=" + secret + "; Path=/", secret},
			"key header": {"X-Api-Key: " + odd + "\r\nHost: h", odd},
			"AWS key": {
				"the key AKIA" + strings.ToUpper(secret) + " is unknown",
				strings.ToUpper(secret),
			},
			"AWS signature": {
				"AWS4-HMAC-SHA256 Credential=" + secret + "/x, Signature=" + secret,
				secret,
			},
			"presigned": {"https://b.s3.test/k?X-Amz-Signature=" + secret +
				"&X-Amz-Credential=" + secret, secret},
			"assignment":   {"RABBITMQ_PASSWORD=" + secret + " is wrong", secret},
			"JSON":         {`{"access_token":"` + secret + `","x":1}`, secret},
			"JSON, quoted": {strconv.Quote(`{"secretKey": "` + secret + `"}`), secret},
			"XML":          {"<AWSAccessKeyId>" + secret + "</AWSAccessKeyId>", secret},
			"PEM": {
				"-----BEGIN RSA PRIVATE KEY-----\n" + secret + "\n" + secret,
				secret,
			},
			"URL in an error": {(&url.Error{
				Op: "Get", URL: "http://h/?" + url.QueryEscape(odd),
				Err: io.EOF,
			}).Error(), odd},
		} {
			if out := Text(c[0]); true {
				if check(t, c[0], out, c[1]); t.Failed() {
					t.Fatal(name)
				}
			}
		}
		for _, raw := range []string{
			"amqp://user:" + odd + "@host", "http://host/" + odd + "%zz", "http://[" + odd,
			"http://h:" + odd,
		} {
			_, err := url.Parse(raw)
			for _, err := range []error{err, fmt.Errorf("read the settings: %w", err)} {
				if _, ok := errors.AsType[*url.Error](err); ok {
					if check(t, raw, Error(err).Error(), odd); t.Failed() {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// TestText_KeepsTheRest: what is harmless stays, so that the text still says what happened.
func TestText_KeepsTheRest(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"Session is not active": "Session is not active",
		"  two\r\n\tlines \x1b[2J\u0085and\u2028more": "two lines [2J and more",
		"requested room does not exist":               "requested room does not exist",
		"ACCESS_REFUSED - access to topic 'a.b' in exchange 'amq.topic' in vhost '/' refused for " +
			"user 'eyJhbGciOiJIUzI1NiJ9.x'": "ACCESS_REFUSED - access to topic 'a.b' in exchange " +
			"'amq.topic' in vhost '/' refused for user '…'",
		"dial tcp 10.0.0.1:5671: connect: " +
			"connection refused": "dial tcp 10.0.0.1:5671: connect: connection refused",
		"Get \"https://user:pw@host:8443/projects/1?x=y\": EOF": "Get " +
			"\"https://…@host:8443/projects/1?…\": EOF",
		"the request signature we calculated " +
			"does not match": "the request signature we calculated does not match",
		"\xff\u202e": "??",
	} {
		if got := Text(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := Text("no room/alice in room/bob", "room/alice"); got != "no … in room/bob" {
		t.Errorf("%q", got)
	}
	if got := Text("refused 'hunt", "hunter2"); got != "refused '…" {
		t.Errorf("cut by the server: %q", got)
	}
	if Error(nil) != nil {
		t.Error("an error of nil")
	}
}

// TestPathsAndKeys: a file's name can be a participant's.
func TestPathsAndKeys(t *testing.T) {
	_, pathErr := os.Open(filepath.Join(t.TempDir(), "alice"))
	linkErr := os.Rename(filepath.Join(t.TempDir(), "alice"), filepath.Join(t.TempDir(), "b"))
	for _, err := range []error{pathErr, linkErr, fmt.Errorf("stage: %w", pathErr)} {
		if got := WithoutPath(err); strings.Contains(got, "alice") ||
			!errors.Is(err, fs.ErrNotExist) ||
			!strings.Contains(got, "no such file") {
			t.Errorf("%q", got)
		}
	}
	for key, want := range map[string]string{
		"text/alice.txt": "a text view", "files/alice.png": "a received file",
		"manifest.json": "manifest.json", "raw/000001.seg.zst": "raw/000001.seg.zst",
	} {
		if got := Key(key); got != want {
			t.Errorf("%s: %q", key, got)
		}
	}
}

// TestErrorWithoutOurPort: two attempts that fail in the same way have the same text.
func TestErrorWithoutOurPort(t *testing.T) {
	failure := func(port int) error {
		return fmt.Errorf("ask: %w", &net.OpError{
			Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port},
			Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}, Err: io.ErrUnexpectedEOF,
		})
	}
	const want = "ask: read tcp 127.0.0.1:80: unexpected EOF"
	for _, port := range []int{40000, 40001} {
		if got := Error(failure(port)).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

package access

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzUsers: whatever a file of users contains, its errors show nothing of it, and its users can be
// checked.
func FuzzUsers(f *testing.F) {
	const hash = "$2y$04$tQ28o2T.K0I02l/91uGQkuvV.x.ywVwY3zlO3MfU2VhL549FSBNpa"
	f.Add("alice:" + hash + "\n# x\n\nbob:" + hash + ":comment")
	f.Add("\ufeffalice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=")
	f.Add("token:" + hash)
	f.Add(":::\x00\r\n")
	f.Fuzz(func(t *testing.T, content string) {
		users, err := parseUsers([]byte(content))
		if err != nil {
			if len(users) > 0 {
				t.Errorf("users with an error: %v", err)
			}
			return
		}
		for name, hash := range users {
			if name == "" || name == tokenName || name == linkName || name == anybody ||
				strings.Contains(name, ":") || !isBcrypt(string(hash)) {
				t.Errorf("user %q has %q", name, hash)
			}
		}
	})
}

// FuzzLocalPath: a login leads to no other origin, as browsers read addresses.
func FuzzLocalPath(f *testing.F) {
	for _, next := range []string{
		"/", "//evil.example", `/\evil.example`, "/\t/evil.example", "https:evil.example", "/a?b#c",
		"/%2f/x", "\x00/x", "/ /x",
	} {
		f.Add(next)
	}
	f.Fuzz(func(t *testing.T, next string) {
		got := localPath(next)
		// Browsers remove tabs and line feeds, and read a backslash as a slash.
		seen := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(got)
		if !strings.HasPrefix(seen, "/") || strings.HasPrefix(seen, "//") {
			t.Fatalf("%q leads to %q", next, got)
		}
		base := &url.URL{Scheme: "https", Host: "egress.example.org", Path: "/login"}
		if to, err := base.Parse(got); err != nil || to.Host != base.Host || to.Scheme != "https" {
			t.Errorf("%q leads to %v, %v", next, to, err)
		}
	})
}

// FuzzCredentials: no header opens a door that has no key.
func FuzzCredentials(f *testing.F) {
	for _, header := range []string{
		"Bearer ", "Bearer x", "Basic YTpi", "Basic dG9rZW46", "basic Og==", "Basic", "bearer  ",
		"Basic bGluazo=", "\x00",
	} {
		f.Add(header, "x", "/names")
	}
	f.Fuzz(func(t *testing.T, header, cookie, path string) {
		if !strings.HasPrefix(path, "/") {
			return
		}
		if _, err := url.ParseRequestURI(path); err != nil {
			return
		}
		d := New(Options{BehindProxy: true})
		defer d.Close()
		d.log = discard
		d.At(loopback, "127.0.0.1:9464")
		d.creds.users = map[string]*login{"nobody": d.principal("nobody", nil)}
		h := d.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if FromContext(r.Context()) != (Rights{}) || !isOpen(r.URL.Path) {
				t.Errorf("%q, %q at %s: %+v", header, cookie, path, FromContext(r.Context()))
			}
		}))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		if err != nil {
			return
		}
		r.Header.Set("Authorization", header)
		r.AddCookie(&http.Cookie{Name: d.cookieName(), Value: cookie})
		h.ServeHTTP(nowhere{}, r)
		r.Header.Del("Authorization")
		h.ServeHTTP(nowhere{}, r)
	})
}

// nowhere is a client that is away.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}

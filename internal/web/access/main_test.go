package access

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// testToken is the bearer token of the tests.
const testToken = "0123456789abcdef0123456789abcdef"

var discard = slog.New(slog.DiscardHandler)

// file writes a file of a test and returns its path.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// user returns a line of a file of users.
func user(t *testing.T, name, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return name + ":" + string(hash) + "\n"
}

// Addresses at which a server of the tests listens.
var (
	loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9464}
	anywhere = &net.TCPAddr{IP: net.IPv4zero, Port: 9464}
)

// options of the doors of a test.
type options struct {
	Options

	users, token bool
	operators    []string
	at           *net.TCPAddr
	log          io.Writer
}

// open returns doors with the users alice and bob, whose passwords are their names and "'s word",
// in front of a page that says what rights it sees.
func open(t *testing.T, o options) (*Doors, http.Handler) {
	t.Helper()
	if o.log == nil {
		o.log = t.Output()
	}
	o.Logger = slog.New(slog.NewTextHandler(o.log, nil))
	d := New(o.Options)
	t.Cleanup(d.Close)
	c := Credentials{Operators: o.operators}
	if o.users {
		c.UsersFile = file(t, user(t, "alice", "alice's word")+user(t, "bob", "bob's word"))
	}
	if o.token {
		c.BearerTokenFile = file(t, testToken+"\n")
	}
	if err := d.Load(c); err != nil {
		t.Fatal(err)
	}
	if o.at == nil {
		o.at = loopback
	}
	d.At(o.at, o.at.String())
	return d, d.Wrap(page)
}

// page says what rights it sees.
var page = func() http.Handler {
	mux := http.NewServeMux()
	says := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rights := FromContext(r.Context())
		word := func(is bool, s string) string {
			if is {
				return " " + s
			}
			return ""
		}
		_, _ = io.WriteString(w, "page for "+rights.Operator+word(rights.Read, "reads")+
			word(rights.Act, "acts"))
	})
	mux.Handle("/", says)
	mux.Handle("/names", RequireRead(says))
	mux.Handle("POST /act", RequireAct(says))
	return mux
}()

// request describes a request of a test.
type request struct {
	method, path  string
	authorization string
	cookie        *http.Cookie
	accept        string
	origin        string
	site          string // Sec-Fetch-Site
	forwarded     string
	remote        string
	form          url.Values
}

func bearer(token string) string { return "Bearer " + token }

func basic(name, password string) string {
	r, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil)
	r.SetBasicAuth(name, password)
	return r.Header.Get("Authorization")
}

const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func ask(t *testing.T, h http.Handler, q request) *http.Response {
	t.Helper()
	if q.method == "" {
		q.method = http.MethodGet
	}
	if q.path == "" {
		q.path = "/"
	}
	var body io.Reader
	if q.form != nil {
		body = strings.NewReader(q.form.Encode())
	}
	r := httptest.NewRequestWithContext(t.Context(), q.method, "http://egress.example.org"+q.path,
		body)
	for name, value := range map[string]string{
		"Authorization": q.authorization, "Accept": q.accept, "Origin": q.origin,
		"Sec-Fetch-Site": q.site, "X-Forwarded-For": q.forwarded,
	} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	if q.form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if q.cookie != nil {
		r.AddCookie(q.cookie)
	}
	if q.remote != "" {
		r.RemoteAddr = q.remote
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// cookieOf returns the cookie of a login that succeeded.
func cookieOf(t *testing.T, resp *http.Response) *http.Cookie {
	t.Helper()
	for _, c := range resp.Cookies() {
		if c.Value != "" {
			return c
		}
	}
	t.Fatalf("no cookie: %s %s", resp.Status, text(t, resp))
	return nil
}

func logIn(t *testing.T, h http.Handler, name, password string) *http.Cookie {
	t.Helper()
	return cookieOf(t, ask(t, h, request{
		method: "POST", path: "/login", accept: browser, site: "same-origin",
		form: url.Values{"name": {name}, "password": {password}},
	}))
}

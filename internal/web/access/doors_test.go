package access

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/web/problem"
)

// TestDoors: where the server listens, what it has, who asks for what, and what comes of it.
func TestDoors(t *testing.T) {
	tls := file(t, "")
	for _, tt := range []struct {
		name    string
		o       options
		tls     bool
		request request
		status  int
		body    string // contained
	}{
		{
			name:   "loopback: sessions and counts",
			status: 200, body: "page for ",
		},
		{
			name: "loopback: through a proxy that nobody has told us of", o: options{users: true},
			request: request{forwarded: "192.0.2.1"}, status: 401,
		},
		{name: "loopback: no names", request: request{path: "/names"}, status: 401},
		{
			name:    "loopback: no names in a browser",
			request: request{path: "/names?q=1", accept: browser}, status: 303,
		},
		{
			name: "loopback: no buttons", request: request{method: "POST", path: "/act"},
			status: 401,
		},
		{
			name: "loopback: a user", o: options{users: true, operators: []string{"*"}},
			request: request{path: "/names", authorization: basic("alice", "alice's word")},
			status:  200, body: "page for alice reads acts",
		},
		{
			name: "loopback: a wrong password is no request without a login",
			o:    options{users: true}, request: request{authorization: basic("alice", "x")},
			status: 401, body: "wrong",
		},
		{
			name:    "loopback: a wrong token is no request without a login",
			request: request{authorization: bearer(testToken)}, status: 401, body: "wrong",
		},
		{
			name: "loopback: an unknown cookie is nobody", o: options{users: true},
			request: request{cookie: &http.Cookie{Name: "textegress", Value: "x"}},
			status:  200, body: "page for ",
		},
		{
			name: "loopback: the token acts", o: options{token: true, operators: []string{"*"}},
			request: request{method: "POST", path: "/act", authorization: bearer(testToken)},
			status:  200, body: "page for token reads acts",
		},
		{
			name: "looking is not acting", o: options{users: true, operators: []string{"bob"}},
			request: request{
				method: "POST", path: "/act",
				authorization: basic("alice", "alice's word"),
			},
			status: 403, body: "HTTP_OPERATORS",
		},
		{
			name: "an operator acts", o: options{users: true, operators: []string{"bob"}},
			request: request{method: "POST", path: "/act", authorization: basic("bob", "bob's word")},
			status:  200, body: "page for bob reads acts",
		},
		{
			name: "nobody acts", o: options{token: true},
			request: request{authorization: bearer(testToken)}, status: 200,
			body: "page for token reads",
		},
		{
			name: "anywhere without TLS", o: options{users: true, token: true, at: anywhere},
			request: request{authorization: bearer(testToken)}, status: 403,
			body: "HTTP_TLS_CERT_FILE",
		},
		{
			name: "anywhere without logins", o: options{at: anywhere}, tls: true, status: 403,
			body: "HTTP_USERS_FILE",
		},
		{
			name: "anywhere without anything", o: options{at: anywhere}, status: 403,
			body: "HTTP_BEARER_TOKEN_FILE",
		},
		{
			name: "anywhere, the login page is closed too", o: options{users: true, at: anywhere},
			request: request{path: "/login", accept: browser}, status: 403,
			body: "HTTP_TLS_CERT_FILE",
		},
		{
			name: "anywhere without a login", o: options{users: true, at: anywhere}, tls: true,
			status: 401,
		},
		{
			name: "anywhere without a login, a browser", o: options{users: true, at: anywhere},
			tls: true, request: request{accept: browser}, status: 303,
		},
		{
			name: "anywhere, an unknown cookie", o: options{users: true, at: anywhere}, tls: true,
			request: request{cookie: &http.Cookie{Name: "__Host-textegress", Value: "x"}},
			status:  401,
		},
		{
			name: "anywhere, the login page", o: options{users: true, at: anywhere}, tls: true,
			request: request{path: "/login", accept: browser}, status: 200, body: "<form",
		},
		{
			name: "anywhere, its style", o: options{users: true, at: anywhere}, tls: true,
			request: request{path: "/static/page.css"}, status: 200,
		},
		{
			name: "anywhere, nothing beside the style", o: options{users: true, at: anywhere},
			tls: true, request: request{path: "/static/../names"}, status: 307,
		},
		{
			name: "anywhere, a user", o: options{users: true, at: anywhere}, tls: true,
			request: request{authorization: basic("bob", "bob's word")}, status: 200,
			body: "page for bob reads",
		},
		{
			name:   "behind a proxy loopback is everybody",
			o:      options{Options: Options{BehindProxy: true}, users: true},
			status: 401,
		},
		{
			name: "behind a proxy without logins", o: options{Options: Options{BehindProxy: true}},
			status: 403, body: "HTTP_USERS_FILE",
		},
		{
			name: "behind a proxy on any address",
			o: options{
				Options: Options{BehindProxy: true}, token: true, at: anywhere,
				operators: []string{"token"},
			},
			request: request{authorization: bearer(testToken)}, status: 200,
			body: "page for token reads acts",
		},
		{
			name: "neither basic nor bearer", o: options{users: true},
			request: request{authorization: "Digest x"}, status: 401,
		},
		{
			name: "an empty token is none", request: request{authorization: "Bearer "}, status: 401,
		},
		{
			name: "the token as a password", o: options{token: true},
			request: request{authorization: basic("token", testToken)}, status: 200,
			body: "page for token reads",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.tls {
				tt.o.Certificates = NewCertificates(tls, tls)
				tt.o.Certificates.problem = nil
			}
			_, h := open(t, tt.o)
			resp := ask(t, h, tt.request)
			body := text(t, resp)
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.body) {
				t.Fatalf("%d %s\nwant %d and %q", resp.StatusCode, body, tt.status, tt.body)
			}
			if tt.status >= 400 {
				checkProblem(t, tt.request, resp, body)
			}
			if tt.status == 401 && resp.Header.Get("WWW-Authenticate") == "" ||
				strings.Contains(resp.Header.Get("WWW-Authenticate"), "Basic") {
				t.Errorf("WWW-Authenticate %q: want Bearer, which makes no browser ask",
					resp.Header.Get("WWW-Authenticate"))
			}
			if tt.status == 303 && !strings.HasPrefix(resp.Header.Get("Location"), "/login") {
				t.Errorf("goes to %s", resp.Header.Get("Location"))
			}
			if resp.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" ||
				resp.Header.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("headers: %v", resp.Header)
			}
		})
	}
}

// checkProblem: programs get a problem document, browsers a page.
func checkProblem(t *testing.T, q request, resp *http.Response, body string) {
	t.Helper()
	if q.accept == browser {
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") ||
			resp.Header.Get("Content-Security-Policy") != problem.Policy {
			t.Errorf("no page: %v", resp.Header)
		}
		return
	}
	var doc problem.Document
	if err := json.Unmarshal([]byte(body), &doc); err != nil || doc.Status != resp.StatusCode ||
		doc.Title == "" || doc.Detail == "" ||
		resp.Header.Get("Content-Type") != problem.ContentType {
		t.Errorf("no problem document: %v %s", err, body)
	}
}

// TestOrigin: what a page of another origin can make a browser send changes nothing.
func TestOrigin(t *testing.T) {
	o := options{users: true, operators: []string{"*"}}
	o.PageURL = "https://public.example.org"
	_, h := open(t, o)
	cookie := logIn(t, h, "alice", "alice's word")
	for _, tt := range []struct {
		name   string
		q      request
		status int
	}{
		{"its own page", request{origin: "http://egress.example.org", site: "same-origin"}, 200},
		{"its own page, an old browser", request{origin: "http://egress.example.org"}, 200},
		{"by PAGE_URL", request{origin: "https://public.example.org"}, 200},
		{
			"by PAGE_URL, and the browser agrees",
			request{origin: "https://public.example.org", site: "same-origin"},
			200,
		},
		{"another site", request{origin: "https://evil.example", site: "cross-site"}, 403},
		{"another site, an old browser", request{origin: "https://evil.example"}, 403},
		{"the same site", request{origin: "https://x.example.org", site: "same-site"}, 403},
		{"a sandboxed frame", request{origin: "null"}, 403},
		{"it does not say", request{}, 403},
		{"a program", request{authorization: basic("alice", "alice's word")}, 200},
		{
			"a browser that remembers a password",
			request{
				authorization: basic("alice", "alice's word"), origin: "https://evil.example",
				site: "cross-site",
			},
			403,
		},
	} {
		tt.q.method, tt.q.path, tt.q.cookie = "POST", "/act", cookie
		if resp := ask(t, h, tt.q); resp.StatusCode != tt.status {
			t.Errorf("%s: %s, want %d", tt.name, resp.Status, tt.status)
		}
	}
	// Nobody is logged in, or out, by another page.
	for _, path := range []string{"/login", "/logout"} {
		resp := ask(t, h, request{
			method: "POST", path: path, origin: "https://evil.example", cookie: cookie,
			form: url.Values{"name": {"bob"}, "password": {"bob's word"}},
		})
		if resp.StatusCode != 403 || len(resp.Cookies()) > 0 {
			t.Errorf("%s from another page: %s, %v", path, resp.Status, resp.Cookies())
		}
	}
}

// TestLoginPaths: a login leads back to where it was needed, and nowhere else.
func TestLoginPaths(t *testing.T) {
	for next, want := range map[string]string{
		"/recordings/DE_1?from=3":  "/recordings/DE_1?from=3",
		"/":                        "/",
		"":                         "/",
		"https://evil.example/":    "/",
		"//evil.example/":          "/",
		`/\evil.example/`:          "/",
		`\\evil.example/`:          "/",
		"/\t/evil.example":         "/",
		"javascript:alert(1)":      "/",
		"recordings":               "/",
		"/login?next=/":            "/",
		"/x\r\nSet-Cookie: a=b":    "/",
		"http:/evil.example":       "/",
		"/recordings/%2F%2Fx#frag": "/recordings/%2F%2Fx#frag",
	} {
		if got := localPath(next); got != want {
			t.Errorf("%q: %q, want %q", next, got, want)
		}
	}
	_, h := open(t, options{users: true})
	resp := ask(t, h, request{path: "/names?q=ä", accept: browser})
	location := resp.Header.Get("Location")
	u, err := url.Parse(location)
	if err != nil || u.Query().Get("next") != "/names?q=ä" && u.Query().Get("next") !=
		"/names?q=%C3%A4" {
		t.Errorf("the way back: %s", location)
	}
	resp = ask(t, h, request{
		method: "POST", path: "/login", accept: browser,
		form: url.Values{
			"name": {"alice"}, "password": {"alice's word"}, "next": {u.Query().Get("next")},
		},
	})
	if back := resp.Header.Get("Location"); !strings.HasPrefix(back, "/names?q=") {
		t.Errorf("after the login: %s", back)
	}
}

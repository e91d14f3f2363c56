package access

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSession: what a login in a browser gives, how it is kept, and how it ends.
func TestSession(t *testing.T) {
	var log bytes.Buffer
	_, h := open(t, options{users: true, token: true, operators: []string{"alice"}, log: &log})
	alice := logIn(t, h, "alice", "alice's word")
	if alice.Name != "textegress" || !alice.HttpOnly || alice.Secure ||
		alice.SameSite != http.SameSiteStrictMode || alice.Path != "/" ||
		alice.MaxAge != 12*60*60 || alice.Domain != "" {
		t.Errorf("cookie %+v", alice)
	}
	if got := text(t, ask(t, h, request{cookie: alice})); got != "page for alice reads acts" {
		t.Errorf("alice: %s", got)
	}
	// Names are trimmed, passwords are not. The token is a password without a name.
	for name, want := range map[string]string{" bob ": "bob", "": "token", "token": "token"} {
		password := testToken
		if want == "bob" {
			password = "bob's word"
		}
		got := text(t, ask(t, h, request{cookie: logIn(t, h, name, password)}))
		if got != "page for "+want+" reads" {
			t.Errorf("%q: %s", name, got)
		}
	}
	resp := ask(t, h, request{
		method: "POST", path: "/logout", cookie: alice, origin: "http://egress.example.org",
	})
	if resp.StatusCode != 303 || len(resp.Cookies()) != 1 || resp.Cookies()[0].MaxAge >= 0 {
		t.Errorf("logout: %s, %v", resp.Status, resp.Cookies())
	}
	if got := text(t, ask(t, h, request{cookie: alice})); got != "page for " {
		t.Errorf("after the logout: %s", got)
	}
	for _, secret := range []string{alice.Value, "alice's word", testToken} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has a secret: %s", log.String())
		}
	}
	if !strings.Contains(log.String(), "action=login operator=alice") ||
		!strings.Contains(log.String(), "action=logout operator=alice") {
		t.Errorf("the log lacks login or logout: %s", log.String())
	}
}

func TestSecureCookie(t *testing.T) {
	for name, o := range map[string]Options{
		"TLS":   {Certificates: &Certificates{}},
		"proxy": {BehindProxy: true},
	} {
		_, h := open(t, options{Options: o, users: true})
		c := logIn(t, h, "alice", "alice's word")
		if !c.Secure || c.Name != "__Host-textegress" || c.Path != "/" || c.Domain != "" {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h := open(t, options{users: true})
		c := logIn(t, h, "alice", "alice's word")
		time.Sleep(12*time.Hour - time.Second) //nolint:forbidigo // of the bubble
		if got := text(t, ask(t, h, request{cookie: c})); got != "page for alice reads" {
			t.Errorf("before 12 hours: %s", got)
		}
		time.Sleep(time.Second) //nolint:forbidigo // of the bubble
		synctest.Wait()
		if got := text(t, ask(t, h, request{cookie: c})); got != "page for " {
			t.Errorf("after 12 hours: %s", got)
		}
	})
}

// TestSessionsAreBounded: one more ends the oldest.
func TestSessionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, h := open(t, options{users: true})
		first := logIn(t, h, "alice", "alice's word")
		time.Sleep(time.Second) //nolint:forbidigo // of the bubble
		second := logIn(t, h, "alice", "alice's word")
		for range maxSessions - 1 {
			logIn(t, h, "bob", "bob's word")
		}
		if len(d.sessions) != maxSessions {
			t.Errorf("%d sessions", len(d.sessions))
		}
		if got := text(t, ask(t, h, request{cookie: first})); got != "page for " {
			t.Errorf("the oldest: %s", got)
		}
		if got := text(t, ask(t, h, request{cookie: second})); got != "page for alice reads" {
			t.Errorf("the second oldest: %s", got)
		}
	})
}

// TestReload: a login ends when its user or token does, also for a request in progress.
func TestReload(t *testing.T) {
	alice, bob, carol := user(t, "alice", "a"), user(t, "bob", "b"), user(t, "carol", "c")
	for _, tt := range []struct {
		name   string
		next   Credentials
		alice  bool // stays logged in
		token  bool
		change func(*Credentials)
	}{
		{name: "the same", alice: true, token: true, change: func(*Credentials) {}},
		{
			name: "a user more", alice: true, token: true,
			change: func(c *Credentials) { c.UsersFile = file(t, carol+alice+bob) },
		},
		{
			name: "another password", token: true,
			change: func(c *Credentials) { c.UsersFile = file(t, user(t, "alice", "new")+bob) },
		},
		{
			name: "removed", token: true,
			change: func(c *Credentials) { c.UsersFile = file(t, bob) },
		},
		{name: "no users", token: true, change: func(c *Credentials) { c.UsersFile = "" }},
		{
			name: "another token", alice: true,
			change: func(c *Credentials) { c.BearerTokenFile = file(t, strings.Repeat("x", 20)) },
		},
		{name: "no token", alice: true, change: func(c *Credentials) { c.BearerTokenFile = "" }},
		{
			name: "a file that cannot be used", alice: true, token: true,
			change: func(c *Credentials) { c.UsersFile = file(t, "alice:plain") },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, h := open(t, options{})
			c := Credentials{UsersFile: file(t, alice+bob), BearerTokenFile: file(t, testToken)}
			if err := d.Load(c); err != nil {
				t.Fatal(err)
			}
			cookie, byToken := logIn(t, h, "alice", "a"), logIn(t, h, "", testToken)
			ask(t, h, request{authorization: basic("alice", "a")}) // remembered as right
			began, ended := make(chan bool), make(chan error)
			waiting := d.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				began <- true
				select {
				case <-r.Context().Done():
					ended <- nil
				case <-began:
					ended <- fmt.Errorf("not ended")
				case <-time.After(5 * time.Second):
					ended <- fmt.Errorf("not ended in time")
				}
			}))
			go ask(t, waiting, request{cookie: cookie})
			<-began
			tt.change(&c)
			err := d.Load(c)
			if (err != nil) != strings.Contains(tt.name, "cannot") {
				t.Errorf("Load = %v", err)
			}
			if tt.alice {
				began <- true
			}
			if err := <-ended; (err != nil) != tt.alice {
				t.Errorf("a request in progress: %v", err)
			}
			for who, q := range map[string]struct {
				request
				stays bool
			}{
				"alice":          {request{cookie: cookie}, tt.alice},
				"alice's cookie": {request{authorization: basic("alice", "a")}, tt.alice},
				"token":          {request{authorization: bearer(testToken)}, tt.token},
				"token's cookie": {request{cookie: byToken}, tt.token},
			} {
				got := text(t, ask(t, h, q.request))
				if strings.Contains(got, "reads") != q.stays {
					t.Errorf("%s: %s, want it to stay: %v", who, got, q.stays)
				}
			}
		})
	}
}

// TestLink: a link logs in once, for five minutes, with the right to act.
func TestLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, h := open(t, options{})
		take := func(link string) *http.Response {
			path, ok := strings.CutPrefix(link, "http://127.0.0.1:9464")
			if !ok {
				t.Fatalf("link %s", link)
			}
			return ask(t, h, request{path: path, accept: browser, site: "none"})
		}
		link := func() string {
			l, err := d.Link()
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		first := link()
		resp := take(first)
		body := text(t, resp)
		if resp.StatusCode != 200 || !strings.Contains(body, `content="0; url=/"`) {
			t.Errorf("%s %s", resp.Status, body)
		}
		got := text(t, ask(t, h, request{cookie: cookieOf(t, resp)}))
		if got != "page for link reads acts" {
			t.Errorf("logged in by a link: %s", got)
		}
		if resp = take(first); resp.StatusCode != 401 || len(resp.Cookies()) > 0 {
			t.Errorf("taken again: %s", resp.Status)
		}
		late := link()
		time.Sleep(5 * time.Minute) //nolint:forbidigo // of the bubble
		if resp = take(late); resp.StatusCode != 401 || len(resp.Cookies()) > 0 ||
			!strings.Contains(text(t, resp), "five minutes") {
			t.Errorf("taken after five minutes: %s", resp.Status)
		}
		for range maxLinks {
			link()
		}
		if _, err := d.Link(); err == nil {
			t.Error("links without end")
		}
		time.Sleep(6 * time.Minute) //nolint:forbidigo // of the bubble
		link()
	})
}

func TestLinkAddresses(t *testing.T) {
	for _, tt := range []struct {
		o               Options
		at              string
		want, wantError string
	}{
		{at: "127.0.0.1:9464", want: "http://127.0.0.1:9464/login?link="},
		{at: "localhost:0", want: "http://localhost:9464/login?link="},
		{at: "[::1]:9464", want: "http://[::1]:9464/login?link="},
		{at: ":0", want: "http://" + hostname() + ":9464/login?link="},
		{
			o: Options{PageURL: "https://egress.example.org"}, at: ":0",
			want: "https://egress.example.org/login?link=",
		},
	} {
		tt.o.Logger = nil
		d := New(tt.o)
		defer d.Close()
		d.At(loopback, tt.at)
		if got, err := d.Link(); err != nil || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, %v, want %s", tt.at, got, err, tt.want)
		}
	}
	d := New(Options{})
	defer d.Close()
	d.At(anywhere, ":9464")
	if link, err := d.Link(); err == nil || !strings.Contains(err.Error(), "HTTP_TLS_CERT_FILE") {
		t.Errorf("a link to a page that is not served: %q, %v", link, err)
	}
}

// TestLoginPage: what a person reads there.
func TestLoginPage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		o      options
		q      request
		status int
		want   []string
		not    string
	}{
		{
			"empty",
			options{users: true},
			request{path: `/login?next=/x%22%3E%3Cb%3E`},
			200,
			[]string{"<form", `action="/login"`, `type="password"`, "&#34;&gt;&lt;b&gt;"},
			`"><b>`,
		},
		{
			"nobody can log in",
			options{},
			request{path: "/login"},
			200,
			[]string{"textegress page", "HTTP_USERS_FILE"},
			"<form",
		},
		{
			"wrong",
			options{users: true},
			request{
				method: "POST", path: "/login",
				form: url.Values{"name": {"<i>alice"}, "password": {"topsecret"}, "next": {"/x"}},
			},
			401,
			[]string{`role="alert"`, "wrong", `value="/x"`},
			"topsecret",
		},
		{
			"too much",
			options{users: true},
			request{
				method: "POST", path: "/login",
				form: url.Values{"name": {strings.Repeat("x", 20<<10)}},
			},
			400,
			[]string{"16 KiB"},
			"xxx",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, h := open(t, tt.o)
			tt.q.accept = browser
			resp := ask(t, h, tt.q)
			body := text(t, resp)
			if resp.StatusCode != tt.status || strings.Contains(body, tt.not) ||
				strings.Contains(body, "<script") || strings.Contains(body, "style=") {
				t.Errorf("%s\n%s", resp.Status, body)
			}
			for _, want := range tt.want {
				if !strings.Contains(body, want) {
					t.Errorf("lacks %q:\n%s", want, body)
				}
			}
		})
	}
}

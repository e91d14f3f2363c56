// Package accesstest logs in with a real browser: what browsers make of cookies, forms, links from
// other sites and policies is theirs to decide.
package accesstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncflow/textegress/internal/web"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/test/browser"
)

// alice's password is "pw".
const users = "alice:$2y$10$tQ28o2T.K0I02l/91uGQkuvV.x.ywVwY3zlO3MfU2VhL549FSBNpa\n"

// service is a server with the doors of production and a page that says who looks at it.
type service struct {
	url   string
	doors *access.Doors
	acted atomic.Int64
}

func serve(t *testing.T, o access.Options) *service {
	t.Helper()
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	s := &service{url: "http://" + l.Addr().String(), doors: access.New(o)}
	err = s.doors.Load(access.Credentials{UsersFile: file, Operators: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	page := http.NewServeMux()
	page.HandleFunc("GET /static/page.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css")
	})
	page.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; img-src data:; "+
			"connect-src 'self'; form-action 'self'")
		fmt.Fprintf(w, `<!doctype html><title>page</title><link rel="icon" href="data:,">
<p id="who">[%s] at %s</p><form method="post" action="/act"><button id="act">act</button></form>
<form method="post" action="/logout"><button id="logout">log out</button></form>`,
			access.FromContext(r.Context()).Operator, r.URL.Path)
	})
	names := http.NewServeMux()
	names.Handle("/", page)
	names.Handle("GET /people", access.RequireRead(page))
	names.Handle("POST /act", access.RequireAct(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			s.acted.Add(1)
			http.Redirect(w, r, "/acted", http.StatusSeeOther)
		})))
	e := web.New(web.Options{
		Gatherer: prometheus.NewRegistry(), Logger: o.Logger, Doors: s.doors, Page: names,
	}).HTTP(l, l.Addr().String())
	done := make(chan error, 1)
	go func() { done <- e.Run() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := errors.Join(e.Close(ctx), <-done); err != nil {
			t.Error(err)
		}
		s.doors.Close()
	})
	return s
}

// tab is a page of a browser without cookies.
type tab struct {
	t *testing.T
	p *browser.Page
}

func open(t *testing.T, b *browser.Browser) tab {
	t.Helper()
	p, err := b.Open(t.Context(), browser.View{Width: 390, Height: 844})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return tab{t, p}
}

func (b tab) goTo(url string) {
	b.t.Helper()
	if err := b.p.Goto(b.t.Context(), url); err != nil {
		b.t.Fatal(err)
	}
}

func (b tab) do(script string) {
	b.t.Helper()
	if err := b.p.Eval(b.t.Context(), script, nil); err != nil {
		b.t.Fatal(err)
	}
}

// reads waits until the page shows a text. It may be on its way to another page.
func (b tab) reads(what, want string) {
	b.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		text, _ := b.p.Text(b.t.Context(), "body")
		if strings.Contains(text, want) {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: the page shows\n%s\nwant %q", what, text, want)
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // polling with a deadline
	}
}

func (b tab) logIn(password string) {
	b.t.Helper()
	b.do(`document.querySelector('#name').value = 'alice';
		document.querySelector('#password').value = '` + password + `';
		document.querySelector('form.login button').click()`)
}

func start(t *testing.T) *browser.Browser {
	t.Helper()
	path, err := browser.Find()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	b, err := browser.Start(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// TestLogin: the form, the way back, acting, and logging out; without and with Secure cookies.
func TestLogin(t *testing.T) {
	b := start(t)
	for name, o := range map[string]access.Options{
		"loopback": {}, "behind a proxy": {BehindProxy: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, tab := serve(t, o), open(t, b)
			tab.goTo(s.url + "/people?q=1")
			tab.reads("without a login", "Password or token")
			if file := os.Getenv("ACCESS_PICTURE"); file != "" {
				if err := tab.p.Screenshot(t.Context(), file, true); err != nil {
					t.Error(err)
				}
			}
			tab.logIn("no")
			tab.reads("a wrong password", "Name or password is wrong")
			tab.logIn("pw")
			tab.reads("logged in", "[alice] at /people")
			var cookies string
			if err := tab.p.Eval(t.Context(), "document.cookie", &cookies); err != nil ||
				cookies != "" {
				t.Errorf("a script reads the cookie: %q, %v", cookies, err)
			}
			tab.do("document.querySelector('#act').click()")
			tab.reads("acted", "[alice] at /acted")
			if s.acted.Load() != 1 {
				t.Errorf("acted %d times", s.acted.Load())
			}
			tab.goTo(s.url + "/")
			tab.do("document.querySelector('#logout').click()")
			want := "[] at /"
			if o.BehindProxy {
				want = "Password or token"
			}
			tab.reads("logged out", want)
			tab.goTo(s.url + "/people")
			tab.reads("after logging out", "Password or token")
			for _, line := range tab.p.Console() {
				if !strings.Contains(line, "401") { // of the wrong password
					t.Errorf("console: %s", line)
				}
			}
			for _, url := range tab.p.Requests() {
				if !strings.HasPrefix(url, s.url) && !strings.HasPrefix(url, "data:") {
					t.Errorf("a request leaves the origin: %s", url)
				}
			}
		})
	}
}

// TestOtherSites: a page of another site gets somebody in who has a link, and can do nothing with
// the login of somebody who is.
func TestOtherSites(t *testing.T) {
	s, b := serve(t, access.Options{}), start(t)
	link, err := s.doors.Link()
	if err != nil {
		t.Fatal(err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!doctype html><link rel="icon" href="data:,">
<a id="link" href="`+link+`">link</a>
<form id="form" method="post" action="`+s.url+`/act"></form>
<form id="out" method="post" action="`+s.url+`/logout"></form>`)
	}))
	defer other.Close()
	// Another port would be the same site.
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)

	tab := open(t, b)
	tab.goTo(elsewhere)
	tab.do("document.querySelector('#link').click()")
	tab.reads("a link on another site", "[link] at /")

	for _, from := range []string{elsewhere, other.URL} {
		tab.goTo(from)
		tab.do(`fetch('` + s.url + `/act', {method: 'POST', mode: 'no-cors',
			credentials: 'include'}).catch(() => {})`)
		tab.do("document.querySelector('#form').submit()")
		tab.reads("a form of another page", "From another page")
		tab.goTo(from)
		tab.do("document.querySelector('#out').submit()")
		tab.reads("a log out by another page", "From another page")
		var readable string
		tab.goTo(from)
		err := tab.p.Eval(t.Context(), `fetch('`+s.url+`/people', {credentials: 'include'})
			.then(r => r.text()).catch(e => 'refused')`, &readable)
		if err != nil || readable != "refused" {
			t.Errorf("another page reads %q, %v", readable, err)
		}
	}
	if n := s.acted.Load(); n != 0 {
		t.Errorf("another page acted %d times", n)
	}
	tab.goTo(s.url + "/people")
	tab.reads("still logged in", "[link] at /people")
	tab.do("document.querySelector('#act').click()")
	tab.reads("acted", "[link] at /acted")
	if n := s.acted.Load(); n != 1 {
		t.Errorf("the page itself acted %d times", n)
	}
}

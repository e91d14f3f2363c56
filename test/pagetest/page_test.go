// Package pagetest looks at the page in a real browser.
package pagetest

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/internal/web/page"
	"github.com/syncflow/textegress/internal/web/page/pagetest"
	"github.com/syncflow/textegress/test/browser"
)

var (
	at       = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	operator = access.Rights{Read: true, Act: true, Operator: "sam"}
	wide     = browser.View{Width: 1280, Height: 800}
)

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

// server serves the page. It can be away for a while.
type server struct {
	t       *testing.T
	handler http.Handler
	address string
	http    *http.Server
}

func serve(t *testing.T, s overview.Service, rights access.Rights) *server {
	t.Helper()
	h := page.New(page.Options{Service: s, Logger: slog.New(slog.DiscardHandler)})
	v := &server{t: t, address: "127.0.0.1:0", handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r.WithContext(access.NewContext(r.Context(), rights)))
		})}
	v.start()
	t.Cleanup(v.stop)
	return v
}

func (v *server) start() {
	v.t.Helper()
	l, err := net.Listen("tcp", v.address)
	if err != nil {
		v.t.Fatal(err)
	}
	v.address = l.Addr().String()
	v.http = &http.Server{Handler: v.handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = v.http.Serve(l) }()
}

// stop ends the server and all connections.
func (v *server) stop() { _ = v.http.Close() }

func (v *server) url(path string) string { return "http://" + v.address + path }

// open opens a page. The test fails after a minute.
func open(t *testing.T, b *browser.Browser, v browser.View, url string) (context.Context,
	*browser.Page,
) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	p, err := b.Open(ctx, v)
	if err == nil {
		err = p.Goto(ctx, url)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ctx, p
}

func wait(ctx context.Context, t *testing.T, p *browser.Page, expression string) {
	t.Helper()
	if err := p.Wait(ctx, expression); err != nil {
		t.Fatal(err)
	}
}

func with(sessions ...overview.Session) overview.Overview {
	o := pagetest.Empty(at)
	o.Sessions = sessions
	return o
}

// class is a service with a class of so many people, of whom some have spoken.
func class(people int) *pagetest.Service {
	return spoken(with(pagetest.Troubled(at, "class-7a", people)))
}

func spoken(o overview.Overview) *pagetest.Service {
	s := pagetest.New(o, pagetest.Past(at)...)
	s.Say("learner-01", "chat", "I think the plant needs more light")
	s.Say("learner-02", "log", `{"action":"measure","light":312}`)
	return s
}

// TestPages opens the page in every state as people do: wide, dark, on a telephone. It shows what
// is the case, fits the screen, its console is silent, it asks nobody but the service, and axe-core
// finds nothing.
func TestPages(t *testing.T) {
	b := start(t)
	check, err := browser.AxeSource(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	thirty := class(30)
	for _, s := range []struct {
		name    string
		service *pagetest.Service
		rights  access.Rights
		path    string
		want    string
	}{
		{"empty", spoken(pagetest.Empty(at)), operator, "/", "The service is ready to record"},
		{"one", spoken(with(pagetest.Class(at, "class-7a", 6))), operator, "/", "on disk"},
		{"thirty", thirty, operator, "/", "“Fatima” is expected"},
		{"busy", spoken(pagetest.Busy(at)), operator, "/", "one session is cut off"},
		{"nobody", spoken(pagetest.Busy(at)), access.Rights{}, "/", "one person is expected"},
		{"full", spoken(pagetest.DiskFull(at)), operator, "/", "the disk is full"},
		{"many", spoken(pagetest.Many(at, 1000)), operator, "/", "Recording 1000 sessions"},
		{"past", thirty, operator, "/recordings", "nothing missed"},
		{"recording", thirty, operator, "/recordings/EG_class-6b", "hidden participant"},
		{"live", thirty, operator, "/recordings/EG_class-7a", "withdraws"},
		{"text", thirty, operator, "/recordings/EG_class-7a/text", "more light"},
		{"ask", thirty, operator, "/act/stop?id=EG_class-7a", "Stop recording class-7a?"},
		{"unknown", thirty, operator, "/recordings/EG_nope", "There is no such recording"},
	} {
		server := serve(t, s.service, s.rights)
		for name, v := range map[string]browser.View{
			"wide": wide, "dark": {Width: 1280, Height: 800, Dark: true},
			"telephone": {Width: 390, Height: 844, Touch: true},
		} {
			t.Run(s.name+" "+name, func(t *testing.T) {
				ctx, p := open(t, b, v, server.url(s.path))
				defer func() { _ = p.Close(ctx) }()
				look(ctx, t, p, s.name+"-"+name, v, server.url("/"), s.want)
				// It takes a second, and half a minute for a thousand lines of the same. Colours
				// and what is narrow are the same in many states.
				all := s.name == "busy" || s.name == "live" || s.name == "past" || s.name == "text"
				if s.name == "many" || name != "wide" && !all {
					return
				}
				found, err := p.Axe(ctx, check)
				if err != nil || len(found) > 0 {
					t.Errorf("axe-core: %s, %v", strings.Join(found, "\n"), err)
				}
			})
		}
		server.stop()
	}
}

// look holds what is true of every page. With SHOTS it keeps a picture in that directory.
func look(ctx context.Context, t *testing.T, p *browser.Page, name string, v browser.View,
	origin, want string,
) {
	t.Helper()
	// A page with a stream says that it is live.
	wait(ctx, t, p, "!document.body.dataset.stream || document.querySelector('#live.ok')")
	if text, err := p.Text(ctx, "main"); err != nil || !strings.Contains(text, want) {
		t.Errorf("%q is missing (%v) in %s", want, err, text)
	}
	if dir := os.Getenv("SHOTS"); dir != "" {
		file := filepath.Join(dir, name+".png")
		if err := p.Screenshot(ctx, file, !strings.HasPrefix(name, "many")); err != nil {
			t.Fatal(err)
		}
	}
	var width int
	if err := p.Eval(ctx, "document.documentElement.scrollWidth", &width); err != nil ||
		width > v.Width {
		t.Errorf("%d pixels wide (%v)", width, err)
	}
	// No word of what is always there is broken, and the number does not cover the headline.
	var broken []string
	if err := p.Eval(ctx, `[...document.querySelectorAll('.brand, nav a, .verdict .n span')]
		.filter(e => {
			const range = document.createRange()
			range.selectNodeContents(e)
			const lines = new Set([...range.getClientRects()].map(r => Math.round(r.top)))
			const h1 = document.querySelector('.verdict h1')
			return lines.size > 1 || e.closest('.n') &&
				range.getBoundingClientRect().right > h1.getBoundingClientRect().left
		}).map(e => e.innerText)`, &broken); err != nil || len(broken) > 0 {
		t.Errorf("broken or covered: %q, %v", broken, err)
	}
	for _, line := range p.Console() {
		if !strings.Contains(line, "404 (Not Found) "+origin+"recordings/EG_nope") {
			t.Errorf("the console: %s", line)
		}
	}
	for _, r := range p.Requests() {
		if !strings.HasPrefix(r, origin) && !strings.HasPrefix(r, "data:") {
			t.Errorf("a request leaves the service: %s", r)
		}
	}
}

// TestPicture holds that docs/page.png, in the README, is of this version: it contains the SHA-256
// of the page that it shows. With PICTURES it takes the picture anew.
func TestPicture(t *testing.T) {
	o := with(pagetest.Troubled(at, "class-7a", 9), pagetest.CutOff(at, "class-7b", 3))
	o.Sessions[0], o.Sessions[1] = o.Sessions[1], o.Sessions[0]
	server := serve(t, spoken(o), operator)
	source := fetch(t, server.url("/"))
	dir := os.Getenv("PICTURES")
	if dir == "" {
		file := filepath.Join("..", "..", "docs", "page.png")
		if ok, err := browser.Marked(file, source); !ok {
			t.Errorf("docs/page.png shows another version; run make pictures (%v)", err)
		}
		return
	}
	ctx, p := open(t, start(t), browser.View{Width: 1000, Height: 880}, server.url("/"))
	wait(ctx, t, p, "document.querySelector('#live.ok')")
	file := filepath.Join(dir, "page.png")
	if err := p.Screenshot(ctx, file, false); err != nil {
		t.Fatal(err)
	}
	if err := browser.Mark(file, source); err != nil {
		t.Fatal(err)
	}
}

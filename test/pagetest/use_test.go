package pagetest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/web/page/pagetest"
	"github.com/syncflow/textegress/test/browser"
)

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// press presses a key.
func press(ctx context.Context, t *testing.T, p *browser.Page, key string) {
	t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13, "Escape": 27}
	event := map[string]any{
		"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": codes[key],
	}
	if key == "Enter" {
		event["text"] = "\r"
	}
	for _, kind := range []string{"keyDown", "keyUp"} {
		event["type"] = kind
		if _, err := p.Call(ctx, "Input.dispatchKeyEvent", event); err != nil {
			t.Fatal(err)
		}
	}
}

// tabTo presses Tab until the focus is on what is called like that.
func tabTo(ctx context.Context, t *testing.T, p *browser.Page, label string) {
	t.Helper()
	quoted, _ := json.Marshal(label) // a string has no error
	for range 300 {
		press(ctx, t, p, "Tab")
		var there bool
		if err := p.Eval(ctx, "(document.activeElement?.innerText ?? '').trim() === "+
			string(quoted), &there); err != nil {
			t.Fatal(err)
		}
		if there {
			return
		}
	}
	t.Fatalf("Tab does not lead to %q", label)
}

// TestKeyboard stops a recording with the keyboard alone, with scripts and without.
func TestKeyboard(t *testing.T) {
	b := start(t)
	for name, noScript := range map[string]bool{"scripts": false, "no scripts": true} {
		t.Run(name, func(t *testing.T) {
			s := class(3 + 3)
			v := wide
			v.NoScript = noScript
			ctx, p := open(t, b, v, serve(t, s, operator).url("/"))
			within := "dialog[open]"
			if noScript {
				within = "main"
				if text, _ := p.Text(ctx, "header"); !strings.Contains(text, "as of 09:00:00") {
					t.Errorf("without scripts, the page does not say as of when it is: %q", text)
				}
			}
			tabTo(ctx, t, p, "Stop recording…")
			press(ctx, t, p, "Enter")
			question := "document.querySelector('" + within + " .ask h1')?.innerText === " +
				"'Stop recording class-7a?'"
			wait(ctx, t, p, question)
			if !noScript { // Escape means no
				press(ctx, t, p, "Escape")
				wait(ctx, t, p, "!document.querySelector('dialog')")
				tabTo(ctx, t, p, "Stop recording…")
				press(ctx, t, p, "Enter")
				wait(ctx, t, p, question)
			}
			if done := s.Done(); len(done) > 0 {
				t.Fatalf("done before the answer: %q", done)
			}
			tabTo(ctx, t, p, "Stop recording")
			press(ctx, t, p, "Enter")
			for !slices.Equal(s.Done(), []string{"stop EG_class-7a"}) {
				select {
				case <-ctx.Done():
					t.Fatalf("done: %q", s.Done())
				case <-time.After(20 * time.Millisecond):
				}
			}
			wait(ctx, t, p, "location.pathname === '/' && document.querySelector('#verdict')")
		})
	}
}

// TestCutOff: an open page says at once that the service is away, and recovers by itself.
func TestCutOff(t *testing.T) {
	s := class(6)
	server := serve(t, s, operator)
	ctx, p := open(t, start(t), wide, server.url("/"))
	wait(ctx, t, p, "document.querySelector('#live.ok')")
	server.stop()
	wait(ctx, t, p, "!document.querySelector('#cut-off').hidden")
	for selector, want := range map[string]string{
		"#cut-off b": "This page is cut off from textegress", "#live": "cut off",
		"#cut-off span": "since 10:00:0",
	} {
		if text, err := p.Text(ctx, selector); err != nil || !strings.Contains(text, want) {
			t.Errorf("%s says %q, want %q (%v)", selector, text, want, err)
		}
	}
	var title string
	if err := p.Eval(ctx, "document.title", &title); err != nil ||
		!strings.HasPrefix(title, "✕ cut off") {
		t.Errorf("the title is %q, %v", title, err)
	}
	s.Set(with(pagetest.Class(at, "class-8", 3)))
	server.start()
	wait(ctx, t, p, "document.querySelector('#cut-off').hidden && "+
		"document.title.startsWith('● 1 recording') && document.querySelector('#live.ok')")
	if text, err := p.Text(ctx, "main"); err != nil || !strings.Contains(text, "class-8") ||
		strings.Contains(text, "class-7a") {
		t.Errorf("back again, the page shows %s (%v)", text, err)
	}
}

// TestLive: the page changes by itself, shows what is said after a click, and a reload keeps the
// cards that the reader opened.
func TestLive(t *testing.T) {
	o := with(pagetest.Class(at, "class-7a", 30), pagetest.Class(at, "class-7b", 30))
	s := spoken(o)
	ctx, p := open(t, start(t), wide, serve(t, s, operator).url("/"))
	if text, err := p.Text(ctx, "footer"); err != nil ||
		!strings.Contains(text, "Times are those of Europe/Berlin") {
		t.Errorf("the zone is not said: %s (%v)", text, err)
	}
	wait(ctx, t, p, "document.querySelector('#live.ok')")
	const text = "document.querySelector('main').innerText"
	wait(ctx, t, p, "!"+text+".includes('Zoë')")

	click := func(selector string) {
		t.Helper()
		if err := p.Eval(ctx, "document.querySelector('"+selector+"').click()", nil); err != nil {
			t.Fatal(err)
		}
	}
	click(".more[data-open=\"EG_class-7b\"]")
	wait(ctx, t, p, text+".includes('Zoë')")
	click("[data-text]")
	wait(ctx, t, p, text+".includes('the plant needs more light')")
	s.Say("learner-09", "chat", "it <b>grows</b>")
	wait(ctx, t, p, text+".includes('it <b>grows</b>')")

	changed := with(pagetest.Class(at, "class-7a", 30), pagetest.Troubled(at, "class-7b", 30))
	changed.Sessions[0].People[0].Messages = 98765
	s.Set(changed)
	wait(ctx, t, p, text+".includes('98,765') && "+text+".includes('“Fatima” is expected')")
	wait(ctx, t, p, text+".includes('it <b>grows</b>')") // what was opened stays

	if _, err := p.Call(ctx, "Page.reload", nil); err != nil {
		t.Fatal(err)
	}
	wait(ctx, t, p, "!document.querySelector('.lines') && document.querySelector('#live.ok') && "+
		text+".includes('Zoë')")
	if c := p.Console(); len(c) > 0 {
		t.Errorf("the console: %q", c)
	}
}

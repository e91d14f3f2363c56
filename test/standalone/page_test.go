package standalone

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncflow/textegress/test/browser"
)

// openPage opens the page in Chromium through the link that `textegress page` prints. Without
// Chromium, the test is skipped; in continuous integration it must be there.
func (w *world) openPage() *browser.Page {
	w.t.Helper()
	path, err := browser.Find()
	if err != nil && os.Getenv("CI") == "" {
		w.t.Skip(err)
	}
	check(w.t, err)
	b, err := browser.Start(path)
	check(w.t, err)
	w.t.Cleanup(func() { check(w.t, b.Close()) })
	ctx := testContext(w.t)
	p, err := b.Open(ctx, browser.View{Width: 1280, Height: 900})
	check(w.t, err)
	w.follow(p)
	return p
}

// follow opens a new link of `textegress page`.
func (w *world) follow(p *browser.Page) {
	w.t.Helper()
	ctx := testContext(w.t)
	link, stderr, code, err := w.r.CLI(ctx, "page")
	check(w.t, err)
	if code != 0 {
		w.t.Fatalf("textegress page: exit code %d: %s", code, stderr)
	}
	check(w.t, p.Goto(ctx, strings.TrimSpace(link)))
	w.shows(p, `document.querySelector("#live")`)
}

// shows waits until an expression about the page is true.
func (w *world) shows(p *browser.Page, expression string) {
	w.t.Helper()
	ctx := testContext(w.t)
	if err := p.Wait(ctx, expression); err != nil {
		text, _ := p.Text(context.Background(), "body")
		w.t.Fatalf("%s: %v\nThe page:\n%s", expression, err, text)
	}
}

// says waits until the page contains a text.
func (w *world) says(p *browser.Page, text string) {
	w.t.Helper()
	w.shows(p, fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// Before and during a class, the page says who is there and who is missing. When the service dies,
// the open page says that it is cut off, and recovers with the service. After the class, it says
// what was captured.
func TestPageOfAClass(t *testing.T) {
	roster := filepath.Join(t.TempDir(), "roster.csv")
	check(t, os.WriteFile(roster, []byte("identity,name\nlearner-1,Alice\nlearner-9,Fatima\n"),
		0o600))
	w := record(t, servers, pollFast, "PROJECTS__0__ROSTER_FILE="+roster, "ROSTER_GRACE=1s",
		"PROJECTS__0__LIVE_TEXT=true")
	p := w.openPage()
	w.says(p, "No session is running")

	room := w.open("class 7a", "")
	alice, bob := w.join(w.LiveKit, room, "learner-1"), w.join(w.LiveKit, room, "learner-2")
	w.recording(room)
	w.say(alice, 20)
	w.say(bob, 10)
	w.awaitPackets(room.Sid, 30)
	w.says(p, "class 7a")
	w.says(p, "Alice")
	w.says(p, "learner-2")
	w.says(p, "“Fatima” is expected and not there")

	check(t, w.r.Kill())
	w.says(p, "This page is cut off from textegress")
	check(t, w.r.Spawn())
	w.shows(p, `document.querySelector("#cut-off").hidden`)
	check(t, w.r.WaitReady(testContext(t)))
	w.follow(p) // logins end with the process
	w.rejoined(room.Sid, 1)
	w.says(p, "1 outage so far")

	w.say(alice, 5)
	w.awaitPackets(room.Sid, 35)
	w.delete(room)
	w.delivered(room.Sid, 1)
	check(t, p.Goto(testContext(t), w.r.URL+"/recordings"))
	w.says(p, "class 7a")
	w.says(p, "outage")
	check(t, p.Eval(testContext(t), `document.querySelector(".list .room a").click(), null`, nil))
	w.says(p, "Outage 1")
	w.says(p, "learner-2")
	for _, line := range p.Console() {
		// what the browser says of a server that is gone
		if !strings.Contains(line, "ERR_CONNECTION") && !strings.Contains(line, "net::ERR") {
			t.Errorf("the console: %s", line)
		}
	}
	for _, url := range p.Requests() {
		// Chromium draws its own controls from data
		if !strings.HasPrefix(url, w.r.URL+"/") && !strings.HasPrefix(url, "data:") {
			t.Errorf("a request to elsewhere: %s", url)
		}
	}
}

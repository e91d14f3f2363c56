package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/syncflow/textegress"
)

// pushed is a receiver of messages. It refuses requests while it is down.
type pushed struct {
	mu      sync.Mutex
	down    bool
	refused int
	lines   map[string][]string // by egress id
	last    map[string]int64
	ended   map[string]bool
	bad     []string
}

func (p *pushed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	var e struct {
		Event      string            `json:"event"`
		EgressID   string            `json:"egress_id"`
		FirstN     int64             `json:"first_n"`
		LastN      int64             `json:"last_n"`
		Lines      []json.RawMessage `json:"lines"`
		EgressInfo struct {
			EgressID string `json:"egressId"`
		} `json:"egressInfo"`
	}
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		p.refused++
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if err != nil || r.Header.Get("Authorization") == "" {
		p.bad = append(p.bad, string(b))
	}
	if e.Event == "egress_ended" {
		p.ended[e.EgressInfo.EgressID] = true
	}
	if e.Event != "data_messages" {
		return
	}
	if e.FirstN != p.last[e.EgressID]+1 || p.ended[e.EgressID] {
		p.bad = append(p.bad, "after its end, or not the next: "+string(b))
	}
	p.last[e.EgressID] = e.LastN
	for _, l := range e.Lines {
		p.lines[e.EgressID] = append(p.lines[e.EgressID], string(l))
	}
}

func (p *pushed) text(egressID string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines[egressID], "\n")
}

func (p *pushed) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

func (p *pushed) wasRefused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused > 0
}

// TestMessages: a receiver gets the lines of events.jsonl while the class is recorded. It is down
// when the class ends, and RETENTION is 0: the data is kept until the receiver has the rest. Under
// pseudonyms it gets pseudonyms.
func TestMessages(t *testing.T) {
	p := &pushed{
		lines: map[string][]string{}, last: map[string]int64{}, ended: map[string]bool{},
	}
	url := serve(t, p)
	w := newWorld(t)
	hook := []string{
		"WEBHOOKS__0__URL=" + url, "WEBHOOKS__0__API_KEY=key",
		"WEBHOOKS__0__API_SECRET=a-secret-of-at-least-thirty-two-bytes",
		"WEBHOOKS__0__EVENTS=egress_ended,message",
	}
	out := filepath.Join(w.dir, "out")
	w.env(project(0, projectA, append(hook, "DIRECTORY="+out)...),
		project(1, projectB, append(hook, "DIRECTORY="+out, "PSEUDONYMS=true",
			"WEBHOOKS__0__URL="+url+"/b")...),
		"WEBHOOK_ALLOW_PRIVATE=true", "RETENTION=0s")
	w.start()
	plain, hidden := w.record(projectA, 1), w.record(projectB, 2)
	w.send(plain, "said to all")
	w.send(hidden, "said in secret")
	a, b := w.recording(1).EgressID, w.recording(2).EgressID
	for id, text := range map[string]string{a: "said to all", b: "said in secret"} {
		w.eventually("the message is pushed while the class is recorded", func() bool {
			return strings.Contains(p.text(id), text)
		})
	}
	p.setDown(true)
	w.send(plain, "last words")
	w.eventually("a batch is refused", p.wasRefused)
	w.end(plain, 1)
	w.end(hidden, 2)
	w.delivered(1, out)
	w.delivered(2, out)
	if s := w.recording(1).State; s != "uploaded" {
		t.Errorf("the local data is %s before the receiver has it", s)
	}
	p.setDown(false)
	for id, who := range map[string]string{a: "alice", b: "P-"} {
		w.eventually("the end is reported", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.ended[id]
		})
		found, err := filepath.Glob(filepath.Join(out, "*", "*", "text-egress", "*", id,
			textegress.EventsName))
		if err != nil || len(found) != 1 {
			t.Fatalf("%q, %v", found, err)
		}
		want, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		if got := p.text(id) + "\n"; got != string(want) {
			t.Errorf("pushed:\n%s\ndelivered:\n%s", got, want)
		}
		if !strings.Contains(p.text(id), who) || strings.Contains(p.text(b), "alice") {
			t.Errorf("pushed:\n%s", p.text(id))
		}
	}
	w.eventually("the local data is removed", func() bool {
		return w.recording(1).State == "removed" && w.recording(2).State == "removed"
	})
	if len(p.bad) > 0 || strings.Contains(w.logged(), "alice") {
		t.Errorf("%q\n%s", p.bad, w.logged())
	}
}

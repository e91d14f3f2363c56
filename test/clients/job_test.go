package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// job is what one participant of a room does, as the senders in apps/ read it (JSON).
type job struct {
	ID    string `json:"id"`
	URL   string `json:"url"`
	Token string `json:"token"`
	// Peer answers calls and is addressed; empty where the sender is alone. Recorder is the
	// identity of the hidden recorder.
	Peer     string `json:"peer"`
	Recorder string `json:"recorder"`
	// Expect are the identities to wait for before anything is sent.
	Expect []string `json:"expect"`
	// Methods are those to try, at first those that go to everybody. When all in the room have done
	// these, Addressed follow: what does not reach the recorder leaves a hole in its sender's
	// numbers, which is there for the answers to calls too, and within such a hole the end of a
	// stream of unknown length cannot be proved.
	Methods   []string `json:"methods"`
	Addressed []string `json:"addressed"`
	// Passphrase encrypts; empty: no encryption.
	Passphrase string `json:"passphrase"`
	// End is sent as the last message.
	End string `json:"end"`
	content

	sdk sdk
}

// content is what is sent, the same by everybody.
type content struct {
	Short      string            `json:"short"`
	Edited     string            `json:"edited"`
	Chat       string            `json:"chat"`
	RPC        string            `json:"rpc"`
	Long       string            `json:"long"`
	Parts      []string          `json:"parts"`
	Binary     []byte            `json:"binary"`
	File       []byte            `json:"file"`
	FileName   string            `json:"fileName"`
	Attributes map[string]string `json:"attributes"`
	Frames     int               `json:"frames"` // of a data track
}

// The long text takes several chunks, with characters of up to four bytes across their borders, and
// compresses well. The file does not compress.
var sent = func() content {
	random := rand.NewChaCha8([32]byte{'t', 'e', 'x', 't'})
	c := content{
		Short:  "héllo, wörld – 你好 👋\nsecond line\ttab \x00 <b>&amp;\"quotes\"",
		Edited: "edited: 你好", Chat: "typed into the chat box 👍",
		RPC: "caller", Parts: []string{"one ", "zwei é ", "三 👋"},
		Binary: make([]byte, 9000), File: make([]byte, 100_000),
		FileName:   "Schülerin 1 – notes & plan.png",
		Attributes: map[string]string{"lang": "de-DE", "note": "ä b=c;\n\"d\"", "empty": ""},
		Frames:     60,
	}
	var long strings.Builder
	for n := 0; long.Len() < 40_000; n++ {
		fmt.Fprintf(&long, "%d: Was ist das? 你好 👩‍👩‍👧‍👦 – ", n)
	}
	c.Long = long.String()
	for _, b := range [][]byte{c.Binary, c.File} {
		_, _ = random.Read(b) // never fails
	}
	return c
}()

// desk hands out jobs and takes results over HTTP on loopback; it serves the pages of the browser
// too.
type desk struct {
	url string
	mux *http.ServeMux

	groups []*group

	mu      sync.Mutex
	jobs    map[string]job
	ready   map[string]bool // those that have done all that goes to everybody
	results map[string]map[string]string
}

func openDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{
		mux: http.NewServeMux(), jobs: map[string]job{}, ready: map[string]bool{},
		results: map[string]map[string]string{},
	}
	d.mux.HandleFunc("GET /job", func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		j, ok := d.jobs[r.FormValue("job")]
		d.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(j) // a client that is gone reports nothing, which is noticed
	})
	d.mux.HandleFunc("POST /ready", func(w http.ResponseWriter, r *http.Request) {
		if !d.allReady(r.FormValue("job")) {
			w.WriteHeader(http.StatusAccepted) // ask again
		}
	})
	d.mux.HandleFunc("POST /results", func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var results map[string]string
		if err == nil {
			err = json.NewDecoder(bytes.NewReader(b)).Decode(&results)
		}
		if err != nil {
			results = map[string]string{"report": fmt.Sprintf("failed: %v: %q", err, b)}
		}
		d.done(r.URL.Query().Get("job"), results)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	srv := &http.Server{Handler: d.mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(ln) }() // ends with Close
	t.Cleanup(func() { srv.Close() })
	d.url = "http://" + ln.Addr().String()
	return d
}

func (d *desk) put(j job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.jobs[j.ID] = j
}

func (d *desk) done(id string, results map[string]string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.results[id] = results
}

// allReady notes that a job is ready, and reports whether all in its room are.
func (d *desk) allReady(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ready[id] = true
	for _, g := range d.groups {
		all, member := true, false
		for _, j := range g.jobs {
			all = all && (d.ready[j.ID] || d.results[j.ID] != nil)
			member = member || j.ID == id
		}
		if member {
			return all
		}
	}
	return false
}

// missing are the jobs without results.
func (d *desk) missing() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []string
	for id := range d.jobs {
		if d.results[id] == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// waitFor polls until ok or the context ends, which is an error that names what.
func waitFor(ctx context.Context, what func() string, ok func() bool) error {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", ctx.Err(), what())
		case <-t.C:
		}
	}
	return nil
}

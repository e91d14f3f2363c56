package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/source/webhook"
)

// project is a project with its server, its source and the source's handler.
type project struct {
	*webhook.Source

	mu        sync.Mutex
	rooms     map[string]session.State // runs that the server has, by sid
	asked     int
	err       error // of every request to the server
	refuses   error // returned by the handler
	blocks    bool  // the handler returns when its context ends
	announced []session.Announcement
	finished  []string
}

// newProject runs the source of a project whose requests are signed with key.
func newProject(t *testing.T, e *webhook.Endpoint, key string) *project {
	t.Helper()
	p := &project{rooms: map[string]session.State{}}
	p.Source = webhook.New(webhook.Options{
		Verify: func(authorization string) (func([]byte) bool, error) {
			if authorization != key {
				return nil, errors.New("another key")
			}
			return func(body []byte) bool { return !strings.Contains(string(body), "forged") }, nil
		},
		Parse: func(body []byte) (webhook.Event, error) {
			var ev webhook.Event
			err := json.Unmarshal(body, &ev)
			return ev, err
		},
		Confirm: func(_ context.Context, s session.Session) (session.Session, bool, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.asked++
			state, ok := p.rooms[s.ID]
			s.State, s.Limits.Topics = state, []string{"confirmed"}
			return s, ok, p.err
		},
		Finished: func(s session.Session) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.finished = append(p.finished, s.ID)
		},
	})
	t.Cleanup(e.Add(p.Source))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.Run(ctx, p); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	synctest.Wait()
	return p
}

func (p *project) Announce(ctx context.Context, a session.Announcement) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blocks {
		<-ctx.Done()
		return ctx.Err()
	}
	if p.refuses == nil {
		p.announced = append(p.announced, a)
	}
	return p.refuses
}

func (p *project) Resync(context.Context, []session.Gap) error { return nil }
func (p *project) Withdraw(context.Context, string) error      { return nil }

// ids returns the sids that were announced.
func (p *project) ids() []string {
	var out []string
	for _, a := range p.announced {
		out = append(out, a.SessionID)
	}
	return out
}

func body(id string, kind webhook.Kind, sid string) string {
	b, err := json.Marshal(webhook.Event{
		ID: id, Kind: kind, Record: true,
		Session: session.Session{ID: sid, Room: "room of " + sid},
	})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func post(e http.Handler, key, body string) int {
	r := httptest.NewRequest(http.MethodPost, "/livekit/webhook", strings.NewReader(body))
	r.Header.Set("Authorization", key)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Code
}

func endpoint() *webhook.Endpoint { return webhook.NewEndpoint(slog.New(slog.DiscardHandler)) }

// Every event of a room announces the room; a repeated event does nothing.
func TestAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint()
		p := newProject(t, e, "A")
		p.rooms["RM_1"], p.rooms["RM_2"] = session.Running, session.Empty
		if !p.Seen().IsZero() || p.Knows("RM_1") {
			t.Error("a webhook was seen before any")
		}
		for _, b := range []string{
			body("EV_1", webhook.Opened, "RM_1"),
			body("EV_1", webhook.Opened, "RM_1"), // repeated
			body("EV_2", webhook.Present, "RM_2"),
			body("EV_3", webhook.Opened, "RM_1"), // adds nothing
			body("EV_4", webhook.Present, "RM_1"),
			body("EV_5", webhook.Finished, "RM_2"),
			body("EV_6", 0, "RM_3"),
			body("EV_7", webhook.Present, ""), // about no room
		} {
			if got := post(e, "A", b); got != http.StatusOK {
				t.Errorf("%s: %d", b, got)
			}
		}
		want := session.Announcement{
			SessionID: "RM_1", Room: "room of RM_1", Source: "webhook", ReceivedAt: time.Now(),
			Limits: session.Limits{Topics: []string{"confirmed"}},
		}
		if got := p.ids(); !slices.Equal(got, []string{"RM_1", "RM_2", "RM_1"}) ||
			cmp.Diff(want, p.announced[0]) != "" {
			t.Errorf("%v\n%s", got, cmp.Diff(want, p.announced[0]))
		}
		if p.asked != 2 || !slices.Equal(p.finished, []string{"RM_2"}) {
			t.Errorf("asked %d times, finished %v", p.asked, p.finished)
		}
		if !p.Seen().Equal(time.Now()) || !p.Knows("RM_1") || !p.Knows("RM_3") || p.Knows("RM_4") {
			t.Errorf("seen at %v", p.Seen())
		}
		if s := p.State(); !s.Connected || s.LastError != "" {
			t.Errorf("%+v", s)
		}
	})
}

// A room that the server does not confirm is not announced: a closed room, a room that is not to be
// recorded, an empty room that our own join may have created.
func TestUnconfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint()
		p := newProject(t, e, "A")
		p.rooms["RM_made"] = session.Empty
		unwanted := strings.Replace(body("EV_3", webhook.Present, "RM_made"), `"Record":true`,
			`"Record":false`, 1)
		for _, b := range []string{
			body("EV_1", webhook.Present, "RM_over"),
			body("EV_2", webhook.Opened, "RM_made"),
			unwanted,
		} {
			if got := post(e, "A", b); got != http.StatusOK {
				t.Errorf("%s: %d", b, got)
			}
		}
		if p.announced != nil {
			t.Errorf("%v", p.ids())
		}
		if post(e, "A", body("EV_4", webhook.Present, "RM_made")); len(p.announced) != 1 {
			t.Error("the room is not announced when a participant is present")
		}
	})
}

// An event is answered with 503, so that LiveKit retries it, until it is handled.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint()
		p := newProject(t, e, "A")
		p.rooms["RM_1"] = session.Running
		event := body("EV_1", webhook.Present, "RM_1")
		for _, set := range []func(){
			func() { p.err = errors.New("the server is away") },
			func() { p.err, p.refuses = nil, session.ErrLater },
			func() { p.refuses = errors.New("the disk is full") },
			func() { p.refuses, p.blocks = nil, true },
		} {
			set()
			began := time.Now()
			if got := post(e, "A", event); got != http.StatusServiceUnavailable {
				t.Errorf("%d", got)
			}
			if d := time.Since(began); d > 20*time.Second || p.blocks && d == 0 {
				t.Errorf("answered after %v", d)
			}
			// an undecided announcement is not a problem
			if s := p.State(); strings.Contains(s.LastError, session.ErrLater.Error()) {
				t.Errorf("%+v", s)
			}
		}
		p.blocks = false
		if got := post(e, "A", event); got != http.StatusOK || len(p.announced) != 1 {
			t.Errorf("%d, %v", got, p.ids())
		}
		if s := p.State(); !strings.Contains(s.LastError, "not recorded yet") {
			t.Errorf("%+v", s)
		}
	})
}

// A request that is unsigned, too large or malformed is rejected, if possible before its body is
// read.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint()
		p := newProject(t, e, "A")
		for name, c := range map[string]struct {
			key, body string
			want      int
		}{
			"no key":         {"", body("EV_1", webhook.Present, "RM_1"), 401},
			"another key":    {"B", body("EV_1", webhook.Present, "RM_1"), 401},
			"another, large": {"B", strings.Repeat("x", 2<<20), 401},
			"another body":   {"A", "forged", 401},
			"large":          {"A", strings.Repeat("x", 1<<20+1), 413},
			"malformed":      {"A", "x", 400},
		} {
			if got := post(e, c.key, c.body); got != c.want {
				t.Errorf("%s: %d, want %d", name, got, c.want)
			}
		}
		if p.announced != nil || p.asked != 0 || !p.Seen().IsZero() {
			t.Errorf("%v, %d, %v", p.ids(), p.asked, p.Seen())
		}
		r := httptest.NewRequest(http.MethodPost, "/", failing{})
		r.Header.Set("Authorization", "B")
		w := httptest.NewRecorder()
		if e.ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
			t.Errorf("%d: the body was read", w.Code)
		}
	})
}

// failing is a body that must not be read.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the body was read") }

// Projects share the endpoint: the key selects the project; if keys are equal, the servers decide.
func TestProjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint()
		a, b, same := newProject(t, e, "A"), newProject(t, e, "B"), newProject(t, e, "B")
		for i, p := range []*project{a, b, same} {
			p.rooms[fmt.Sprintf("RM_%d", i)] = session.Running
		}
		for i, key := range []string{"A", "B", "B"} {
			event := body(fmt.Sprintf("EV_%d", i), webhook.Present, fmt.Sprintf("RM_%d", i))
			if got := post(e, key, event); got != http.StatusOK {
				t.Errorf("%d: %d", i, got)
			}
		}
		for i, p := range []*project{a, b, same} {
			if got := p.ids(); !slices.Equal(got, []string{fmt.Sprintf("RM_%d", i)}) {
				t.Errorf("project %d: %v", i, got)
			}
		}
		// One project fails: LiveKit retries, and the other project ignores the repetition.
		a.rooms["RM_90"], b.rooms["RM_90"] = session.Running, session.Running
		b.rooms["RM_91"] = session.Running
		event := ""
		for i, p := range []*project{same, b} {
			event = body(fmt.Sprintf("EV_9%d", i), webhook.Present, fmt.Sprintf("RM_9%d", i))
			p.err = errors.New("away")
			if got := post(e, "B", event); got != http.StatusServiceUnavailable {
				t.Errorf("%d", got)
			}
			p.err = nil
		}
		if got := post(e, "B", event); got != http.StatusOK || len(b.announced) != 3 ||
			len(same.announced) != 1 || len(a.announced) != 1 {
			t.Errorf("%d: %v, %v, %v", got, a.ids(), b.ids(), same.ids())
		}
	})
}

// When the service stops, requests in progress are answered, and later ones are answered with 503.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &project{rooms: map[string]session.State{"RM_1": session.Running}, blocks: true}
		p.Source = webhook.New(webhook.Options{
			Verify: func(string) (func([]byte) bool, error) {
				return func([]byte) bool { return true }, nil
			},
			Parse: func(b []byte) (ev webhook.Event, err error) {
				err = json.Unmarshal(b, &ev)
				return ev, err
			},
			Confirm: func(_ context.Context, s session.Session) (session.Session, bool, error) {
				return s, true, nil
			},
		})
		e := endpoint()
		remove := e.Add(p.Source)
		event := body("EV_1", webhook.Present, "RM_1")
		if got := post(e, "", event); got != http.StatusServiceUnavailable {
			t.Errorf("before it runs: %d", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = p.Run(ctx, p)
		}()
		synctest.Wait()
		status := make(chan int, 1)
		go func() { status <- post(e, "", event) }()
		synctest.Wait()
		began := time.Now()
		cancel()
		<-ended
		if d := time.Since(began); d > 0 {
			t.Errorf("the end took %v", d)
		}
		if got := <-status; got != http.StatusServiceUnavailable {
			t.Errorf("in progress: %d", got)
		}
		if got := post(e, "", event); got != http.StatusServiceUnavailable || p.State().Connected {
			t.Errorf("after the end: %d", got)
		}
		remove()
		if got := post(e, "", event); got != http.StatusUnauthorized {
			t.Errorf("removed: %d", got)
		}
	})
}

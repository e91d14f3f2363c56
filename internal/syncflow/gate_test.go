package syncflow_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/syncflow"
)

// slowAPI answers each endpoint after its own time, and notes when what was asked and given up.
type slowAPI struct {
	*fakeAPI
	begin time.Time
	takes map[string]time.Duration // by the last part of the path; missing: at once

	mu sync.Mutex
	// what the next request fails with at once, and the one after meets a new server; nil: the
	// server runs
	down   error
	events []string
	busy   int
	most   int
}

func newSlow(t *testing.T, takes map[string]time.Duration) *slowAPI {
	return &slowAPI{fakeAPI: newFake(t), begin: time.Now(), takes: takes}
}

// sent returns how many requests there were so far, and how many at once.
func (f *slowAPI) sent() (n, most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if !strings.HasSuffix(e, "given up") {
			n++
		}
	}
	return n, f.most
}

func (f *slowAPI) note(what string) {
	f.events = append(f.events, time.Since(f.begin).String()+" "+what)
}

func (f *slowAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	what := path.Base(r.URL.Path)
	if what == projectID {
		what = "project"
	}
	f.mu.Lock()
	f.note(what)
	if f.down != nil {
		defer f.mu.Unlock()
		err := f.down
		f.down, f.takes = nil, nil
		return nil, err
	}
	f.busy++
	f.most = max(f.most, f.busy)
	takes := f.takes[what]
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.busy--; f.mu.Unlock() }()
	select {
	case <-time.After(takes):
		return f.fakeAPI.RoundTrip(r)
	case <-r.Context().Done():
		f.mu.Lock()
		f.note(what + " given up")
		f.mu.Unlock()
		return nil, r.Context().Err()
	}
}

// clients are those of several projects of one server.
func (f *slowAPI) clients(t *testing.T, n int) []*syncflow.Client {
	t.Helper()
	var gate syncflow.Gate
	var all []*syncflow.Client
	for range n {
		c, err := syncflow.New(syncflow.Options{
			BaseURL: "http://syncflow.test", Key: "aB3dE6gH9k", Secret: secretKey,
			ProjectID:  projectID,
			HTTPClient: &http.Client{Transport: f}, Gate: &gate,
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// want compares what happened; each event has its time, and those of one moment have no order.
func (f *slowAPI) want(t *testing.T, events ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(events)
	slices.Sort(f.events)
	if !slices.Equal(f.events, events) {
		t.Errorf("requests %q\nwant %q", f.events, events)
	}
}

func list(t *testing.T, c *syncflow.Client) { _, _ = c.Sessions(t.Context()) }
func token(t *testing.T, c *syncflow.Client) {
	_, _ = c.Token(t.Context(), sessionID, "class-1", "bot")
}
func state(t *testing.T, c *syncflow.Client) { _, _ = c.Participants(t.Context(), sessionID) }

// All projects of a server together have one request under way, and what a recording needs comes
// before the rest, whoever asked first.
func TestOneRequestAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSlow(t, map[string]time.Duration{
			"project": time.Second, "sessions": time.Second, "token": time.Second,
			"participants": time.Second,
		})
		c := f.clients(t, 3)
		go func() { _, _ = c[0].Project(t.Context()) }()
		synctest.Wait()
		for i, ask := range []func(*testing.T, *syncflow.Client){list, state, token, state, token} {
			go ask(t, c[i%3])
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		f.want(t, "0s project", "1s token", "2s token", "3s participants", "4s participants",
			"5s sessions")
		if _, most := f.sent(); most != 1 {
			t.Errorf("%d requests at once", most)
		}
	})
}

// A list that stalls holds a recording back for two seconds. It is not sent again while the server
// may still be busy with it: every further try would block another thread there.
func TestAStalledListGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSlow(t, map[string]time.Duration{"sessions": 30 * time.Second})
		c := f.clients(t, 2)
		go list(t, c[0])
		time.Sleep(1500 * time.Millisecond)
		token(t, c[1])
		if d := time.Since(f.begin); d != 2*time.Second {
			t.Errorf("the token came after %v", d)
		}
		time.Sleep(time.Minute)
		f.want(t, "0s sessions", "2s sessions given up", "2s token", "30s sessions")
	})
}

// A list for which nothing waits takes its time.
func TestASlowListIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSlow(t, map[string]time.Duration{"sessions": 25 * time.Second})
		c := f.clients(t, 2)
		go list(t, c[0])
		time.Sleep(time.Second)
		go func() { _, _ = c[1].Project(t.Context()) }()
		time.Sleep(time.Minute)
		f.want(t, "0s sessions", "25s project")
	})
}

// A registration takes effect twice when it is sent twice, so a token goes beside it.
func TestARegistrationIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSlow(t, map[string]time.Duration{"register": 20 * time.Second})
		c := f.clients(t, 2)
		done := make(chan error, 1)
		go func() {
			_, err := c[0].EnsureDevice(t.Context(), "text-egress",
				"text-egress")
			done <- err
		}()
		time.Sleep(time.Second)
		token(t, c[1])
		if err := <-done; err != nil {
			t.Error(err)
		}
		f.want(t, "0s devices", "0s register", "2s token")
	})
}

// Requests of recordings that stall leave the server a thread of its four, and do not hold back a
// token that can succeed.
func TestStalledRecordings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSlow(t, map[string]time.Duration{"participants": 25 * time.Second})
		c := f.clients(t, 1)
		for range 5 {
			go state(t, c[0])
			synctest.Wait()
		}
		time.Sleep(time.Second)
		token(t, c[0])
		if d := time.Since(f.begin); d != 2*time.Second {
			t.Errorf("the token came after %v", d)
		}
		time.Sleep(2 * time.Minute)
		if n, most := f.sent(); n != 6 || most > 3 {
			t.Errorf("%d requests, %d at once", n, most)
		}
	})
}

// What its caller gives up may still hold a thread of the server: it counts until that is over.
func TestWhatIsGivenUpLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSlow(t, map[string]time.Duration{"participants": time.Hour, "token": time.Hour})
		c := f.clients(t, 1)
		for range 6 { // none of them waits for longer than this
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			go func() { defer cancel(); _, _ = c[0].Participants(ctx, sessionID) }()
			time.Sleep(time.Second)
		}
		time.Sleep(20 * time.Second)
		before, _ := f.sent()
		go list(t, c[0])
		synctest.Wait()
		if n, most := f.sent(); n != before || most > 3 {
			t.Errorf("%d requests after %d, %d at once", n, before, most)
		}
		time.Sleep(15 * time.Second)
		if n, _ := f.sent(); n != before+1 {
			t.Error("the list is not sent when the server has given the others up")
		}
	})
}

// A server that has ended is not busy any more with what was given up: the next one is asked at
// once.
func TestWhatIsGivenUpEndsWithItsServer(t *testing.T) {
	for name, down := range map[string]error{
		"down":   &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
		"ending": io.EOF,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newSlow(t, map[string]time.Duration{"sessions": time.Hour})
				c := f.clients(t, 2)
				go list(t, c[0])
				time.Sleep(1500 * time.Millisecond)
				f.mu.Lock()
				f.down = down
				f.mu.Unlock()
				if _, err := c[1].Participants(t.Context(), sessionID); err == nil {
					t.Fatal("a server that is down answered")
				}
				synctest.Wait()
				time.Sleep(10 * time.Second)
				f.want(t, "0s sessions", "2s sessions given up", "2s participants", "2s sessions")
			})
		})
	}
}

package syncflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/syncflow"
)

func TestCallsFollowTheContract(t *testing.T) {
	f := newFake(t)
	srv := httptest.NewServer(f)
	defer srv.Close()
	c, err := syncflow.New(syncflow.Options{
		BaseURL: srv.URL + "//", Key: "aB3dE6gH9k",
		Secret: secretKey, ProjectID: projectID,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	p, err := c.Project(ctx)
	if err != nil || p.Name != "My Project" || p.LiveKitURL != "wss://lk" {
		t.Errorf("Project = %+v, %v", p, err)
	}
	ss, err := c.Sessions(ctx)
	if err != nil || len(ss) != 1 || !ss[0].Active() || ss[0].RoomName != "class-1" ||
		!ss[0].StartedAt.Equal(time.Unix(1750000000, 0)) {
		t.Errorf("Sessions = %+v, %v", ss, err)
	}
	tok, err := c.Token(ctx, sessionID, "class-1", "bot")
	if err != nil || tok != (session.Token{JWT: "lk-token", URL: "wss://lk"}) {
		t.Errorf("Token = %v, %v", tok, err)
	}
	if shown := fmt.Sprintf("%v %+v", tok, tok) +
		slog.AnyValue(tok).Resolve().String(); strings.Contains(shown, "lk-token") {
		t.Errorf("the token is shown: %s", shown)
	}
	d, err := c.EnsureDevice(ctx, "text-egress", "text-egress")
	if err != nil || d.ExchangeName != "notifier" || d.BindingKey != projectID+".text-egress" {
		t.Errorf("EnsureDevice = %+v, %v", d, err)
	}
	again, err := c.EnsureDevice(ctx, "text-egress", "text-egress")
	if err != nil || again.ID != d.ID || len(f.devices) != 1 {
		t.Errorf("the second EnsureDevice = %+v, %v with %d devices", again, err, len(f.devices))
	}
	if err := c.DeleteDevice(ctx, d.ID); err != nil {
		t.Error(err)
	}
	if err := c.DeleteDevice(ctx, d.ID); !errors.Is(err, syncflow.ErrNotFound) {
		t.Errorf("deleting twice: %v", err)
	}
}

func TestDefiniteAnswersAreNotRetried(t *testing.T) {
	f := newFake(t)
	c := f.client(t, f)
	ctx := t.Context()
	check := func(name string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	f.room = false
	_, err := c.Session(ctx, sessionID)
	check("zombie", err, session.ErrRoomMissing)
	f.status = "Stopped"
	_, err = c.Token(ctx, sessionID, "class-1", "bot")
	check("stopped", err, session.ErrEnded)
	_, err = c.Session(ctx, ghostID)
	check("unknown session", err, syncflow.ErrNotFound)
	_, err = c.Token(ctx, ghostID, "class-1", "bot")
	check("unknown session", err, syncflow.ErrNotFound)
	f.status = "Started"
	_, err = c.Token(ctx, sessionID, "class-2", "bot")
	if a, ok := errors.AsType[*syncflow.APIError](err); !ok || a.Status != 500 ||
		a.Endpoint != "token" {
		t.Errorf("wrong room: %v", err)
	}
	check("wrong room", err, session.ErrWrongRoom)
	if n := len(f.log()); n != 5 {
		t.Errorf("%d requests, want 5: %v", n, f.log())
	}
}

// The list says who is in each room. What another version of the API might say is no statement, and
// no reason to take a session for another.
func TestParticipantsInTheList(t *testing.T) {
	for said, want := range map[string]struct{ empty, inUse bool }{
		`"numParticipants":0`: {empty: true}, `"numParticipants":3`: {inUse: true}, `"other":1`: {},
		`"numParticipants":null`: {}, `"numParticipants":"3"`: {}, `"numParticipants":-1`: {},
		`"numParticipants":1.5`: {},
	} {
		var s syncflow.Session
		if err := json.Unmarshal([]byte(`{"id":"s","status":"Started",`+said+`}`), &s); err != nil {
			t.Errorf("%s: %v", said, err)
		}
		if s.ID != "s" || !s.Active() || s.Empty() != want.empty || s.InUse() != want.inUse {
			t.Errorf("%s: empty %v, in use %v: %+v", said, s.Empty(), s.InUse(), s)
		}
	}
	f := newFake(t)
	list, err := f.client(t, f).Sessions(t.Context())
	if err != nil || len(list) == 0 || !list[0].InUse() {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestNotFoundOfAProxyIsNotTheEndOfASession(t *testing.T) {
	f := newFake(t)
	c := f.client(t, f)
	f.fail(fault{status: 404, contentType: "text/html", body: "<html>\n<b>Not\x1b[31m found</b>" +
		strings.Repeat("x", 5000)})
	_, err := c.Session(t.Context(), sessionID)
	if err == nil || errors.Is(err, syncflow.ErrNotFound) ||
		errors.Is(err, session.ErrEnded) {
		t.Errorf("error %v", err)
	}
	if len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("the text of a page is not tamed: %q", err)
	}
}

func TestPlainTextErrorOfTheRequestParser(t *testing.T) {
	f := newFake(t)
	c := f.client(t, f)
	f.fail(fault{
		status: 400, contentType: "text/plain; charset=utf-8",
		body: "Json deserialize error: missing field `room`",
	})
	_, err := c.Token(t.Context(), sessionID, "class-1", "bot")
	if a, ok := errors.AsType[*syncflow.APIError](err); !ok ||
		a.Message != "Json deserialize error: missing field `room`" {
		t.Errorf("error %v", err)
	}
}

func TestRetriesWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := f.client(t, f)
		var pauses []time.Duration
		c.SetJitter(whole(&pauses))
		f.fail(fault{
			status: 500,
			body:   `{"status":500,"message":"egress not connected (redis required)"}`,
		},
			fault{status: -1},
			fault{status: 502, contentType: "text/html", body: "<html>Bad Gateway"},
			fault{status: 200, contentType: "text/html", body: "<html>maintenance"})
		begin := time.Now()
		if _, err := c.Sessions(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []time.Duration{
			500 * time.Millisecond, time.Second, 2 * time.Second,
			4 * time.Second,
		}
		if diff := cmp.Diff(want, pauses); diff != "" {
			t.Error(diff)
		}
		if d := time.Since(begin); d != 7500*time.Millisecond {
			t.Errorf("took %v", d)
		}
	})
}

// One question of one request tells a session that is over, a room that is gone and a room in use
// apart.
func TestParticipants(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fakeAPI)
		id     string
		want   int
		err    error
	}{
		"somebody is there": {want: 2},
		"the room is gone":  {change: func(f *fakeAPI) { f.room = false }},
		"never was":         {id: ghostID, err: syncflow.ErrNotFound},
		"over": {
			change: func(f *fakeAPI) { f.status = "Stopped" },
			err:    session.ErrEnded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			if c.change != nil {
				c.change(f)
			}
			id := sessionID
			if c.id != "" {
				id = c.id
			}
			n, err := f.client(t, f).Participants(t.Context(), id)
			if n != c.want || !errors.Is(err, c.err) {
				t.Errorf("%d, %v; want %d, %v", n, err, c.want, c.err)
			}
			if log := f.log(); len(log) != 1 || !strings.HasSuffix(log[0], "/participants") {
				t.Errorf("requests %q, want one", log)
			}
		})
	}
}

// What is not a list of objects says nothing about the room: an answer of a proxy must not end a
// recording.
func TestParticipantsThatAreNone(t *testing.T) {
	for _, body := range []string{"null", "{}", "3", `"x"`, "[1]", `[{}] x`, "", "[{}"} {
		f := newFake(t)
		f.fail(fault{status: 200, body: body})
		if n, err := f.client(t, f).Participants(t.Context(), sessionID); err == nil {
			t.Errorf("%q counts as %d participants", body, n)
		}
	}
}

func TestParticipantsAreAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := f.client(t, f)
		f.fail(fault{status: 500, body: `{"status":500,"message":"LiveKit failed"}`})
		begin := time.Now()
		_, err := c.Participants(t.Context(), sessionID)
		if a, ok := errors.AsType[*syncflow.APIError](err); !ok || a.Status != 500 {
			t.Errorf("error %v", err)
		}
		if n := len(f.log()); n != 1 || time.Since(begin) != 0 {
			t.Errorf("%d requests in %v, want one at once", n, time.Since(begin))
		}
	})
}

func TestGivesUpAfterFiveTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := f.client(t, f)
		for range 10 {
			f.fail(fault{status: 500, body: `{"status":500,"message":"LiveKit failed"}`})
		}
		_, err := c.Session(t.Context(), sessionID)
		if a, ok := errors.AsType[*syncflow.APIError](err); !ok || a.Status != 500 ||
			!strings.Contains(err.Error(), "5 tries") {
			t.Errorf("error %v", err)
		}
		if n := len(f.log()); n != 5 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := f.client(t, f)
		f.fail(fault{status: 429, header: map[string]string{"Retry-After": "7"}},
			fault{status: 503, header: map[string]string{"Retry-After": "86400"}})
		begin := time.Now()
		if _, err := c.Project(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d != 67*time.Second {
			t.Errorf("took %v, want 7 s and the most, a minute", d)
		}
	})
}

func TestAStalledRequestIsGivenUpAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.hold = make(chan struct{})
		c := f.client(t, f)
		var pauses []time.Duration
		c.SetJitter(whole(&pauses))
		begin := time.Now()
		time.AfterFunc(41*time.Second, func() { f.mu.Lock(); f.hold = nil; f.mu.Unlock() })
		// The first try ends after 40 s. The second begins at 40.5 s and stalls as well.
		if _, err := c.Project(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d != 81500*time.Millisecond {
			t.Errorf("took %v", d)
		}
	})
}

func TestCancellationEndsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := f.client(t, f)
		f.fail(fault{status: 503, header: map[string]string{"Retry-After": "60"}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := c.Project(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if d := time.Since(begin); d != time.Second {
			t.Errorf("took %v", d)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestAClosedIdleConnectionCostsNoPause uses real connections: the server closes one while the next
// request is sent.
func TestAClosedIdleConnectionCostsNoPause(t *testing.T) {
	f := newFake(t)
	srv := httptest.NewServer(f)
	defer srv.Close()
	c, err := syncflow.New(syncflow.Options{
		BaseURL: srv.URL, Key: "aB3dE6gH9k", Secret: secretKey,
		ProjectID: projectID,
	})
	if err != nil {
		t.Fatal(err)
	}
	var pauses []time.Duration
	c.SetJitter(whole(&pauses))
	if _, err := c.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.fail(fault{status: -1})
	// POST: net/http does not repeat it
	if _, err := c.Token(t.Context(), sessionID, "class-1", "bot"); err != nil {
		t.Fatal(err)
	}
	if len(pauses) != 0 {
		t.Errorf("paused %v", pauses)
	}
}

func TestRedirectIsExplainedAndNotFollowed(t *testing.T) {
	f := newFake(t)
	c := f.client(t, f)
	f.fail(fault{
		status: 301, contentType: "text/html", body: "<html>moved",
		header: map[string]string{"Location": "https://syncflow.test/projects"},
	})
	_, err := c.Token(t.Context(), sessionID, "class-1", "bot")
	if err == nil || !strings.Contains(err.Error(), "redirect to https://syncflow.test/projects") ||
		len(f.log()) != 1 {
		t.Errorf("error %v, requests %v", err, f.log())
	}
}

func TestStrangeElementsOfAListAreSkipped(t *testing.T) {
	f := newFake(t)
	c := f.client(t, f)
	f.fail(fault{
		status: 200,
		body:   `[{"id":"a","status":"Started","startedAt":"soon"},{"id":7},null,{},"x",{"id":"b","startedAt":1.5e9,"participants":null}]`,
	})
	ss, err := c.Sessions(t.Context())
	if err != nil || len(ss) != 2 || ss[0].ID != "a" || ss[1].ID != "b" {
		t.Errorf("%+v, %v", ss, err)
	}
}

func TestMetricsAreSharedAndClosed(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	metrics := syncflow.NewMetrics(reg)
	f := newFake(t)
	for range 2 {
		c, err := syncflow.New(syncflow.Options{
			BaseURL: "http://x", Key: "aB3dE6gH9k", Secret: secretKey, ProjectID: projectID,
			HTTPClient: &http.Client{Transport: f}, Metrics: metrics,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Project(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Session(t.Context(), ghostID); err == nil {
			t.Fatal("no error")
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "livekit_data_egress_api_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			got[strings.Join(labels, ",")] = m.GetCounter().GetValue()
		}
	}
	want := map[string]float64{
		"endpoint=project,outcome=ok":           2,
		"endpoint=session,outcome=server_error": 2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBadArgumentsDoNotReachTheAPI(t *testing.T) {
	f := newFake(t)
	c := f.client(t, f)
	_, e1 := c.Session(t.Context(), "../../x")
	_, e2 := c.Token(t.Context(), sessionID, "class-1", "")
	_, e3 := c.EnsureDevice(t.Context(), "text-egress", "a.b")
	_, e4 := c.EnsureDevice(t.Context(), "text-egress", strings.Repeat("a", 51))
	if e1 == nil || e2 == nil || e3 == nil || e4 == nil || len(f.log()) != 0 {
		t.Errorf("%v, %v, %v, %v, requests %v", e1, e2, e3, e4, f.log())
	}
}

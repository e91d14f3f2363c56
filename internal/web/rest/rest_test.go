package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/internal/web/problem"
	"github.com/syncflow/textegress/internal/web/rest"
)

// everything are the rights of a test that is not about rights.
var everything = access.Rights{Read: true, Act: true, Operator: "kim"}

// request returns a request with rights.
func request(ctx context.Context, has access.Rights, method, target string) *http.Request {
	return httptest.NewRequestWithContext(access.NewContext(ctx, has), method, target, nil)
}

func ask(t *testing.T, s overview.Service, has access.Rights, method, target string,
) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	rest.New(rest.Options{Service: s}).ServeHTTP(w, request(t.Context(), has, method, target))
	return w
}

type linesPage struct {
	Version string
	Text    bool
	Lines   []struct {
		N               int64
		Topic, Identity string
	}
	Next     int64
	Complete bool
}

func lines(t *testing.T, s overview.Service, query string) (p linesPage, ns []int64) {
	t.Helper()
	got := ask(t, s, everything, "GET", "/api/v1/recordings/EG_1/events?"+query)
	if got.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", query, got.Code, got.Body)
	}
	if err := json.Unmarshal(got.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	for _, l := range p.Lines {
		ns = append(ns, l.N)
	}
	return p, ns
}

// TestProblems: bad input gets a problem document that says what to do, and reveals nothing.
func TestProblems(t *testing.T) {
	tests := []struct {
		method, target string
		has            access.Rights
		status         int
		detail         string
	}{
		{"GET", "none", everything, 404, "openapi.json lists"},
		{"POST", "recordings", everything, 405, "read with GET"},
		{"DELETE", "recordings/EG_1", everything, 405, "read with GET"},
		{"GET", "status?verbose=1", everything, 400, `"verbose" is unknown`},
		{"GET", "recordings?limit=0", everything, 400, "from 1 to 500"},
		{"GET", "recordings?limit=x", everything, 400, "from 1 to 500"},
		{"GET", "recordings?limit=1&limit=2", everything, 400, "once"},
		{"GET", "recordings?from=yesterday", everything, 400, "from is a time such as"},
		{"GET", "recordings?cursor=bad", everything, 400, "the cursor is not one"},
		{"GET", "recordings?q=%zz", everything, 400, "malformed"},
		{"GET", "recordings/EG_none", everything, 404, "no such recording"},
		{"GET", "recordings/..%2F..%2Fetc", everything, 404, "no such recording"},
		{"GET", "recordings/EG_error", everything, 500, "Its log says more"},
		{"GET", "recordings/EG_gone/events", everything, 410, "removed after"},
		{"GET", "recordings/EG_later/events", everything, 503, "the store does not answer"},
		{"GET", "recordings/EG_later/timeline", everything, 503, "the store does not answer"},
		{"GET", "recordings/EG_1/events?from=0", everything, 400, "from is a whole number"},
		{"GET", "recordings/EG_1/events?topic=a*b", everything, 400, "topic is malformed"},
		{"GET", "recordings/EG_1/events?since=soon", everything, 400, "or a duration such as"},
		{"GET", "recordings/EG_1/events?wait=31", everything, 400, "from 0 to 30"},
		{"GET", "recordings/EG_1/events", access.Rights{}, 401, "Bearer"},
		{"GET", "recordings/EG_1/timeline", access.Rights{}, 401, "Bearer"},
		{"GET", "recordings/EG_none/events", access.Rights{}, 401, "Bearer"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			got := ask(t, newFake(3), tt.has, tt.method, "/api/v1/"+tt.target)
			var d problem.Document
			if err := json.Unmarshal(got.Body.Bytes(), &d); err != nil {
				t.Fatalf("%v: %s", err, got.Body)
			}
			if got.Code != tt.status || d.Status != tt.status || d.Title == "" ||
				!strings.Contains(d.Detail, tt.detail) ||
				got.Header().Get("Content-Type") != problem.ContentType {
				t.Errorf("%d %+v", got.Code, d)
			}
			if strings.Contains(got.Body.String(), "SECRET") {
				t.Errorf("an internal error is shown: %s", got.Body)
			}
			if tt.status == 503 && got.Header().Get("Retry-After") == "" {
				t.Error("Retry-After is missing")
			}
		})
	}
}

// TestWithoutRights: whoever may not read sees sessions and counts, but nobody's name.
func TestWithoutRights(t *testing.T) {
	f := newFake(1)
	for _, target := range []string{"status", "recordings", "recordings/EG_1"} {
		less := ask(t, f, access.Rights{}, "GET", "/api/v1/"+target)
		all := ask(t, f, everything, "GET", "/api/v1/"+target)
		if less.Code != 200 || strings.Contains(less.Body.String(), `"people"`) ||
			strings.Contains(less.Body.String(), `"text_allowed":true`) {
			t.Errorf("%s: %d %s", target, less.Code, less.Body)
		}
		missing(t, less.Body.String(), `"room_name":"SECRET"`, `"silent":1`)
		missing(t, all.Body.String(), `"people"`)
	}
}

func TestRecordingsQuery(t *testing.T) {
	f := newFake(0)
	from := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	got := ask(t, f, everything, "GET", "/api/v1/recordings?"+url.Values{
		"q": {"7a"}, "project": {"p"}, "from": {"2026-03-02T10:00:00+01:00"},
		"to": {"2026-03-03T00:00:00Z"}, "cursor": {"c"}, "limit": {"7"},
	}.Encode())
	if got.Code != 200 {
		t.Fatal(got.Body)
	}
	if !f.query.From.Equal(from) {
		t.Error(f.query.From)
	}
	f.query.From = from
	want := overview.Query{
		Text: "7a", Project: "p", From: from, To: from.Add(15 * time.Hour), Cursor: "c", Limit: 7,
	}
	if d := cmp.Diff(want, f.query); d != "" {
		t.Error(d)
	}
}

func TestLines(t *testing.T) {
	f := newFake(10)
	f.finish()
	tests := []struct {
		query    string
		ns       []int64
		next     int64
		complete bool
	}{
		{"from=9", []int64{9, 10}, 11, false},
		{"from=11", nil, 11, true},
		{"limit=3", []int64{1, 2, 3}, 4, false},
		{"topic=chat&limit=2", []int64{2, 4}, 5, false},
		{"identity=b*&topic=log", []int64{1, 5, 7}, 11, false},
		{"identity=alice&identity=bob", []int64{1, 3, 4, 6, 7, 9, 10}, 11, false},
		{"kind=joined", []int64{1}, 11, false},
		{"since=1970-01-01T00:00:09Z", []int64{9, 10}, 11, false},
		{"since=1h", nil, 11, false},
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			p, ns := lines(t, f, tt.query)
			if !slices.Equal(ns, tt.ns) || p.Next != tt.next || p.Complete != tt.complete ||
				p.Version != "v1" || !p.Text {
				t.Errorf("%v, %+v", ns, p)
			}
		})
	}
}

// While a recording is open, a page is what there is. An empty page says where to go on.
func TestLinesOfAnOpenRecording(t *testing.T) {
	f := newFake(2)
	if p, ns := lines(t, f, "wait=0"); !slices.Equal(ns, []int64{1, 2}) || p.Next != 3 || p.Complete {
		t.Errorf("%v, %+v", ns, p)
	}
	if p, ns := lines(t, f, "from=3&wait=0"); ns != nil || p.Next != 3 || p.Complete {
		t.Errorf("%v, %+v", ns, p)
	}
	done := make(chan []int64)
	go func() {
		_, ns := lines(t, f, "from=3&wait=30")
		done <- ns
	}()
	f.add()
	if ns := <-done; !slices.Equal(ns, []int64{3}) {
		t.Errorf("%v", ns)
	}
}

// Showing text is logged with who asked, and without anybody of the recording.
func TestTextIsLogged(t *testing.T) {
	for _, text := range []bool{true, false} {
		f := newFake(1)
		f.text = text
		f.finish()
		var log bytes.Buffer
		rest.New(rest.Options{
			Service: f, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		}).ServeHTTP(httptest.NewRecorder(), request(t.Context(), everything, "GET",
			"/api/v1/recordings/EG_1/events"))
		if got := strings.Contains(log.String(), "action=text operator=kim id=EG_1"); got != text {
			t.Errorf("text %v: %s", text, log.String())
		}
		if strings.Contains(log.String(), "bob") {
			t.Errorf("a participant is logged: %s", log.String())
		}
	}
}

// events reads server-sent events from a response.
func readStream(t *testing.T, resp *http.Response) func() string {
	t.Helper()
	var buf []byte
	return func() string {
		for {
			if i := bytes.Index(buf, []byte("\n\n")); i >= 0 {
				ev := string(buf[:i])
				buf = buf[i+2:]
				if ev != ":" {
					return ev
				}
				continue
			}
			part := make([]byte, 4096)
			n, err := resp.Body.Read(part)
			buf = append(buf, part[:n]...)
			if n == 0 && err != nil {
				return "closed"
			}
		}
	}
}

func TestStream(t *testing.T) {
	f := newFake(4)
	handler := rest.New(rest.Options{Service: f})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(access.NewContext(r.Context(), everything)))
	}))
	defer server.Close()
	open := func(query, lastID string) func() string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
			server.URL+"/api/v1/recordings/EG_1/events?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/event-stream")
		if lastID != "" {
			req.Header.Set("Last-Event-ID", lastID)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		if resp.StatusCode != 200 ||
			!strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
			t.Fatalf("%s %s", resp.Status, resp.Header)
		}
		return readStream(t, resp)
	}
	line := func(n int) string {
		return fmt.Sprintf("id: %d\ndata: %s", n, f.lines[n-1].JSON)
	}
	want := func(next func() string, events ...string) {
		t.Helper()
		for _, e := range events {
			if got := next(); got != e {
				t.Errorf("got %q, want %q", got, e)
			}
		}
	}
	version := func(from int) string {
		return fmt.Sprintf("event: version\ndata: {\"version\":\"v1\",\"text\":true,\"from\":%d}",
			from)
	}
	all := open("", "")
	want(all, version(1), line(1), line(2), line(3), line(4))
	some := open("topic=chat", "")
	want(some, version(1), line(2), line(4))
	f.add()
	f.add()
	want(all, line(5), line(6))
	want(some, line(6))
	resumed := open("from=1", "4") // an EventSource repeats its address
	want(resumed, version(5), line(5), line(6))
	f.finish()
	for _, next := range []func() string{all, some, resumed} {
		want(next, "event: end\ndata: {\"last\":6}", "closed")
	}
	want(open("", "6"), version(7), "event: end\ndata: {\"last\":6}", "closed")

	bad := request(t.Context(), everything, "GET", "/api/v1/recordings/EG_1/events")
	bad.Header.Set("Accept", "text/event-stream")
	bad.Header.Set("Last-Event-ID", "x")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, bad)
	if w.Code != http.StatusBadRequest {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

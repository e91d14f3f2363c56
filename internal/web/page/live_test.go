package page_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/internal/web/page/pagetest"
)

// serve serves the page to somebody with the given rights.
func serve(t *testing.T, s overview.Service, rights access.Rights) string {
	t.Helper()
	h := newPage(s)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(access.NewContext(r.Context(), rights)))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// update is an event of the stream of changes.
type update struct {
	Title, Icon, Assets string
	Parts               [][2]string
	End                 bool
}

// text is what a person reads in the parts that an update has.
func (u update) text() string {
	var b strings.Builder
	for _, p := range u.Parts {
		b.WriteString(text(p[1]))
	}
	return b.String()
}

// changes opens a stream and returns a function that waits for its next event.
func changes(t *testing.T, url string) (next func() update, leave func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	in := bufio.NewScanner(answer.Body)
	in.Buffer(nil, 1<<22)
	return func() update {
		t.Helper()
		for in.Scan() {
			data, ok := strings.CutPrefix(in.Text(), "data: ")
			if !ok {
				continue
			}
			var u update
			if err := json.Unmarshal([]byte(data), &u); err != nil {
				t.Fatal(err)
			}
			return u
		}
		t.Fatalf("the stream has ended: %v", in.Err())
		return update{}
	}, cancel
}

// The stream begins with everything, then has what changed and nothing else; whoever connects
// again gets everything again.
func TestStream(t *testing.T) {
	t.Parallel()
	o := with(pagetest.Class(at, "class-7a", 3), pagetest.Class(at, "class-7b", 3))
	s := pagetest.New(o)
	url := serve(t, s, operator) + "/stream"
	next, leave := changes(t, url)
	for _, want := range []string{"Recording 2 sessions", "class-7a", "class-7b", "Alice", "Chen"} {
		if got := next; !strings.Contains(first(got), want) {
			t.Errorf("%q is missing at the start", want)
		}
		leave()
		next, leave = changes(t, url)
	}
	all := next()
	if all.Title != "● 2 recording" || all.Icon != "ok" {
		t.Errorf("the tab says %q, %q", all.Title, all.Icon)
	}

	o = with(pagetest.Class(at, "class-7a", 3), pagetest.Class(at, "class-7b", 3))
	o.Sessions[0].People[1].Messages = 98765
	s.Set(o)
	u := next()
	if got := u.text(); !strings.Contains(got, "Bob") || !strings.Contains(got, "98,765") {
		t.Errorf("the change is missing: %q", got)
	}
	if len(u.Parts) != 1 {
		t.Errorf("%d parts were sent for one number of one person: %q", len(u.Parts), u.text())
	}
	leave()

	next, _ = changes(t, url)
	if again := next(); len(again.Parts) != len(all.Parts) ||
		!strings.Contains(again.text(), "98,765") {
		t.Errorf("connected again: %d parts, want %d", len(again.Parts), len(all.Parts))
	}
}

func first(next func() update) string { return next().text() }

// What passes by itself is no change.
func TestStream_Quiet(t *testing.T) {
	t.Parallel()
	o := with(pagetest.Class(at, "class-7a", 3))
	s := pagetest.New(o)
	next, _ := changes(t, serve(t, s, operator)+"/stream")
	next()
	// Nothing but the time of the service changes, up to the next sign of life.
	o.At = o.At.Add(6 * time.Second)
	o.Sessions[0].DurableUpTo = o.At
	s.Set(o)
	if u := next(); len(u.Parts) != 0 {
		t.Errorf("parts were sent although nothing changed: %q", u.Parts)
	}
}

// A stream names nobody to somebody without a login.
func TestStream_Anonymous(t *testing.T) {
	t.Parallel()
	o := with(pagetest.Troubled(at, "class-7a", 30))
	url := serve(t, pagetest.New(o), nobody)
	for _, path := range []string{
		"/stream", "/stream?open=EG_class-7a", "/recordings/EG_class-7a/stream",
	} {
		next, leave := changes(t, url+path)
		u := next()
		if !strings.Contains(u.text(), "1 missing") {
			t.Errorf("%s: counts are missing: %q", path, u.text())
		}
		for _, p := range u.Parts {
			anonymous(t, p[1], o)
		}
		leave()
	}
}

// The stream of one recording ends with it, and that of an unknown one at once.
func TestStream_End(t *testing.T) {
	t.Parallel()
	s := pagetest.New(with(pagetest.Class(at, "class-7a", 3)))
	url := serve(t, s, operator)
	next, _ := changes(t, url+"/recordings/EG_class-7a/stream")
	if u := next(); u.End || !strings.Contains(u.text(), "Chen") {
		t.Errorf("the start: %+v", u)
	}
	s.Set(pagetest.Empty(at))
	if u := next(); !u.End {
		t.Errorf("the recording has ended, its stream says %+v", u)
	}
	next, _ = changes(t, url+"/recordings/EG_nope/stream")
	if u := next(); !u.End {
		t.Errorf("of an unknown recording: %+v", u)
	}
}

// New lines of the text arrive by themselves, filtered by topic.
func TestTextStream(t *testing.T) {
	t.Parallel()
	s := class()
	url := serve(t, s, reader)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet,
		url+"/recordings/EG_class-7a/text/stream?topic=chat&from=3", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	s.Say("learner-02", "log", "measured 313")
	s.Say("learner-03", "chat", "it <b>grows</b>")
	in := bufio.NewScanner(answer.Body)
	for in.Scan() {
		data, ok := strings.CutPrefix(in.Text(), "data: ")
		if !ok {
			continue
		}
		var l struct {
			N           int
			Topic, HTML string
		}
		if err := json.Unmarshal([]byte(data), &l); err != nil {
			t.Fatal(err)
		}
		if l.N != 4 || l.Topic != "chat" || !strings.Contains(l.HTML, "it &lt;b&gt;grows") {
			t.Errorf("the first line is %+v", l)
		}
		return
	}
	t.Fatalf("no line: %v", in.Err())
}

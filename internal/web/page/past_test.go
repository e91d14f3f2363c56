package page_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/internal/web/page"
	"github.com/syncflow/textegress/internal/web/page/pagetest"
)

func class() *pagetest.Service {
	s := pagetest.New(with(pagetest.Troubled(at, "class-7a", 30)), pagetest.Past(at)...)
	s.Say("learner-01", "chat", "more light")
	s.Say("learner-02", "log", "measured 312")
	return s
}

// TestPages asserts what a person reads on the pages of recordings, by the rights.
func TestPages(t *testing.T) {
	tests := []struct {
		name, path string
		rights     access.Rights
		code       int
		want, not  []string
	}{
		{"list", "/recordings", nobody, 200, []string{
			"class-6b Mon 2 Mar 2026, 06:10 UTC 43 min 22 28,105 outage 14 s, 2 people affected " +
				"s3://study/Study 1-ab12/class-6b/",
			"over before we could join",
		}, []string{"Older", "Newest Older"}},
		{
			"search", "/recordings?q=6B", operator, 200,
			[]string{"Found", "class-6b", "Show all"},
			[]string{"class-6c"},
		},
		{
			"found nothing", "/recordings?q=zzz", operator, 200,
			[]string{"No recording fits."},
			[]string{"class-6c"},
		},
		{"delivered", "/recordings/EG_class-6b", reader, 200, []string{
			"class-6b outage 14 s, 2 people affected", "Open the report", "Read the text",
			"Download everything (8.4 MB)", "The recorder was in the room for 44 min 3 s",
			"Length 43 min", "s3://study/Study 1-ab12/class-6b/", "For a methods section",
			"learner-04 Dörte in the room 08:29:00 to 08:53:00", "LiveKit did not answer",
		}, nil},
		{"delivered, without a login", "/recordings/EG_class-6b", nobody, 200, []string{
			"class-6b outage 14 s, 2 people affected", "Length 43 min", "For a methods section",
		}, []string{"Open the report", "Read the text", "Download", "Dörte", "learner-"}},
		{"running", "/recordings/EG_class-7a", operator, 200, []string{
			"Follow the text", "Stop recording…", "1 missing 1 silent 28 here 1 left", "Zoë",
			"Somebody withdraws from the study…", "learner-01",
		}, nil},
		{
			"running, without the right to act", "/recordings/EG_class-7a", reader, 200,
			[]string{"Follow the text", "Zoë"},
			[]string{"Stop recording…", "Somebody withdraws from the study…"},
		},
		{
			"running, without a login", "/recordings/EG_class-7a", nobody, 200,
			[]string{"1 missing 1 silent 28 here"},
			[]string{"Follow the text", "Stop recording…", "Zoë", "learner-", "withdraws"},
		},
		{"text", "/recordings/EG_class-7a/text", reader, 200, []string{
			"learner-01 chat more light", "learner-02 log measured 312",
		}, nil},
		{
			"text of a topic", "/recordings/EG_class-7a/text?topic=log", reader, 200,
			[]string{"measured 312"},
			[]string{"more light"},
		},
		{
			"text of a person", "/recordings/EG_class-7a/text?identity=learner-01", reader, 200,
			[]string{"more light"},
			[]string{"measured 312"},
		},
		{"unknown recording", "/recordings/EG_nope", operator, 404, []string{
			"There is no such recording", "See the list of recordings.", "To the page of the service",
		}, nil},
		{
			"text of an unknown recording", "/recordings/EG_nope/text", operator, 404,
			[]string{"There is no such recording"},
			nil,
		},
		{
			"stop an unknown recording", "/act/stop?id=EG_nope", operator, 404,
			[]string{"There is no such recording"},
			nil,
		},
		{
			"unknown page", "/nope", operator, 404,
			[]string{"There is no such page", "The first page shows what is recorded now."},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := request(t, class(), tt.rights, tt.path, nil)
			got := text(w.Body.String())
			if w.Code != tt.code {
				t.Errorf("status %d, want %d", w.Code, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is missing in %s", want, got)
				}
			}
			for _, not := range tt.not {
				if strings.Contains(w.Body.String(), not) {
					t.Errorf("%q is in the page", not)
				}
			}
			if p := w.Header().Get("Content-Security-Policy"); p != page.Policy && tt.code == 200 {
				t.Errorf("policy %q", p)
			}
		})
	}
}

// Without a login a browser is led to it, and nothing of what was said is in the answer.
func TestLoginNeeded(t *testing.T) {
	for _, path := range []string{"text", "text/stream", "report", "zip", "timeline"} {
		w := request(t, class(), nobody, "/recordings/EG_class-7a/"+path, nil)
		if w.Code != http.StatusSeeOther ||
			!strings.HasPrefix(w.Header().Get("Location"), "/login") ||
			strings.Contains(w.Body.String(), "more light") {
			t.Errorf("%s: %d to %q: %s", path, w.Code, w.Header().Get("Location"), w.Body)
		}
	}
	for _, path := range []string{"/act/stop", "/act/record", "/act/exclude"} {
		form := url.Values{"id": {"EG_class-7a"}}
		s := class()
		if w := request(t, s, nobody, path, form); w.Code != http.StatusUnauthorized {
			t.Errorf("%s without a login: %d", path, w.Code)
		}
		if w := request(t, s, reader, path, form); w.Code != http.StatusForbidden {
			t.Errorf("%s without the right to act: %d", path, w.Code)
		}
		if done := s.Done(); len(done) > 0 {
			t.Errorf("done without the right to act: %q", done)
		}
	}
}

// Where LIVE_TEXT is off, nobody gets the text from the page.
func TestTextRefused(t *testing.T) {
	session := pagetest.Class(at, "class-7a", 3)
	session.TextAllowed = false
	s := pagetest.New(with(session))
	s.Say("learner-01", "chat", "more light")
	for _, path := range []string{"text", "text/stream", "zip"} {
		w := request(t, s, operator, "/recordings/EG_class-7a/"+path, nil)
		if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "LIVE_TEXT") ||
			strings.Contains(w.Body.String(), "more light") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if got := text(request(t, s, operator, "/", nil).Body.String()); strings.Contains(got, "Text") {
		t.Errorf("the page offers the text: %s", got)
	}
}

// Filters reach the service; dates are those of the reader's calendar, the last one included.
func TestFilters(t *testing.T) {
	s := class()
	request(t, s, operator, "/recordings?q=+7a+&project=p1&from=2026-03-01&to=2026-03-02"+
		"&zone=Europe/Berlin&cursor=c", nil)
	q := s.LastQuery()
	from := time.Date(2026, 2, 28, 23, 0, 0, 0, time.UTC)
	to := time.Date(2026, 3, 2, 23, 0, 0, 0, time.UTC)
	if q.Text != "7a" || q.Project != "p1" || q.Cursor != "c" || !q.From.Equal(from) ||
		!q.To.Equal(to) {
		t.Errorf("asked for %+v", q)
	}
	request(t, s, operator, "/recordings?from=yesterday&to=&zone=nowhere", nil)
	if q := s.LastQuery(); q != (overview.Query{}) {
		t.Errorf("with malformed dates asked for %+v", q)
	}
}

// A list of many recordings leads to older ones, with the same filter, and back.
func TestPaging(t *testing.T) {
	var past []overview.Recording
	for range 20 {
		past = append(past, pagetest.Past(at)...)
	}
	s := pagetest.New(pagetest.Empty(at), past...)
	body := request(t, s, operator, "/recordings?q=class", nil).Body.String()
	if !strings.Contains(body, `href="/recordings?cursor=further&amp;q=class">Older`) ||
		strings.Contains(body, ">Newest<") {
		t.Errorf("the first page does not lead to older ones only: %s", text(body))
	}
	body = request(t, s, operator, "/recordings?q=class&cursor=further", nil).Body.String()
	if !strings.Contains(body, `href="/recordings?q=class">Newest`) {
		t.Errorf("no way back to the newest: %s", text(body))
	}
}

// Each action is asked for first, done by POST, and leads back; a refusal says why.
func TestActs(t *testing.T) {
	id := url.Values{"id": {"EG_class-7a"}}
	who := url.Values{"id": {"EG_class-7a"}, "identity": {"learner-03"}}
	scoped := func(scope string) url.Values {
		return url.Values{"id": who["id"], "identity": who["identity"], "scope": {scope}}
	}
	tests := []struct {
		name, path string
		form       url.Values
		question   string // if nothing is done yet
		done       string
		back       string
	}{
		{"stop?", "/act/stop?id=EG_class-7a", nil, "Stop recording class-7a?", "", ""},
		{"stop", "/act/stop", id, "", "stop EG_class-7a", "/"},
		{"record?", "/act/record?session=s-8&project=p1&room=staff", nil, "Record staff?", "", ""},
		{
			"record", "/act/record",
			url.Values{"session": {"s-8"}, "project": {"p1"}},
			"",
			"record s-8 p1", "/",
		},
		{"exclude?", "/act/exclude", who, "Stop recording “learner-03”?", "", ""},
		{"exclude, odd scope", "/act/exclude", scoped("x"), "Stop recording “learner-03”?", "", ""},
		{
			"exclude", "/act/exclude", scoped("session"), "",
			"exclude learner-03 session-class-7a p1", "/recordings/EG_class-7a",
		},
		{
			"exclude for ever", "/act/exclude", scoped("project"), "", "exclude learner-03  p1",
			"/recordings/EG_class-7a",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := class()
			w := request(t, s, operator, tt.path, tt.form)
			if tt.question != "" {
				if w.Code != 200 || !strings.Contains(text(w.Body.String()), tt.question) {
					t.Errorf("%d, no question: %s", w.Code, text(w.Body.String()))
				}
				if done := s.Done(); len(done) > 0 {
					t.Errorf("done before the answer: %q", done)
				}
				return
			}
			if w.Code != http.StatusSeeOther || w.Header().Get("Location") != tt.back {
				t.Errorf("%d to %q, want %q", w.Code, w.Header().Get("Location"), tt.back)
			}
			if done := s.Done(); !slices.Equal(done, []string{tt.done}) {
				t.Errorf("done %q, want %q", done, tt.done)
			}
			s.Refuse(errors.New("the disk says <no>"))
			w = request(t, s, operator, tt.path, tt.form)
			if got := text(w.Body.String()); w.Code != http.StatusConflict ||
				!strings.Contains(got, "This was not done: the disk says <no>") {
				t.Errorf("refused: %d %s", w.Code, got)
			}
		})
	}
}

package page_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/internal/web/page"
	"github.com/syncflow/textegress/internal/web/page/pagetest"
)

// rehearse sends a request of the page of rehearsals, of somebody with the given rights.
func rehearse(t *testing.T, s *pagetest.Service, rights access.Rights, method, path string,
	form url.Values,
) (int, string) {
	t.Helper()
	h := page.New(page.Options{Service: s, Logger: slog.New(slog.DiscardHandler)})
	r := httptest.NewRequestWithContext(access.NewContext(t.Context(), rights), method, path,
		strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestRehearsal(t *testing.T) {
	s := pagetest.New(overview.Overview{Projects: []overview.ProjectRef{
		{ID: "p-1", Name: "Study <1>", Platform: "LiveKit"},
	}})
	operator := access.Rights{Read: true, Act: true, Operator: "sam"}
	reader := access.Rights{Read: true, Operator: "kim"}

	// Nothing happens before the button, and whoever may not act has none.
	code, body := rehearse(t, s, operator, "GET", "/rehearsal", nil)
	if code != http.StatusOK || !strings.Contains(body, "Study &lt;1&gt;") ||
		!strings.Contains(body, `value="p-1"`) {
		t.Errorf("the page of an operator: %d %s", code, body)
	}
	for _, method := range []string{"GET /rehearsal", "POST /act/rehearse"} {
		method, path, _ := strings.Cut(method, " ")
		code, _ := rehearse(t, s, reader, method, path, url.Values{"project": {"p-1"}})
		if code != http.StatusForbidden {
			t.Errorf("%s %s without the right to act: %d", method, path, code)
		}
	}
	_, body = rehearse(t, s, operator, "POST", "/act/rehearse", url.Values{"project": {"p-2"}})
	if !strings.Contains(body, "does not run") {
		t.Errorf("a project that does not run: %s", body)
	}
	if done := s.Done(); len(done) != 0 {
		t.Fatalf("done without a request: %q", done)
	}

	_, body = rehearse(t, s, operator, "POST", "/act/rehearse", url.Values{"project": {"p-1"}})
	for _, want := range []string{
		"This service records, delivers and verifies", "opened the room", "212 ms", ">ok<",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("after a rehearsal, %q is missing: %s", want, body)
		}
	}
	if want := []string{"rehearse p-1"}; !slices.Equal(s.Done(), want) {
		t.Errorf("done %q, want %q", s.Done(), want)
	}

	s.Refuse(errors.New("the bucket says <no>"))
	_, body = rehearse(t, s, operator, "POST", "/act/rehearse", url.Values{"project": {"p-1"}})
	if strings.Contains(body, "This service records, delivers and verifies") ||
		!strings.Contains(body, "failed") || !strings.Contains(body, "the bucket says &lt;no&gt;") {
		t.Errorf("after a failed rehearsal: %s", body)
	}
}

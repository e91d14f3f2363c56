package problem_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/web/problem"
)

// TestWrite: programs get a document, browsers a page, and nothing in it is taken for HTML.
func TestWrite(t *testing.T) {
	for accept, page := range map[string]bool{
		"": false, "*/*": false, "application/json": false, "text/event-stream": false,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true,
		"application/json, text/html;q=0.5":                               false,
		"text/html;q=0.9, application/json;q=0.8":                         true,
		"text/html;q=x": false,
		";;;,text/html": true,
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/x", nil)
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		w := httptest.NewRecorder()
		problem.Write(w, r, http.StatusNotFound, "No such <b>", "Look `<i>`.")
		body, kind := w.Body.String(), w.Header().Get("Content-Type")
		switch {
		case w.Code != 404 || w.Header().Get("Cache-Control") != "no-store" ||
			w.Header().Get("X-Content-Type-Options") != "nosniff":
			t.Errorf("%q: %d %v", accept, w.Code, w.Header())
		case page && (!strings.HasPrefix(kind, "text/html") ||
			!strings.Contains(body, "<h1>No such &lt;b&gt;</h1>") ||
			!strings.Contains(body, "<p>Look <code>&lt;i&gt;</code>.</p>") ||
			w.Header().Get("Content-Security-Policy") != problem.Policy):
			t.Errorf("%q: %s\n%s", accept, kind, body)
		case !page && (kind != problem.ContentType || body != `{"type":"about:blank",`+
			`"title":"No such \u003cb\u003e","status":404,"detail":"Look `+"`\\u003ci\\u003e`"+`."}`+"\n"):
			t.Errorf("%q: %s\n%s", accept, kind, body)
		}
	}
}

package page_test

import (
	"context"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/internal/web/page"
	"github.com/syncflow/textegress/internal/web/page/pagetest"
)

var (
	at       = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	operator = access.Rights{Read: true, Act: true, Operator: "sam"}
	reader   = access.Rights{Read: true, Operator: "kim"}
	nobody   = access.Rights{}
)

func newPage(s overview.Service) http.Handler {
	return page.New(page.Options{Service: s, Logger: slog.New(slog.DiscardHandler)})
}

// request sends a request of somebody with the given rights. A form makes it a POST.
func request(t *testing.T, s overview.Service, rights access.Rights, path string,
	form url.Values,
) *httptest.ResponseRecorder {
	t.Helper()
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // ends a stream
	defer cancel()
	r := httptest.NewRequestWithContext(access.NewContext(ctx, rights), method, path,
		strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	newPage(s).ServeHTTP(w, r)
	return w
}

var (
	unread = regexp.MustCompile(`(?s)<(script|noscript|title)\b.*?</(script|noscript|title)>`)
	tags   = regexp.MustCompile(`<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
)

// text is what a person reads in a page.
func text(page string) string {
	page = tags.ReplaceAllString(unread.ReplaceAllString(page, " "), " ")
	return spaces.ReplaceAllString(html.UnescapeString(page), " ")
}

func with(sessions ...overview.Session) overview.Overview {
	o := pagetest.Empty(at)
	o.Sessions = sessions
	return o
}

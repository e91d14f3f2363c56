package rest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/syncflow/textegress/internal/web/rest"
)

// FuzzRequest: whatever a client asks, it gets an answer in JSON, and never an internal error.
func FuzzRequest(f *testing.F) {
	for _, q := range []string{
		"from=1&limit=2", "topic=%22%22", "since=5m&kind=data", "cursor=x&q=%00", "from=1;limit=2",
		"identity=a*&identity=%5C",
	} {
		for _, path := range []string{"status", "recordings", "recordings/EG_1/events", "x/../y"} {
			f.Add(path, q, "3")
		}
	}
	service := newFake(5)
	service.finish()
	handler := rest.New(rest.Options{Service: service})
	f.Fuzz(func(t *testing.T, path, query, lastID string) {
		r := request(t.Context(), everything, http.MethodGet, "/")
		r.URL = &url.URL{Path: rest.Prefix + path, RawQuery: query}
		r.Header.Set("Last-Event-ID", lastID)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code == http.StatusTemporaryRedirect || w.Code == http.StatusMovedPermanently {
			return // to the clean path
		}
		if path == "recordings/EG_error" {
			return // fails on purpose
		}
		if w.Code == http.StatusInternalServerError || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s?%s: %d %s", path, query, w.Code, w.Body)
		}
	})
}

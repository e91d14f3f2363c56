package room

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestProbe: a server that refuses us at /rtc/v1 has it; what else can be there is told apart. A
// server before 1.11 refuses an unknown path with 404 where no token was sent, and a wrong token
// with 401.
func TestProbe(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		says   string // of the error; empty: none
	}{
		{"LiveKit 1.11", 401, "permissions denied", ""},
		{"LiveKit 1.8", 404, "404 page not found\n", "LiveKit 1.11 or later"},
		{"a proxy without a server", 502, "Bad Gateway", "502"},
		{"another server", 200, "<html>", "200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter,
				r *http.Request,
			) {
				if r.Header.Get("Authorization") != "" {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				if r.URL.Path != "/rtc/v1" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body)) // the client notices
			}))
			defer srv.Close()
			err := newClientOn(nil, Options{}, defaultTimes).Probe(t.Context(), srv.URL)
			switch {
			case c.says == "" && err != nil:
				t.Error(err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%v, want %q", err, c.says)
			}
			if je, ok := errors.AsType[*JoinError](err); ok &&
				je.Unsupported() != (c.status == 404) {
				t.Errorf("unsupported: %v", je.Unsupported())
			}
		})
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	for _, url := range []string{srv.URL, "livekit.example.org", "://"} {
		if err := newClientOn(nil, Options{}, defaultTimes).Probe(t.Context(), url); err == nil {
			t.Errorf("%s: no error", url)
		}
	}
}

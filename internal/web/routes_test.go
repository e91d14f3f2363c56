package web_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncflow/textegress/internal/web"
)

// Added routes are served under any Host, with a bounded body; they shadow nothing else.
func TestRoutes(t *testing.T) {
	var got string
	s := web.New(web.Options{
		Service: &fakeService{}, Gatherer: prometheus.NewRegistry(),
		Logger: slog.New(slog.DiscardHandler), Doors: newDoors(),
		Routes: map[string]http.Handler{
			"POST /livekit/webhook": http.HandlerFunc(
				func(w http.ResponseWriter, r *http.Request) {
					b, err := io.ReadAll(r.Body)
					if _, large := errors.AsType[*http.MaxBytesError](err); large {
						w.WriteHeader(http.StatusRequestEntityTooLarge)
					}
					got = string(b)
				}),
		},
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := s.HTTP(listener, "127.0.0.1:9464")
	done := make(chan error, 1)
	go func() { done <- endpoint.Run() }()
	t.Cleanup(func() {
		if err := errors.Join(endpoint.Close(t.Context()), <-done); err != nil {
			t.Log(err) // the context of the test has ended
		}
	})
	for _, c := range []struct {
		method, path, host, body string
		want                     int
	}{
		{"POST", "/livekit/webhook", "", "x", 200},
		{"POST", "/livekit/webhook", "egress.example.org", "y", 200},
		{"POST", "/livekit/webhook", "", strings.Repeat("z", 1<<20+1), 413},
		{"GET", "/livekit/webhook", "", "", 404},
		{"GET", "/healthz", "", "", 200},
		{"GET", "/healthz", "egress.example.org", "", 421},
		{"POST", "/healthz", "", "", 405},
	} {
		got = ""
		req := httptest.NewRequest(c.method, "http://"+listener.Addr().String()+c.path,
			strings.NewReader(c.body))
		req.RequestURI = ""
		if c.host != "" {
			req.Host = c.host
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.want || c.want == 200 && got != c.body ||
			resp.Header.Get("Cache-Control") != "no-store" && c.want != 421 {
			t.Errorf("%s %s at %q: %d, %.10q, want %d", c.method, c.path, c.host,
				resp.StatusCode, got, c.want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

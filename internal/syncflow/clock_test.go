package syncflow

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestClockOffset: the server's clock is read off its answers, to about a second.
func TestClockOffset(t *testing.T) {
	for _, ahead := range []time.Duration{0, 3 * time.Hour, -45 * time.Minute} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			_, _ = w.Write([]byte(`{"id":"x"}`)) // the client notices
		}))
		c, err := New(Options{
			BaseURL: srv.URL, Key: "k", Secret: "s",
			ProjectID: "0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11",
		})
		if err != nil {
			t.Fatal(err)
		}
		if d, known := c.ClockOffset(); known {
			t.Errorf("%v is known before an answer", d)
		}
		if _, err := c.Project(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d, known := c.ClockOffset(); !known || (d-ahead).Abs() > 2*time.Second {
			t.Errorf("%v, %v, want %v", d, known, ahead)
		}
		srv.Close()
	}
}

package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestNotReadyWithAWrongClock: a clock that is far from SyncFlow's is a reason.
func TestNotReadyWithAWrongClock(t *testing.T) {
	for _, tc := range []struct {
		ahead time.Duration // SyncFlow's clock
		says  string
	}{
		{10 * time.Second, ""},
		{time.Hour, "behind that of SyncFlow"},
		{-3 * time.Minute, "ahead of that of SyncFlow"},
	} {
		w := newWorld(t)
		w.api = serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Date", time.Now().Add(tc.ahead).UTC().Format(http.TimeFormat))
			w.syncflow.ServeHTTP(rw, r)
		}))
		w.env(w.directory(0, projectA, "out"))
		w.start()
		w.eventually("the project runs",
			func() bool { return w.project(projectA).State == "running" })
		if got := strings.Join(w.app.NotReady(), "\n"); !strings.Contains(got, tc.says) ||
			(got == "") != (tc.says == "") {
			t.Errorf("%v: %q, want %q", tc.ahead, got, tc.says)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	}
}

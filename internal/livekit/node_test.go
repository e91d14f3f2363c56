package livekit

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/session"
)

// TestSingleNode: a server is a single node only if it reports that it has no Redis.
func TestSingleNode(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		answer string
		want   bool
		err    string // part of it; "": none
	}{
		"without Redis": {
			500, `{"code":"internal","msg":"egress not connected (redis required)"}`, true, "",
		},
		"with Redis":     {200, `{"items":[]}`, false, ""},
		"another error":  {503, `{"code":"unavailable","msg":"no response"}`, false, "no response"},
		"no LiveKit":     {404, "redis required", false, "404"},
		"the key is bad": {401, "", false, "API key"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if r.URL.Path != "/twirp/livekit.Egress/ListEgress" ||
					!strings.Contains(string(body), projectProbe) {
					t.Errorf("%s %s", r.URL.Path, body)
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.answer)
			}
			srv := httptest.NewServer(http.HandlerFunc(answer))
			defer srv.Close()
			got, err := Key{ID: "k", Secret: "s"}.SingleNode(t.Context(), srv.URL)
			if got != c.want || (err == nil) != (c.err == "") ||
				err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v, %v", got, err)
			}
			if c.status == 401 && !errors.Is(err, session.ErrUnauthorized) {
				t.Errorf("error: %v", err)
			}
		})
	}
}

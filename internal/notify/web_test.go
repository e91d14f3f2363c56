package notify

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lk "github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"
)

// request is a request that a receiver got.
type request struct {
	url, token string
	body       string
	event      *lk.WebhookEvent
	accepted   bool
}

// answer decides on a request. It may block on ctx.
type answer func(ctx context.Context, url string, e *lk.WebhookEvent) (int, error)

// web stands for all receivers. It checks the signature of every request.
type web struct {
	t *testing.T

	mu       sync.Mutex
	requests []request
	batches  []batchRequest

	refuseLarger int // bytes; 0: no limit
	running      map[string]int
	most         map[string]int
	answer       answer // nil: 200
	header       http.Header
}

// RoundTrip implements [http.RoundTripper].
func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	url := r.URL.String()
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/webhook+json" {
		w.t.Errorf("%s with %q", r.Method, r.Header.Get("Content-Type"))
	}
	got := request{url: url, token: r.Header.Get("Authorization"), body: string(body)}
	w.verify(got)
	got.event = &lk.WebhookEvent{}
	decode := protojson.UnmarshalOptions{}
	messages := strings.HasPrefix(string(body), `{"event":"data_messages"`)
	decode.DiscardUnknown = messages // as LiveKit's receivers do
	if err := decode.Unmarshal(body, got.event); err != nil {
		w.t.Errorf("%s: %v", body, err)
	}
	w.mu.Lock()
	answer, header := w.answer, w.header
	w.running[url]++
	w.most[url] = max(w.most[url], w.running[url])
	w.mu.Unlock()
	code := http.StatusOK
	if w.refuseLarger > 0 && len(body) > w.refuseLarger {
		code = http.StatusRequestEntityTooLarge
	} else if answer != nil {
		code, err = answer(r.Context(), url, got.event)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[url]--
	got.accepted = err == nil && code == http.StatusOK
	if messages {
		w.addBatch(got)
	} else {
		w.requests = append(w.requests, got)
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: code, Header: header.Clone(),
		Body: io.NopCloser(strings.NewReader("secret answer")),
	}, nil
}

// verify checks the token as LiveKit's receivers do.
func (w *web) verify(r request) {
	var c struct {
		jwt.RegisteredClaims

		SHA256 string `json:"sha256"`
	}
	_, err := jwt.ParseWithClaims(r.token, &c,
		func(*jwt.Token) (any, error) { return []byte(key.Secret), nil },
		jwt.WithIssuer(key.ID), jwt.WithExpirationRequired(),
		jwt.WithValidMethods([]string{"HS256"}))
	if err != nil {
		w.t.Errorf("token: %v", err)
		return
	}
	if left := time.Until(c.ExpiresAt.Time); left <= 4*time.Minute || left > 5*time.Minute {
		w.t.Errorf("the token is valid for %v", left)
	}
	if c.SHA256 != digest(r.body) {
		w.t.Error("the token signs another body")
	}
}

func (w *web) set(f answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

// got returns what one receiver accepted, or was asked to, as "<egress id> <status>".
func (w *web) got(url string, all bool) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, r := range w.requests {
		if r.url == url && (all || r.accepted) {
			list = append(list, label(r.event))
		}
	}
	return list
}

func label(e *lk.WebhookEvent) string {
	status := strings.TrimPrefix(e.EgressInfo.Status.String(), "EGRESS_")
	return e.EgressInfo.EgressId + " " + status
}

// check checks the invariants of all requests so far: each event has one id, name and body, and the
// events of a recording arrive in order.
func (w *web) check() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	bodies, ids := map[string]string{}, map[string]string{}
	accepted := map[string]step{}
	for _, r := range w.requests {
		of := r.url + " " + label(r.event)
		if before, ok := bodies[of]; ok && before != r.body {
			w.t.Errorf("%s: sent\n%s\nand\n%s", of, before, r.body)
		}
		if before, ok := ids[r.event.Id]; ok && before != label(r.event) {
			w.t.Errorf("%s and %s have the same id", before, label(r.event))
		}
		bodies[of], ids[r.event.Id] = r.body, label(r.event)
		s := stepOf(r.event)
		recording := r.url + " " + r.event.EgressInfo.EgressId
		if s > accepted[recording]+1 && w.answer == nil {
			w.t.Errorf("%s was sent before the event before it was accepted", of)
		}
		if s < accepted[recording] {
			w.t.Errorf("%s was sent after the event after it", of)
		}
		if r.accepted {
			accepted[recording] = max(accepted[recording], s)
		}
	}
}

func stepOf(e *lk.WebhookEvent) step {
	s := stepEnded
	switch e.EgressInfo.Status {
	case lk.EgressStatus_EGRESS_STARTING:
		s = stepStarting
	case lk.EgressStatus_EGRESS_ACTIVE:
		s = stepActive
	case lk.EgressStatus_EGRESS_ENDING:
		s = stepEnding
	}
	return s
}

func status(code int) answer {
	return func(context.Context, string, *lk.WebhookEvent) (int, error) { return code, nil }
}

func hang(ctx context.Context, _ string, _ *lk.WebhookEvent) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/twitchtv/twirp"
	"go.uber.org/goleak"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/dataegress"
	"github.com/syncflow/textegress/internal/api"
	"github.com/syncflow/textegress/internal/api/apitest"
	lk "github.com/syncflow/textegress/internal/livekit"
)

// TestMain fails where a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	keyA = lk.Key{ID: "APIa", Secret: "secret of a"}
	keyB = lk.Key{ID: "APIb", Secret: "secret of b"}
	all  = map[string]any{"roomRecord": true}
)

// logBuffer holds a log.
type logBuffer interface {
	io.Writer
	fmt.Stringer
	Len() int
}

// world is a served API with two projects, "a" and "b", and a third, "twin", with the key of b.
type world struct {
	t       *testing.T
	service *apitest.Service
	log     logBuffer
	url     string
	client  *http.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, service: apitest.New(), log: &strings.Builder{}}
	srv := httptest.NewServer(w.handler())
	t.Cleanup(srv.Close)
	w.url, w.client = srv.URL, srv.Client()
	return w
}

func (w *world) handler() http.Handler {
	return api.New(api.Options{
		Service: w.service,
		Projects: func() []api.Project {
			return []api.Project{{"a", keyA}, {"b", keyB}, {"twin", keyB}, {ID: "keyless"}}
		},
		Logger: slog.New(slog.NewTextHandler(w.log, nil)),
	})
}

// as returns a context whose requests carry an access token.
func (w *world) as(key lk.Key, video map[string]any) context.Context {
	w.t.Helper()
	ctx, err := twirp.WithHTTPRequestHeaders(w.t.Context(), http.Header{
		"Authorization": {"Bearer " + apitest.Token(w.t, key, video)},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return ctx
}

// both are the clients of the two encodings.
func (w *world) both() map[string]dataegress.DataEgress {
	return map[string]dataegress.DataEgress{
		"protobuf": dataegress.NewDataEgressProtobufClient(w.url, w.client),
		"JSON":     dataegress.NewDataEgressJSONClient(w.url, w.client),
	}
}

func (w *world) ours() dataegress.DataEgress {
	return dataegress.NewDataEgressProtobufClient(w.url, w.client)
}

func (w *world) livekits() livekit.Egress {
	return livekit.NewEgressProtobufClient(w.url, w.client)
}

// start records a room of a project.
func (w *world) start(key lk.Key, project, room string) *livekit.EgressInfo {
	w.t.Helper()
	w.service.OpenRoom(project, room)
	e, err := w.ours().StartDataEgress(w.as(key, all),
		&dataegress.StartDataEgressRequest{RoomName: room})
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// wantError fails unless err is a twirp error with a code and a text that contains says.
func wantError(t *testing.T, what string, err error, code twirp.ErrorCode, says string) {
	t.Helper()
	var e twirp.Error
	if !errors.As(err, &e) || e.Code() != code || !strings.Contains(e.Msg(), says) {
		t.Errorf("%s: %v, want %s with %q", what, err, code, says)
	}
}

// post sends a raw request, and returns the status and the body of the response.
func (w *world) post(path string, header http.Header, body io.Reader) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header = header
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

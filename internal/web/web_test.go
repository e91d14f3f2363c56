package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/syncflow/textegress/internal/web"
	"github.com/syncflow/textegress/internal/web/access"
)

// fakeService answers what its fields say and remembers what it was asked to record.
type fakeService struct {
	status   web.Status
	notReady []string
	record   func(sessionID, project string) (string, error)
}

func (f *fakeService) Status() web.Status { return f.status }
func (f *fakeService) NotReady() []string { return f.notReady }
func (f *fakeService) Rehearse(_ context.Context, project string,
	report func(web.RehearsalStep),
) error {
	report(web.RehearsalStep{Name: "room", Result: "ok", Detail: "opened for " + project})
	report(web.RehearsalStep{Name: "joined", Result: "failed", Detail: "no UDP"})
	return errors.New("no UDP")
}

func (f *fakeService) Forget(_ context.Context, request []byte) ([]byte, error) {
	if string(request) == "{}" {
		return nil, errors.New("name the participant's identity")
	}
	return request, nil
}

func (f *fakeService) StopRecording(_ context.Context, id string) (string, error) {
	if id != "s-1" {
		return "", errors.New("no such recording")
	}
	return "DE_1", nil
}

func (f *fakeService) Exclude(_ context.Context, q web.ExcludeRequest) (web.ExcludeAnswer, error) {
	if q != (web.ExcludeRequest{Identity: "bob", SessionID: "s-1", Project: "p-1", Undo: true}) {
		return web.ExcludeAnswer{}, errors.New("the exclusion is in force, but not stored")
	}
	return web.ExcludeAnswer{Projects: 1, Present: 2}, nil
}

func (f *fakeService) Record(_ context.Context, sessionID, project string) (string, error) {
	return f.record(sessionID, project)
}

func newServer(t *testing.T, service web.Service) *web.Server {
	t.Helper()
	registry := prometheus.NewRegistry()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "livekit_data_egress_test"})
	gauge.Set(7)
	registry.MustRegister(gauge)
	return web.New(web.Options{
		Service: service, Gatherer: registry,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Doors:  newDoors(),
	})
}

// newDoors returns the doors of a server on loopback, without logins.
func newDoors() *access.Doors {
	d := access.New(access.Options{Logger: slog.New(slog.DiscardHandler)})
	d.At(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9464}, "127.0.0.1:9464")
	return d
}

func get(t *testing.T, h http.Handler, method, path, body string) (int, string, http.Header) {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), method, path,
		strings.NewReader(body)))
	return rec.Code, rec.Body.String(), rec.Header()
}

func TestHandler(t *testing.T) {
	ready := &fakeService{}
	unready := &fakeService{notReady: []string{
		"project 0: broker not connected",
		"disk: less than 1 GB free",
	}}
	for _, tt := range []struct {
		name, method, path string
		service            *fakeService
		code               int
		body               string // contained
	}{
		{"alive", "GET", "/healthz", ready, 200, "ok\n"},
		{"alive although not ready", "GET", "/healthz", unready, 200, "ok\n"},
		{"ready", "GET", "/readyz", ready, 200, "ready\n"},
		{
			"not ready, all reasons", "GET", "/readyz", unready, 503,
			"project 0: broker not connected\ndisk: less than 1 GB free\n",
		},
		{"metrics", "GET", "/metrics", ready, 200, "livekit_data_egress_test 7"},
		{"index", "GET", "/", ready, 200, "status.json"},
		{"nothing else", "GET", "/etc/passwd", ready, 404, ""},
		{"no commands over HTTP", "POST", "/record", ready, 404, ""},
		{"only looking", "POST", "/status.json", ready, 405, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, body, header := get(t, newServer(t, tt.service).Handler(), tt.method, tt.path, "")
			if code != tt.code || !strings.Contains(body, tt.body) {
				t.Errorf("%s %s = %d %q, want %d and %q in it", tt.method, tt.path, code, body,
					tt.code, tt.body)
			}
			if header.Get("X-Content-Type-Options") != "nosniff" ||
				header.Get("Cache-Control") != "no-store" {
				t.Errorf("headers %v: want nosniff and no-store", header)
			}
		})
	}
}

// The keys are an interface for scripts: this test fails where one is renamed, and
// docs/OPERATIONS.md must then be wrong too.
func TestStatusKeys(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	service := &fakeService{status: web.Status{
		Version: "v1", Instance: "abc", DataDir: "/d", StartedAt: at, Ready: true,
		NotReady: []string{"r"},
		Disk: web.DiskStatus{
			State: web.DiskLow, FreeBytes: 9, MinFreeBytes: 10, ReserveBytes: 11,
			Since: at,
		},
		Projects: []web.ProjectStatus{{
			Index: 1, ID: "p", Name: "n", State: web.ProjectRunning, Error: "e",
			Platform: "LiveKit",
			Sources: []web.SourceStatus{{
				Name: "webhook", Connected: true, Since: at, Error: "se", Received: at,
			}},
			Broker: web.BrokerStatus{
				Connected: true, Queue: "q", Exclusive: true, Since: at,
				Error: "be",
			},
			Bucket: "s3://b", PendingUploads: 2, UploadError: "ue",
			UnrequestedSessions: []web.SessionRef{{SessionID: "s", RoomName: "r"}},
			LastReconcile:       at,
			UnrecordedSessions: []web.UnrecordedSession{{SessionRef: web.SessionRef{
				SessionID: "s",
				RoomName:  "r",
			}, Reason: "participant_removed", Since: at}},
		}},
		Recordings: []web.RecordingStatus{{
			EgressID: "DE_1", ProjectID: "p", SessionID: "s", RoomName: "r", Status: "ACTIVE",
			State: "open", Reason: "x",
			Connected: true, Part: 2, StartedAt: at, Packets: 3, Bytes: 4, Recorded: 5, Durable: 6,
			Participants: 7, Outages: 8,
			Suspect: true, LastPacketAt: at, UploadError: "ue",
		}},
	}}
	_, body, _ := get(t, newServer(t, service).Handler(), "GET", "/status.json", "")
	var got any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	const when = "2026-01-02T03:04:05.000000006Z"
	want := map[string]any{
		"version": "v1", "instance": "abc", "data_dir": "/d", "started_at": when, "ready": true,
		"not_ready": []any{"r"},
		"disk": map[string]any{
			"state": "low", "free_bytes": 9.0, "min_free_bytes": 10.0,
			"reserve_bytes": 11.0, "since": when,
		},
		"projects": []any{map[string]any{
			"index": 1.0, "id": "p", "name": "n", "state": "running", "error": "e",
			"broker": map[string]any{
				"connected": true, "queue": "q", "exclusive": true,
				"since": when, "error": "be",
			},
			"platform": "LiveKit",
			"sources": []any{map[string]any{
				"name": "webhook", "connected": true, "since": when, "error": "se",
				"received": when,
			}},
			"bucket": "s3://b", "pending_uploads": 2.0, "upload_error": "ue",
			"unrequested_sessions": []any{map[string]any{"session_id": "s", "room_name": "r"}},
			"last_reconcile":       when,
			"unrecorded_sessions": []any{map[string]any{
				"session_id": "s", "room_name": "r",
				"reason": "participant_removed", "since": when,
			}},
		}},
		"recordings": []any{map[string]any{
			"egress_id": "DE_1", "project_id": "p", "session_id": "s", "room_name": "r",
			"status": "ACTIVE", "state": "open",
			"reason": "x", "connected": true, "part": 2.0, "started_at": when, "packets": 3.0,
			"bytes": 4.0, "recorded": 5.0,
			"durable": 6.0, "participants": 7.0, "outages": 8.0, "suspect": true,
			"last_packet_at": when, "upload_error": "ue",
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	docs, err := os.ReadFile("../../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	var check func(v any)
	check = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				check(e)
			}
		case map[string]any:
			for key, e := range v {
				if !strings.Contains(string(docs), "`"+key+"`") {
					t.Errorf("docs/OPERATIONS.md does not explain the key %s", key)
				}
				check(e)
			}
		}
	}
	check(got)
}

func TestStatusHasListsWhereThereIsNothing(t *testing.T) {
	service := &fakeService{status: web.Status{Projects: []web.ProjectStatus{{}}}}
	_, body, _ := get(t, newServer(t, service).Handler(), "GET", "/status.json", "")
	if strings.Contains(body, "null") || strings.Contains(body, "0001-01-01") {
		t.Errorf("a script would have to ask for null or for the year 1:\n%s", body)
	}
	if service.status.Projects[0].UnrequestedSessions != nil {
		t.Error("the service's own snapshot was changed")
	}
}

func serveControl(t *testing.T, dir string, service web.Service) {
	t.Helper()
	listener, err := web.ListenControl(dir)
	if err != nil {
		t.Fatal(err)
	}
	e := newServer(t, service).Control(listener)
	done := make(chan error, 1)
	go func() { done <- e.Run() }()
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if _, err := os.Lstat(filepath.Join(dir, web.SocketName)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
}

func TestControl(t *testing.T) {
	short := t.TempDir()
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 100), strings.Repeat("y", 100))
	if err := os.MkdirAll(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{
		"short path":                        short,
		"path longer than a socket address": long,
	} {
		t.Run(name, func(t *testing.T) {
			service := &fakeService{
				status: web.Status{Version: "v9"},
				record: func(sessionID, project string) (string, error) {
					if sessionID != "s-1" || project != "p-1" {
						return "", errors.New("no project knows the session " + sessionID)
					}
					return "DE_new", nil
				},
			}
			serveControl(t, dir, service)
			client := web.Dial(dir)
			status, err := client.Status(t.Context())
			if err != nil || status.Version != "v9" {
				t.Errorf("Status = %+v, %v", status, err)
			}
			id, err := client.Record(t.Context(), "s-1", "p-1")
			if err != nil || id != "DE_new" {
				t.Errorf("Record = %q, %v", id, err)
			}
			if _, err := client.Record(t.Context(), "s-2", ""); err == nil ||
				err.Error() != "no project knows the session s-2" {
				t.Errorf("Record of an unknown session: %v; want the service's own words", err)
			}
			if id, err := client.Stop(t.Context(), "s-1"); err != nil || id != "DE_1" {
				t.Errorf("Stop = %q, %v", id, err)
			}
			if _, err := client.Stop(t.Context(), ""); err == nil {
				t.Error("Stop without an id")
			}
			answer, err := client.Exclude(t.Context(), web.ExcludeRequest{
				Identity: "bob", SessionID: "s-1", Project: "p-1", Undo: true,
			})
			if err != nil || answer != (web.ExcludeAnswer{Projects: 1, Present: 2}) {
				t.Errorf("Exclude = %+v, %v", answer, err)
			}
			_, err = client.Exclude(t.Context(), web.ExcludeRequest{Identity: "x"})
			if err == nil || err.Error() != "the exclusion is in force, but not stored" {
				t.Errorf("Exclude = %v; want the service's own words", err)
			}
			info, err := os.Stat(filepath.Join(dir, web.SocketName))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("socket: %v, %v; want mode 0600", info.Mode(), err)
			}
			if _, err := web.ListenControl(dir); err == nil {
				t.Error("a second listener took a socket that is in use")
			}
		})
	}
}

// Profiles are for whoever may open the control socket, and for nobody else.
func TestProfiles(t *testing.T) {
	s := newServer(t, &fakeService{})
	for name, want := range map[string]struct {
		handler http.Handler
		status  int
	}{"control": {s.ControlHandler(), http.StatusOK}, "http": {s.Handler(), http.StatusNotFound}} {
		w := httptest.NewRecorder()
		want.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet,
			"/debug/pprof/goroutine?debug=1", nil))
		if w.Code != want.status {
			t.Errorf("%s: status %d, want %d", name, w.Code, want.status)
		}
	}
}

func TestControlRefusesMalformedRequests(t *testing.T) {
	service := &fakeService{record: func(string, string) (string, error) {
		t.Error("a malformed request reached the service")
		return "", nil
	}}
	h := newServer(t, service).ControlHandler()
	for _, body := range []string{
		"", "{", `{}`, `{"session_id":""}`,
		`{"session_id":"s","sesion":1}`, `{"session_id":"` + strings.Repeat("x", 1<<17) + `"}`,
	} {
		code, answer, _ := get(t, h, "POST", "/record", body)
		if code != http.StatusBadRequest || !strings.Contains(answer, `"error"`) {
			t.Errorf("%.40q: %d %s", body, code, answer)
		}
	}
}

func TestDialWithoutService(t *testing.T) {
	dir := t.TempDir()
	client := web.Dial(dir)
	if _, err := client.Status(t.Context()); !errors.Is(err, web.ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	stale(t, dir)
	if _, err := client.Status(t.Context()); !errors.Is(err, web.ErrNotRunning) {
		t.Errorf("a dead process's socket: %v", err)
	}
	if _, err := web.Dial(filepath.Join(dir, "absent", strings.Repeat("x", 120))).Status(
		t.Context()); !errors.Is(err, web.ErrNotRunning) {
		t.Errorf("no data directory: %v", err)
	}
}

// stale leaves a socket as a killed process does.
func stale(t *testing.T, dir string) {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "unix", filepath.Join(dir, web.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = listener.Close()
}

func TestListenReplacesAStaleSocket(t *testing.T) {
	dir := t.TempDir()
	stale(t, dir)
	serveControl(t, dir, &fakeService{})
	if _, err := web.Dial(dir).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestListenLeavesOtherFilesAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, web.SocketName)
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := web.ListenControl(dir); err == nil {
		t.Error("listening over a file that is not a socket succeeded")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "data" {
		t.Errorf("the file was changed: %q, %v", b, err)
	}
}

// A service that stopped and whose successor already listens must not take the successor's socket
// away.
func TestCloseTwice(t *testing.T) {
	dir := t.TempDir()
	first, err := web.ListenControl(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	serveControl(t, dir, &fakeService{})
	_ = first.Close()
	if _, err := web.Dial(dir).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestClientStopsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	listener, err := web.ListenControl(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithCancel(t.Context())
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			accepted <- conn
		}
		cancel() // the service took the call and says nothing
	}()
	_, err = web.Dial(dir).Status(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's end", err)
	}
	_, _ = io.Copy(io.Discard, <-accepted)
}

package app_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/app"
	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/recorder/recordertest"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/session/sessiontest"
	"github.com/syncflow/textegress/internal/source/rabbitmq"
	"github.com/syncflow/textegress/internal/syncflow"
	"github.com/syncflow/textegress/internal/web"
)

// Projects and sessions of the tests.
const (
	projectA = "0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c1a"
	projectB = "0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c1b"
)

func sessionID(n int) string { return fmt.Sprintf("c1d2e3f4-0000-4000-8000-%012d", n) }

// fakeSyncFlow knows every project, and the sessions that the test sets.
type fakeSyncFlow struct {
	mu      sync.Mutex
	status  map[string]string // by session id
	livekit string            // URL of the LiveKit server; empty: "ws://fake"
	secret  string            // with which tokens must be signed; empty: any
	stalls  bool              // there are no join tokens

	takes       time.Duration // of each request
	under, most atomic.Int32  // requests at this moment, and at most
}

// signed reports whether a token is signed with the secret.
func (f *fakeSyncFlow) signed(token string) bool {
	i := max(0, strings.LastIndex(token, "."))
	mac := hmac.New(sha256.New, []byte(f.secret))
	mac.Write([]byte(token[:i]))
	return strings.TrimPrefix(token[i:], ".") == base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// stall lets SyncFlow make no join tokens any more.
func (f *fakeSyncFlow) stall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stalls = true
}

// setSecret makes every other secret a wrong one.
func (f *fakeSyncFlow) setSecret(secret string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.secret = secret
}

func (f *fakeSyncFlow) set(session, status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status[session] = status
}

func (f *fakeSyncFlow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := f.under.Add(1)
	defer f.under.Add(-1)
	for most := f.most.Load(); n > most && !f.most.CompareAndSwap(most, n); most = f.most.Load() {
	}
	time.Sleep(f.takes) //nolint:forbidigo // a server that takes its time
	f.mu.Lock()
	defer f.mu.Unlock()
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // projects, id, …
	project, rest := parts[1], parts[2:]
	reply := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v) //nolint:errcheck // the client notices
	}
	session := func(id string) map[string]any {
		return map[string]any{
			"id": id, "name": "class", "livekitRoomName": "room-" + id,
			"projectId": project, "status": f.status[id], "startedAt": 1,
		}
	}
	switch {
	case f.secret != "" && !f.signed(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")):
		reply(401, map[string]any{"message": "Invalid token, please login again"})
	case len(rest) == 0:
		reply(200, map[string]any{
			"id": project, "name": "Study",
			"livekitServerUrl": cmp.Or(f.livekit, "ws://fake"),
		})
	case rest[0] == "devices":
		reply(200, []any{map[string]any{
			"id": "c1d2e3f4-0000-4000-8000-00000000d001", "name": syncflow.DeviceName,
			"group": "text-egress", "registeredAt": 1,
			"sessionNotificationExchangeName": "x", "sessionNotificationBindingKey": project +
				".text-egress",
		}})
	case len(rest) == 1:
		reply(200, []any{}) // only what is announced is recorded
	case f.status[rest[1]] == "":
		reply(500, map[string]any{"message": "Record not found"})
	case len(rest) == 2:
		reply(200, session(rest[1]))
	case f.status[rest[1]] != "Started":
		reply(400, map[string]any{"message": "Session is not active"})
	case rest[2] == "participants":
		reply(200, []any{map[string]any{"sid": "PA_l", "identity": "room_listener"}})
	case f.stalls:
		reply(500, map[string]any{"message": "no database connection"})
	default:
		reply(200, map[string]any{
			"token":            rest[1],
			"livekitServerUrl": cmp.Or(f.livekit, "ws://fake"),
		})
	}
}

// fakeRoom holds every room open until the test ends it.
type fakeRoom struct {
	mu    sync.Mutex
	conns map[string]*recordertest.Conn // by session id, which is also the token
}

// admit returns the session to whose room a token of our own admits: one that is made with the key
// "APIgood".
func (f *fakeRoom) admit(token string) (session string, err error) {
	var claims struct {
		Issuer string `json:"iss"`
		Video  struct {
			Room string `json:"room"`
		} `json:"video"`
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err == nil {
		err = json.Unmarshal(b, &claims)
	}
	if err == nil && claims.Issuer != "APIgood" {
		err = &room.JoinError{Phase: "websocket", Status: http.StatusUnauthorized}
	}
	return strings.TrimPrefix(claims.Video.Room, "room-"), err
}

func (f *fakeRoom) Join(_ context.Context, o room.JoinOptions) (recorder.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := o.Token
	if strings.HasPrefix(o.Token, "eyJ") {
		var err error
		if id, err = f.admit(o.Token); err != nil {
			return nil, err
		}
	}
	if err := o.Handler.Joined(room.Info{RoomSID: "RM_" + id, RoomMetadata: "|session_id:" + id +
		"|project_id:x|comments:|"}); err != nil {
		return nil, err
	}
	c := recordertest.NewConn(o.Handler)
	f.conns[id] = c
	return c, nil
}

// conn returns the recorder's stay in the room of a session, nil if there is none.
func (f *fakeRoom) conn(session string) *recordertest.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.conns[session]
}

// fakeS3 is a store with one access key that may be used.
type fakeS3 struct {
	mu      sync.Mutex
	key     string
	objects map[string][]byte // "bucket/key"
	hang    chan struct{}     // not nil: uploads wait for it
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	key, hang := f.key, f.hang
	f.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if !strings.Contains(r.Header.Get("Authorization"), "Credential="+key+"/") {
		w.WriteHeader(403)
		fmt.Fprint(w,
			`<Error><Code>InvalidAccessKeyId</Code><Message>The access key does not exist.</Message></Error>`)
		return
	}
	if hang != nil && r.Method == http.MethodPut {
		select {
		case <-hang:
		case <-r.Context().Done():
			return
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	data, ok := f.objects[r.URL.Path]
	w.Header().Set("ETag", `"x"`)
	switch {
	case r.Method == http.MethodPut:
		f.objects[r.URL.Path] = body
	case !ok:
		w.WriteHeader(404)
	default:
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		w.Write(data) //nolint:errcheck // the client notices
	}
}

// dump writes what the store has into a directory, for [textegress.Open].
func (f *fakeS3) dump(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, data := range f.objects {
		path := filepath.Join(dir, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// world is everything around the service, and the service.
type world struct {
	t        testing.TB
	dir      string // with .env and the data directory
	syncflow *fakeSyncFlow
	api      string // URL of syncflow
	room     *fakeRoom
	realRoom bool // the service uses its own LiveKit client, not room
	s3       *fakeS3
	store    string // URL of s3
	level    *slog.LevelVar

	mu      sync.Mutex
	sources map[string]*sessiontest.Source
	log     bytes.Buffer

	app  *app.App
	stop func() error
}

func newWorld(t testing.TB) *world {
	w := &world{
		t: t, dir: t.TempDir(), syncflow: &fakeSyncFlow{status: map[string]string{}},
		room: &fakeRoom{conns: map[string]*recordertest.Conn{}},
		s3:   &fakeS3{key: "AKGOOD", objects: map[string][]byte{}}, level: new(slog.LevelVar),
		sources: map[string]*sessiontest.Source{},
	}
	w.api, w.store = serve(t, w.syncflow), serve(t, w.s3)
	return w
}

func serve(t testing.TB, h http.Handler) string {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// env writes .env: lines of the test, and the settings that they leave out.
func (w *world) env(lines ...string) {
	w.t.Helper()
	all := strings.Split(strings.Join(lines, "\n"), "\n")
	for _, line := range []string{
		"SYNCFLOW_SERVER_URL=" + w.api, "RABBITMQ_HOST=127.0.0.1", "RABBITMQ_PORT=1",
		"RABBITMQ_VHOST_NAME=syncflow",
		"DEVICE_GROUP_NAME=text-egress", "HTTP_ADDR=127.0.0.1:0", "SYNC_INTERVAL=10ms",
	} {
		key, _, _ := strings.Cut(line, "=")
		if !slices.ContainsFunc(all, func(l string) bool { return strings.HasPrefix(l, key+"=") }) {
			all = append(all, line)
		}
	}
	if err := os.WriteFile(filepath.Join(w.dir, ".env"), []byte(strings.Join(all, "\n")+"\n"),
		0o600); err != nil {
		w.t.Fatal(err)
	}
}

// project returns the settings of a project that delivers to a directory, bucket one that delivers
// to the fake S3.
func project(n int, id string, rest ...string) string {
	lines := []string{"KEY=key" + fmt.Sprint(n), "SECRET=secret", "PROJECT_ID=" + id}
	for i, line := range append(lines, rest...) {
		if i < len(lines) {
			lines[i] = fmt.Sprintf("PROJECTS__%d__%s", n, line)
		} else {
			lines = append(lines, fmt.Sprintf("PROJECTS__%d__%s", n, line))
		}
	}
	return strings.Join(lines, "\n")
}

func (w *world) directory(n int, id, name string) string {
	return project(n, id, "DIRECTORY="+filepath.Join(w.dir, name))
}

func (w *world) bucket(n int, id, accessKey string) string {
	return project(n, id, "S3_CONFIG__ACCESS_KEY="+accessKey, "S3_CONFIG__SECRET_KEY=s3-secret",
		"S3_CONFIG__ENDPOINT="+w.store,
		"S3_CONFIG__BUCKET_NAME=bucket", "S3_CONFIG__REGION=us-east-1", "S3_CONFIG__CHECKSUMS=off")
}

func (w *world) load() (*config.Config, error) {
	return config.Load(config.Options{Dir: w.dir})
}

// Write takes the log.
func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *world) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// make makes the service from what .env says.
func (w *world) make() (*app.App, error) {
	c, err := w.load()
	if err != nil {
		w.t.Fatal(err)
	}
	w.level.Set(c.LogLevel)
	var joins recorder.Room
	if !w.realRoom {
		joins = w.room
	}
	return app.New(app.Options{
		Config: c, Logger: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: w.level})),
		Version: "test",
		Load:    w.load, LogLevel: w.level, Room: joins,
		Source: func(o rabbitmq.Options) session.Source {
			s := sessiontest.NewSource()
			w.mu.Lock()
			defer w.mu.Unlock()
			w.sources[o.ProjectID] = s
			return s
		},
	})
}

// start begins a process.
func (w *world) start() {
	w.t.Helper()
	a, err := w.make()
	if err != nil {
		w.t.Fatal(err)
	}
	w.app = a
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	w.stop = func() (err error) {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	w.t.Cleanup(func() {
		w.stop() //nolint:errcheck // tests that are about it stop themselves
		if w.t.Failed() {
			w.t.Log(w.logged())
		}
	})
}

// record announces a session and waits for the recorder in its room.
func (w *world) record(projectID string, n int) *recordertest.Conn {
	w.t.Helper()
	id := w.announce(projectID, n)
	w.eventually("the recorder is in the room", func() bool { return w.room.conn(id) != nil })
	return w.room.conn(id)
}

// announce announces a session, and returns its id.
func (w *world) announce(projectID string, n int) string {
	w.t.Helper()
	id := sessionID(n)
	w.syncflow.set(id, "Started")
	w.mu.Lock()
	s := w.sources[projectID]
	w.mu.Unlock()
	if s == nil {
		w.t.Fatalf("project %s listens to nothing", projectID)
	}
	if err := s.Announce(session.Announcement{
		SessionID: id, Room: "room-" + id, Source: "rabbitmq", ReceivedAt: time.Now(),
	}); err != nil {
		w.t.Fatalf("session %d was not taken: %v", n, err)
	}
	return id
}

// send lets a participant say something.
func (w *world) send(c *recordertest.Conn, text string) {
	w.t.Helper()
	b, err := proto.Marshal(&livekit.DataPacket{
		ParticipantIdentity: "alice",
		ParticipantSid:      "PA_1", Value: &livekit.DataPacket_User{
			User: &livekit.UserPacket{Payload: []byte(text)},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	c.Handler.Packet(room.Reliable, time.Now(), b)
}

// end ends a session.
func (w *world) end(c *recordertest.Conn, n int) {
	w.syncflow.set(sessionID(n), "Stopped")
	c.Stop(room.ReasonRoomDeleted)
}

// class is a session from its beginning to its end, in which one thing is said.
func (w *world) class(projectID string, n int) {
	w.t.Helper()
	c := w.record(projectID, n)
	w.send(c, fmt.Sprintf("said in %d", n))
	w.end(c, n)
}

// eventually waits until f is true.
func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			w.t.Fatalf("it does not happen: %s\n%s", what, w.logged())
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // polling with a deadline
	}
}

func (w *world) recording(n int) (found web.RecordingStatus) {
	for _, r := range w.app.Status().Recordings {
		if r.SessionID == sessionID(n) && r.Part >= found.Part {
			found = r
		}
	}
	return found
}

func (w *world) project(id string) web.ProjectStatus {
	for _, p := range w.app.Status().Projects {
		if p.ID == id {
			return p
		}
	}
	return web.ProjectStatus{}
}

// delivered waits for the delivery of session n to root, and returns what was said in it.
func (w *world) delivered(n int, root string) string {
	w.t.Helper()
	w.eventually(fmt.Sprintf("session %d is delivered", n), func() bool {
		s := w.recording(n).State
		return s == "uploaded" || s == "removed"
	})
	return w.said(w.recording(n).EgressID, root)
}

// said verifies what was delivered below root, and returns what was said in it.
func (w *world) said(egressID, root string) string {
	w.t.Helper()
	found, err := filepath.Glob(filepath.Join(root, "*", "*", "text-egress", "*", egressID))
	if err != nil || len(found) != 1 {
		w.t.Fatalf("%s is at %q, %v\n%s", egressID, found, err, w.logged())
	}
	rec, err := textegress.Open(os.DirFS(found[0]))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := rec.Verify(context.Background(), nil); err != nil {
		w.t.Error(err)
	}
	var said []string
	for m, err := range rec.Messages() {
		if err != nil {
			w.t.Fatal(err)
		}
		if m.Kind == textegress.KindData {
			said = append(said, *m.Text)
		}
	}
	return strings.Join(said, ", ")
}

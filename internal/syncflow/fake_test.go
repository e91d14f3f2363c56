package syncflow_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/syncflow/textegress/internal/syncflow"
)

const (
	projectID = "0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11"
	sessionID = "c1d2e3f4-0000-4000-8000-000000000001"
	ghostID   = "c1d2e3f4-0000-4000-8000-00000000dead"
	secretKey = "abcdefghijklmnopqrstuvwxyz012345"
)

// fakeAPI behaves like the SyncFlow server. It can be told to fail the next requests.
type fakeAPI struct {
	t *testing.T

	mu       sync.Mutex
	status   string // of the session
	room     bool   // LiveKit has its room
	devices  []map[string]any
	requests []string // "METHOD path" of every request
	faults   []fault  // for the next requests, in order; a zero fault lets one through
	inFlight int
	most     int
	hold     chan struct{} // if set, requests wait for it
}

// fault replaces an answer. With done the request takes effect all the same.
type fault struct {
	status      int // 0 = none, -1 = close the connection without an answer
	contentType string
	body        string
	header      map[string]string
	done        bool
}

func newFake(t *testing.T) *fakeAPI { return &fakeAPI{t: t, status: "Started", room: true} }

func (f *fakeAPI) client(t *testing.T, rt http.RoundTripper) *syncflow.Client {
	t.Helper()
	c, err := syncflow.New(syncflow.Options{
		BaseURL: "http://syncflow.test/", Key: "aB3dE6gH9k", Secret: secretKey,
		ProjectID: projectID, HTTPClient: &http.Client{Transport: rt},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// RoundTrip answers in memory, so that a test can run with a synthetic clock.
func (f *fakeAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if f.serve(w, r) {
		return nil, io.ErrUnexpectedEOF
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.serve(w, r) {
		panic(http.ErrAbortHandler)
	}
}

func (f *fakeAPI) log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

func (f *fakeAPI) fail(faults ...fault) {
	f.mu.Lock()
	f.faults = append(f.faults, faults...)
	f.mu.Unlock()
}

// serve reports whether the connection is to be cut instead of an answer.
func (f *fakeAPI) serve(w http.ResponseWriter, r *http.Request) (cut bool) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.URL.Path)
	f.inFlight++
	f.most = max(f.most, f.inFlight)
	hold := f.hold
	var ft fault
	if len(f.faults) > 0 {
		ft, f.faults = f.faults[0], f.faults[1:]
	}
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.inFlight--; f.mu.Unlock() }()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return true
		}
	}
	if ft.status == 0 {
		f.answer(w, r)
		return false
	}
	if ft.done {
		f.answer(httptest.NewRecorder(), r)
	}
	if ft.status < 0 {
		return true
	}
	for k, v := range ft.header {
		w.Header().Set(k, v)
	}
	if ft.contentType == "" {
		ft.contentType = "application/json"
	}
	w.Header().Set("Content-Type", ft.contentType)
	w.WriteHeader(ft.status)
	_, _ = io.WriteString(w, ft.body)
	return false
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, message string) {
	reply(w, status, map[string]any{"status": status, "message": message})
}

// claims verifies a token as the server does, and that it has nothing the server would trip over.
func claims(text string) (map[string]any, error) {
	c := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(text, c, func(*jwt.Token) (any, error) {
		return []byte(secretKey),
			nil
	},
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithJSONNumber())
	if err != nil {
		return nil, err
	}
	if keys := slices.Sorted(maps.Keys(c)); !slices.Equal(keys,
		[]string{"exp", "iat", "iss", "projectId"}) {
		return nil, fmt.Errorf("claims %v", keys)
	}
	for _, k := range []string{"iat", "exp"} {
		if s := string(c[k].(json.Number)); strings.ContainsAny(s, ".eE-") {
			return nil, fmt.Errorf("%s is not a non-negative integer: %s", k, s)
		}
	}
	return c, nil
}

func (f *fakeAPI) answer(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	c, err := claims(token)
	if !ok || err != nil || c["iss"] != "aB3dE6gH9k" || c["projectId"] != projectID {
		refuse(w, 401, "Invalid token, please login again")
		return
	}
	body, _ := io.ReadAll(r.Body)
	if r.Method == http.MethodPost && r.Header.Get("Content-Type") != "application/json" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(400)
		_, _ = io.WriteString(w, "Content type error")
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/projects/"+projectID)
	if !ok {
		refuse(w, 404, "Resource not found")
		return
	}
	session := map[string]any{
		"id": sessionID, "name": "class-1", "startedAt": 1750000000, "comments": "",
		"livekitRoomName": "class-1",
		"projectId":       projectID, "status": f.status, "numParticipants": 3, "numRecordings": 0,
		"duration": 42, "somethingNew": []int{1},
	}
	switch route := r.Method + " " + path; {
	case route == "GET ":
		reply(w, 200, map[string]any{
			"id": projectID, "name": "My Project", "description": nil,
			"livekitServerUrl": "wss://lk",
			"storageType":      "s3", "bucketName": "b", "endpoint": "https://s3",
			"lastUpdated": 1750000000,
		})
	case route == "GET /devices":
		reply(w, 200, f.devices)
	case route == "POST /devices/register":
		var d map[string]any
		if json.Unmarshal(body, &d) != nil || d["name"] == nil || d["group"] == nil {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(400)
			_, _ = io.WriteString(w, "Json deserialize error: missing field `name` at "+
				"line 1 column 2")
			return
		}
		d["id"] = fmt.Sprintf("5f0c0000-0000-4000-8000-%012d", len(f.devices)+1)
		d["registeredAt"], d["registeredBy"], d["projectId"] = 1750000000+len(f.devices), 3,
			projectID
		d["sessionNotificationExchangeName"] = "notifier"
		d["sessionNotificationBindingKey"] = projectID + "." + d["group"].(string)
		f.devices = append(f.devices, d)
		reply(w, 200, d)
	case strings.HasPrefix(route, "DELETE /devices/"):
		id := strings.TrimPrefix(path, "/devices/")
		for i, d := range f.devices {
			if d["id"] == id {
				f.devices = slices.Delete(f.devices, i, i+1)
				reply(w, 200, d)
				return
			}
		}
		refuse(w, 404, "Record not found")
	case route == "GET /sessions":
		reply(w, 200, []any{session})
	case strings.HasPrefix(path, "/sessions/"+ghostID):
		refuse(w, 500, "Record not found")
	case route == "GET /sessions/"+sessionID:
		if f.status == "Started" && !f.room {
			refuse(w, 400, "Room not found")
			return
		}
		reply(w, 200, session)
	case route == "GET /sessions/"+sessionID+"/participants":
		switch {
		case f.status != "Started":
			refuse(w, 400, "Session is not active")
		case !f.room:
			reply(w, 200, []any{})
		default:
			reply(w, 200, []any{
				map[string]any{
					"sid": "PA_l", "identity": "room_listener",
					"joinedAt": "1750000000",
				},
				map[string]any{"sid": "PA_a", "identity": "alice", "isPublisher": true},
			})
		}
	case route == "POST /sessions/"+sessionID+"/token":
		f.token(w, body)
	default:
		refuse(w, 404, "Resource not found")
	}
}

func (f *fakeAPI) token(w http.ResponseWriter, body []byte) {
	var q struct {
		Identity    string
		VideoGrants map[string]any
	}
	if err := json.Unmarshal(body, &q); err != nil || len(q.VideoGrants) != 14 {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(400)
		_, _ = io.WriteString(w, "Json deserialize error: missing field")
		return
	}
	g := q.VideoGrants
	switch {
	case f.status != "Started":
		refuse(w, 400, "Session is not active")
		return
	case g["room"] != "class-1":
		refuse(w, 500, "Invalid room name(mismatch between room and livekit room name)")
		return
	}
	for k, v := range g {
		want := k == "roomJoin" || k == "canSubscribe" || k == "hidden" || k == "recorder"
		if b, ok := v.(bool); ok && b != want {
			f.t.Errorf("grant %s is %v", k, b)
		}
	}
	reply(w, 200, map[string]any{
		"token": "lk-token", "identity": q.Identity,
		"livekitServerUrl": "wss://lk",
	})
}

// whole makes a jitter that always takes the longest pause, and records it.
func whole(pauses *[]time.Duration) func(time.Duration) time.Duration {
	return func(most time.Duration) time.Duration { *pauses = append(*pauses, most); return most }
}

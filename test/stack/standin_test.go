package stack

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// ask makes a raw request and returns status, content type and body.
func ask(t *testing.T, method, url, authorization, contentType, body string) (int, string, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := probe.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), strings.TrimSpace(string(b))
}

// start makes a session and ends it with the test.
func start(t *testing.T, p Project, name string, groups ...string) Session {
	t.Helper()
	x, err := shared.SyncFlow.CreateSession(t.Context(), p, name, groups...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = shared.SyncFlow.DeleteSession(context.WithoutCancel(t.Context()), p,
			x.ID)
	})
	return x
}

func TestTokens(t *testing.T) {
	api := shared.SyncFlow
	p, q := api.Projects[0], api.Projects[1]
	with := func(change func(jwt.MapClaims)) string {
		c := p.Claims()
		change(c)
		s, err := p.Token(c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := with(func(jwt.MapClaims) {})
	hs512, _ := jwt.NewWithClaims(jwt.SigningMethodHS512, p.Claims()).SignedString([]byte(p.Secret))
	var login struct{ AccessToken string }
	if err := api.CallWithToken(t.Context(), "", "POST", api.URL+"/users/login",
		map[string]string{"username_or_email": "teacher", "password": "teacher"},
		&login); err != nil {
		t.Fatal(err)
	}
	const refused = `{"message":"Invalid token, please login again","status":401}`
	for name, tt := range map[string]struct {
		path, authorization string
		status              int
		body                string // a part of it
	}{
		"good":              {"/projects/" + p.ID, "Bearer " + good, 200, `"name":"Study 1"`},
		"lower case scheme": {"/projects/" + p.ID, "bearer " + good, 200, ""},
		"upper case scheme": {"/projects/" + p.ID, "BEARER " + good, 401, refused},
		"none":              {"/projects/" + p.ID, "", 401, refused},
		"wrong secret": {
			"/projects/" + p.ID, "Bearer " + good[:len(good)-4] + "AAAA",
			401, refused,
		},
		"HS512": {"/projects/" + p.ID, "Bearer " + hs512, 401, refused},
		"expired 1 s ago": {"/projects/" + p.ID, "Bearer " +
			with(func(c jwt.MapClaims) { c["exp"] = time.Now().Unix() - 1 }), 401, refused},
		"expires in a year": {"/projects/" + p.ID, "Bearer " +
			with(func(c jwt.MapClaims) { c["exp"] = time.Now().Unix() + 31e6 }), 200, ""},
		"no iat": {
			"/projects/" + p.ID,
			"Bearer " + with(func(c jwt.MapClaims) { delete(c, "iat") }), 401, refused,
		},
		"fractional iat": {
			"/projects/" + p.ID,
			"Bearer " + with(func(c jwt.MapClaims) { c["iat"] = 1.5 }), 401, refused,
		},
		"iat as text": {
			"/projects/" + p.ID,
			"Bearer " + with(func(c jwt.MapClaims) { c["iat"] = "1" }), 401, refused,
		},
		"audience": {
			"/projects/" + p.ID,
			"Bearer " + with(func(c jwt.MapClaims) { c["aud"] = "syncflow" }), 401, refused,
		},
		"looks like a login": {
			"/projects/" + p.ID,
			"Bearer " + with(func(c jwt.MapClaims) { c["userName"] = "teacher" }), 401, refused,
		},
		"other claims": {"/projects/" + p.ID, "Bearer " +
			with(func(c jwt.MapClaims) { c["nbf"] = time.Now().Unix() + 1000 }), 200, ""},
		"another project's id": {
			"/projects/" + p.ID,
			"Bearer " + with(func(c jwt.MapClaims) { c["projectId"] = q.ID }), 401, refused,
		},
		"id in upper case": {"/projects/" + p.ID, "Bearer " +
			with(func(c jwt.MapClaims) { c["projectId"] = strings.ToUpper(p.ID) }), 200, ""},
		"own other project": {"/projects/" + q.ID, "Bearer " + good, 200, `"name":"Study 2"`},
		"foreign project": {
			"/projects/" + api.Foreign.ID, "Bearer " + good, 404,
			`{"message":"Project not found","status":404}`,
		},
		"no such project": {
			"/projects/" + uuid.NewString(), "Bearer " + good, 404,
			"Project not found",
		},
		"project is no id": {
			"/projects/x", "Bearer " + good, 400,
			`{"message":"Invalid project id","status":400}`,
		},
		"unknown route": {
			"/projects/" + p.ID + "/register-device", "Bearer " + good, 404,
			`{"message":"Resource not found","status":404}`,
		},
		"unknown route, no token": {"/nothing", "", 401, refused},
		"double slash": {
			"//projects/" + p.ID, "Bearer " + good, 404,
			"Resource not found",
		},
		"dashboard login": {"/projects/" + p.ID, "Bearer " + login.AccessToken, 200, ""},
	} {
		status, _, body := ask(t, "GET", api.URL+tt.path, tt.authorization, "", "")
		if status != tt.status || !strings.Contains(body, tt.body) {
			t.Errorf("%s: %d %s, want %d %s", name, status, body, tt.status, tt.body)
		}
	}
	q2 := "?username=" + login.AccessToken + "&password=x"
	if status, _, body := ask(t, "GET", api.URL+"/rmq/auth/user"+q2, "", "", ""); status != 401 ||
		body != "" {
		t.Errorf("hook with a dashboard login: %d %q, want 401 without a body", status, body)
	}
	if status, _, body := ask(t, "GET", api.URL+"/rmq/auth/user?username="+good+
		"&password=no-such-group", "", "", ""); status != 200 || body != "allow" {
		t.Errorf("hook with any group: %d %q, want allow", status, body)
	}
	if status, _, _ := ask(t, "GET", api.URL+"/rmq/auth/user?username="+good, "", "",
		""); status != 400 {
		t.Errorf("hook without a parameter: %d, want 400", status)
	}
}

func TestRequestErrors(t *testing.T) {
	api := shared.SyncFlow
	p := api.Projects[0]
	running := start(t, p, "request-errors")
	stopped := start(t, p, "request-errors-stopped")
	if _, err := api.StopSession(t.Context(), p, stopped.ID); err != nil {
		t.Fatal(err)
	}
	grants := func(change func(map[string]any)) string {
		g := VideoGrants(running.LivekitRoomName)
		change(g)
		b, _ := json.Marshal(map[string]any{"identity": "i", "videoGrants": g})
		return string(b)
	}
	ok := grants(func(map[string]any) {})
	long := strings.Repeat("ü", 51)
	const js = "application/json"
	for name, tt := range map[string]struct {
		method, path, contentType, body string
		status                          int
		want                            string
		plain                           bool
	}{
		"no content type": {
			"POST", "devices/register", "", `{}`, 400,
			"Content type error", true,
		},
		"missing field": {
			"POST", "devices/register", js, `{"name":"x"}`, 400,
			"Json deserialize error: missing field `group`", true,
		},
		"null field": {
			"POST", "devices/register", js, `{"name":null,"group":"g"}`,
			400, "invalid type: null, expected a string", true,
		},
		"no JSON": {
			"POST", "create-session", js, `{`, 400,
			"Json deserialize error", true,
		},
		"too big": {
			"POST", "create-session", js,
			`{"name":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "", true,
		},
		"device name too long": {"POST", "devices/register", js, `{"name":"` + long +
			`","group":"g"}`, 500, "value too long for type character varying(50)", false},
		"unknown device": {
			"GET", "devices/" + uuid.NewString(), "", "", 404,
			"Record not found", false,
		},
		"device is no id": {"DELETE", "devices/x", "", "", 400, "", false},
		"unknown group": {
			"POST", "create-session", js, `{"deviceGroups":["a","b"]}`,
			400, "Invalid device groups: [a, b]", false,
		},
		"active room of that name": {
			"POST", "create-session", js, `{"name":"request-errors"}`,
			400, "already exists and is active", false,
		},
		"unknown session": {
			"GET", "sessions/" + uuid.NewString(), "", "", 500,
			"Record not found", false,
		},
		"session is no id": {
			"GET", "sessions/x", "", "", 500, "Invalid session id",
			false,
		},
		"token: unknown session": {
			"POST", "sessions/" + uuid.NewString() + "/token", js, ok,
			500, "Record not found", false,
		},
		"token: stopped session": {
			"POST", "sessions/" + stopped.ID + "/token", js, ok, 400,
			"Session is not active", false,
		},
		"token: other room": {
			"POST", "sessions/" + running.ID + "/token", js,
			grants(func(g map[string]any) { g["room"] = "x" }), 500, "Invalid room name", false,
		},
		"token: no identity": {
			"POST", "sessions/" + running.ID + "/token", js,
			strings.Replace(ok, `"i"`, `""`, 1), 500, "", false,
		},
		"token: sources not a list": {
			"POST", "sessions/" + running.ID + "/token", js,
			grants(func(g map[string]any) { g["canPublishSources"] = nil }), 400,
			"expected a sequence", true,
		},
		"participants: stopped": {
			"GET", "sessions/" + stopped.ID + "/participants", "", "",
			400, "Session is not active", false,
		},
		"stop: stopped": {
			"POST", "sessions/" + stopped.ID + "/stop", js, "null", 400,
			"Session is not active", false,
		},
		"wrong method is not a route": {
			"PUT", "sessions", js, "{}", 404, "Resource not found",
			false,
		},
	} {
		token, _ := p.Token(nil)
		status, ct, body := ask(t, tt.method, api.URL+"/projects/"+p.ID+"/"+tt.path,
			"Bearer "+token, tt.contentType, tt.body)
		if status != tt.status || !strings.Contains(body, tt.want) ||
			strings.HasPrefix(ct, "text/plain") != tt.plain {
			t.Errorf("%s: %d %s %s, want %d %s", name, status, ct, body, tt.status, tt.want)
		}
	}
	for field := range maps.Keys(VideoGrants("")) {
		body := grants(func(g map[string]any) { delete(g, field) })
		token, _ := p.Token(nil)
		status, _, text := ask(t, "POST", api.URL+"/projects/"+p.ID+"/sessions/"+running.ID+
			"/token", "Bearer "+token, js, body)
		if status != 400 || !strings.Contains(text, "missing field `"+field+"`") {
			t.Errorf("token without %s: %d %s", field, status, text)
		}
	}
}

func TestDevicesAreNeverDeduplicated(t *testing.T) {
	ctx, api, p := t.Context(), shared.SyncFlow, shared.SyncFlow.Projects[1]
	a, err1 := api.RegisterDevice(ctx, p, "same", "same")
	b, err2 := api.RegisterDevice(ctx, p, "same", "same")
	if err1 != nil || err2 != nil || a.ID == b.ID || a.BindingKey != b.BindingKey ||
		a.BindingKey != p.ID+".same" || a.Exchange != Exchange {
		t.Fatalf("%v %v %v %v", a, err1, b, err2)
	}
	if err := errors.Join(api.DeleteDevice(ctx, p, a.ID),
		api.DeleteDevice(ctx, p, b.ID)); err != nil {
		t.Fatal(err)
	}
	var e *APIError
	if _, err := api.CreateSession(ctx, p, "no-device", "same"); !errors.As(err, &e) ||
		e.Status != 400 {
		t.Errorf("session for a group without devices: %v", err)
	}
}

// TestListenerRemoved ends the stay of SyncFlow's listener: the session is Stopped while its room
// lives.
func TestListenerRemoved(t *testing.T) {
	ctx, api, p := t.Context(), shared.SyncFlow, shared.SyncFlow.Projects[0]
	x := start(t, p, "listener-removed")
	eventually(t, "room_listener joined", func() bool {
		c, err := api.Counters(ctx)
		return err == nil && slices.Contains(c.Listening, x.LivekitRoomName)
	})
	if err := shared.LiveKit.RemoveParticipant(ctx, x.LivekitRoomName,
		"room_listener"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session is stopped", func() bool {
		s, err := api.Session(ctx, p, x.ID)
		return err == nil && s.Status == "Stopped"
	})
	if room, err := shared.LiveKit.Room(ctx, x.LivekitRoomName); err != nil || room == nil {
		t.Errorf("the room is gone: %v", err)
	}
}

// TestZombies has the API lose its listeners: the room ends and the session stays Started.
func TestZombies(t *testing.T) {
	ctx, api, p := t.Context(), shared.SyncFlow, shared.SyncFlow.Projects[0]
	x, err := api.CreateSession(ctx, p, "zombie")
	if err != nil {
		t.Fatal(err)
	}
	if err := api.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := api.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := api.Session(ctx, p, x.ID); err != nil || got.Status != "Started" {
		t.Fatalf("after the restart: %+v, %v", got, err)
	}
	if err := shared.LiveKit.DeleteRoom(ctx, "zombie"); err != nil {
		t.Fatal(err)
	}
	var e *APIError
	if _, err := api.Session(ctx, p, x.ID); !errors.As(err, &e) || e.Status != 400 ||
		!strings.Contains(e.Body, "Room not found") {
		t.Errorf("session: %v, want 400 Room not found", err)
	}
	if _, err := api.StopSession(ctx, p, x.ID); !errors.As(err, &e) || e.Status != 500 {
		t.Errorf("stop: %v, want 500", err)
	}
	if _, _, err := api.JoinToken(ctx, p, x, "alice"); err != nil {
		t.Errorf("token: %v, want one", err)
	}
	if l, err := api.Sessions(ctx, p); err != nil || len(l) == 0 {
		t.Errorf("list: %v, %v", l, err)
	}
}

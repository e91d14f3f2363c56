package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/twitchtv/twirp"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/dataegress"
	"github.com/syncflow/textegress/internal/api"
	"github.com/syncflow/textegress/internal/api/apitest"
	lk "github.com/syncflow/textegress/internal/livekit"
)

// untouched fails the test if a body is read.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("the body of a refused request was read")
	return 0, io.EOF
}

// TestRefused: a request without a valid token is rejected before its body is read or the service
// is called.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	signed := func(secret string, claims jwt.MapClaims) string {
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + token
	}
	soon, past := time.Now().Add(time.Minute).Unix(), time.Now().Add(-time.Hour).Unix()
	for name, tt := range map[string]struct {
		authorization string
		status        int
		code, says    string
	}{
		"no header":      {"", 401, "unauthenticated", "Authorization: Bearer"},
		"another scheme": {"Basic YTpi", 401, "unauthenticated", "Authorization: Bearer"},
		"no JWT":         {"Bearer x", 401, "unauthenticated", "not a JWT"},
		"unknown key": {
			signed(keyA.Secret, jwt.MapClaims{"iss": "APIx", "exp": soon, "video": all}),
			401, "unauthenticated", "no project has its key",
		},
		"keyless project": {
			signed("", jwt.MapClaims{"iss": "", "exp": soon, "video": all}),
			401, "unauthenticated", "no key",
		},
		"another secret": {
			signed(keyB.Secret, jwt.MapClaims{"iss": keyA.ID, "exp": soon, "video": all}),
			401, "unauthenticated", "not signed",
		},
		"expired": {
			signed(keyA.Secret, jwt.MapClaims{"iss": keyA.ID, "exp": past, "video": all}),
			401, "unauthenticated", "expired",
		},
		"without expiry": {
			signed(keyA.Secret, jwt.MapClaims{"iss": keyA.ID, "video": all}),
			401, "unauthenticated", "no expiry",
		},
		"without grant": {
			signed(keyA.Secret, jwt.MapClaims{
				"iss": keyA.ID, "exp": soon, "video": map[string]any{"roomAdmin": true},
			}), 403, "permission_denied", "roomRecord",
		},
	} {
		for _, path := range []string{
			"/twirp/textegress.DataEgress/ListDataEgress", "/twirp/livekit.Egress/ListEgress",
		} {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, untouched{t})
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", tt.authorization)
			resp := httptest.NewRecorder()
			w.handler().ServeHTTP(resp, req)
			body := resp.Body.String()
			if resp.Code != tt.status || !strings.Contains(body, `"code":"`+tt.code+`"`) ||
				!strings.Contains(body, tt.says) || strings.Contains(body, "eyJ") {
				t.Errorf("%s: %d %s", name, resp.Code, body)
			}
			if got := resp.Header().Get("WWW-Authenticate"); (got == "Bearer") != (tt.status == 401) {
				t.Errorf("%s: WWW-Authenticate: %s", name, got)
			}
		}
	}
	if calls := w.service.Calls(); len(calls) > 0 {
		t.Errorf("calls %v", calls)
	}
	if w.log.Len() > 0 {
		t.Errorf("log: %s", w.log)
	}
}

// TestRoutes: a request for any other method is rejected with a Twirp error.
func TestRoutes(t *testing.T) {
	w := newWorld(t)
	header := http.Header{
		"Authorization": {"Bearer " + apitest.Token(t, keyA, all)},
		"Content-Type":  {"application/json"},
	}
	for path, says := range map[string]string{
		"/":                                           "no such method",
		"/twirp/livekit.RoomService/ListRooms":        "no such method",
		"/twirp/textegress.DataEgress/":               "",
		"/twirp/textegress.DataEgress/DeleteAll":      "",
		"/x/twirp/textegress.DataEgress/GetStatement": "no such method",
	} {
		code, body := w.post(path, header, strings.NewReader("{}"))
		if code != 404 || !strings.Contains(body, `"bad_route"`) || !strings.Contains(body, says) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	resp := httptest.NewRecorder()
	w.handler().ServeHTTP(resp, httptest.NewRequestWithContext(t.Context(), http.MethodGet,
		"/twirp/livekit.Egress/ListEgress", nil))
	if resp.Code != 404 || !strings.Contains(resp.Body.String(), "bad_route") {
		t.Errorf("GET: %d %s", resp.Code, resp.Body)
	}
}

// counted is a body that counts the bytes read from it.
type counted struct {
	io.Reader

	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// TestLargeRequest: a body above the limit is rejected, with or without Content-Length.
func TestLargeRequest(t *testing.T) {
	w := newWorld(t)
	w.service.OpenRoom("a", "room")
	request := func(size int) string {
		const begin, end = `{"room_name":"room","x":"`, `"}`
		return begin + strings.Repeat("x", size-len(begin)-len(end)) + end
	}
	for _, announced := range []bool{true, false} {
		for size, status := range map[int]int{api.MaxRequest: 200, api.MaxRequest + 1: 400} {
			body := &counted{Reader: strings.NewReader(request(size))}
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost,
				"/twirp/textegress.DataEgress/ListDataEgress", body)
			req.ContentLength = -1
			if announced {
				req.ContentLength = int64(size)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+apitest.Token(t, keyA, all))
			resp := httptest.NewRecorder()
			w.handler().ServeHTTP(resp, req)
			if resp.Code != status || status == 400 &&
				!strings.Contains(resp.Body.String(), "more than 1048576 bytes") {
				t.Errorf("%d bytes, announced %v: %d %.200s", size, announced, resp.Code, resp.Body)
			}
			if status == 400 && announced && body.n > 0 {
				t.Errorf("%d bytes of an announced excess were read", body.n)
			}
		}
	}
}

// TestProjects: a caller sees only the recordings of its key's projects; all others are not found.
func TestProjects(t *testing.T) {
	w := newWorld(t)
	e := w.start(keyA, "a", "room")
	ctx := w.as(keyB, all)
	list, err := w.ours().ListDataEgress(ctx, &dataegress.ListDataEgressRequest{})
	if err != nil || len(list.GetItems()) > 0 {
		t.Errorf("b sees %v, %v", list, err)
	}
	id := e.GetEgressId()
	for what, err := range calls(ctx, w, id) {
		wantError(t, what, err, twirp.NotFound, id)
	}
	_, err = w.ours().StartDataEgress(ctx, &dataegress.StartDataEgressRequest{RoomName: "room"})
	wantError(t, "start with a key of two projects", err, twirp.FailedPrecondition, "b, twin")
	for what, err := range calls(w.as(keyA, all), w, id) {
		if err != nil {
			t.Errorf("%s by the owner: %v", what, err)
		}
	}
}

// calls makes every call that names a recording.
func calls(ctx context.Context, w *world, id string) map[string]error {
	errs := map[string]error{}
	_, errs["GetStatement"] = w.ours().GetStatement(ctx,
		&dataegress.GetStatementRequest{EgressId: id})
	_, errs["ListDataEgress"] = w.ours().ListDataEgress(ctx,
		&dataegress.ListDataEgressRequest{EgressId: id})
	_, errs["ListEgress"] = w.livekits().ListEgress(ctx, &livekit.ListEgressRequest{EgressId: id})
	_, errs["StopEgress"] = w.livekits().StopEgress(ctx, &livekit.StopEgressRequest{EgressId: id})
	_, errs["StopDataEgress"] = w.ours().StopDataEgress(ctx,
		&dataegress.StopDataEgressRequest{EgressId: id})
	return errs
}

// TestSeveralProjects: a key of several projects lists and stops in all of them.
func TestSeveralProjects(t *testing.T) {
	w := newWorld(t)
	for _, project := range []string{"b", "twin"} {
		w.service.OpenRoom(project, project)
		if _, err := w.service.Start(t.Context(), project, api.Start{Room: project}); err != nil {
			t.Fatal(err)
		}
	}
	ctx := w.as(keyB, all)
	list, err := w.ours().ListDataEgress(ctx, &dataegress.ListDataEgressRequest{})
	if err != nil || len(list.GetItems()) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, e := range list.GetItems() {
		_, err := w.ours().StopDataEgress(ctx,
			&dataegress.StopDataEgressRequest{EgressId: e.GetEgressId()})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestRoomOfToken: a token for one room gives no access to another.
func TestRoomOfToken(t *testing.T) {
	w := newWorld(t)
	mine, other := w.start(keyA, "a", "mine"), w.start(keyA, "a", "other")
	ctx := w.as(keyA, map[string]any{"roomRecord": true, "room": "mine"})
	for what, err := range calls(ctx, w, other.GetEgressId()) {
		wantError(t, what, err, twirp.NotFound, other.GetEgressId())
	}
	_, err := w.ours().StartDataEgress(ctx, &dataegress.StartDataEgressRequest{RoomName: "other"})
	wantError(t, "start", err, twirp.PermissionDenied, "another room")
	_, err = w.ours().ListDataEgress(ctx, &dataegress.ListDataEgressRequest{RoomName: "other"})
	wantError(t, "list", err, twirp.PermissionDenied, "another room")
	for _, room := range []string{"", "mine"} {
		list, err := w.ours().ListDataEgress(ctx, &dataegress.ListDataEgressRequest{RoomName: room})
		if err != nil || len(list.GetItems()) != 1 ||
			list.GetItems()[0].GetEgressId() != mine.GetEgressId() {
			t.Errorf("list of %q: %v, %v", room, list, err)
		}
	}
	for what, err := range calls(ctx, w, mine.GetEgressId()) {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestKeyChange: keys are read for every request.
func TestKeyChange(t *testing.T) {
	key := keyA
	a := api.New(api.Options{
		Service:  apitest.New(),
		Projects: func() []api.Project { return []api.Project{{ID: "a", Key: key}} },
	})
	ask := func(with lk.Key) int {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost,
			"/twirp/livekit.Egress/ListEgress", strings.NewReader("{}"))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "bearer "+apitest.Token(t, with, all))
		resp := httptest.NewRecorder()
		a.ServeHTTP(resp, req)
		return resp.Code
	}
	before := fmt.Sprint(ask(keyA), ask(keyB))
	key = keyB
	if after := fmt.Sprint(ask(keyA), ask(keyB)); before != "200 401" || after != "401 200" {
		t.Errorf("before the change %s, after it %s", before, after)
	}
}

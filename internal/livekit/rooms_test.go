package livekit_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/syncflow/textegress/internal/livekit"
)

// TestRooms: rooms are made and deleted with a token that may do that and nothing else.
func TestRooms(t *testing.T) {
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims := jwt.MapClaims{}
		_, err := jwt.ParseWithClaims(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "),
			claims,
			func(*jwt.Token) (any, error) { return []byte("a secret of LiveKit"), nil },
			jwt.WithExpirationRequired())
		if video, ok := claims["video"].(map[string]any); err != nil || !ok || len(video) != 2 ||
			video["roomCreate"] != true || video["roomList"] != true {
			t.Errorf("claims %v, %v", claims, err)
		}
		body, _ := io.ReadAll(r.Body) // the test sees what is missing
		got = append(got, r.URL.Path+" "+string(body))
		_, _ = w.Write([]byte("{}")) // the client notices
	}))
	defer srv.Close()
	rooms, err := livekit.NewRooms(strings.Replace(srv.URL, "http", "ws", 1)+"/lk/", key)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(rooms.Create(t.Context(), "a/b", 30*time.Second),
		rooms.Delete(t.Context(), "a/b")); err != nil {
		t.Fatal(err)
	}
	want := `/lk/twirp/livekit.RoomService/CreateRoom {"departureTimeout":1,"emptyTimeout":30,"name":"a/b"}` + "\n" +
		`/lk/twirp/livekit.RoomService/DeleteRoom {"room":"a/b"}`
	if g := strings.Join(got, "\n"); g != want {
		t.Errorf("%s\nwant\n%s", g, want)
	}
}

// TestRoomExists: only an answer that is LiveKit's says that there is no room.
func TestRoomExists(t *testing.T) {
	for body, want := range map[string]string{
		`{"rooms":[{"sid":"RM_1","name":"a/b"}]}`: "true",
		`{"rooms":[]}`:                   "false",
		`{}`:                             "false",
		`{"rooms":[{"name":"another"}]}`: "false",
		`<html>`:                         "error",
		``:                               "error",
	} {
		var asked string
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body) // the test sees what is missing
			asked = r.URL.Path + " " + string(b)
			_, _ = w.Write([]byte(body)) // the client notices
		}))
		got, err := key.RoomExists(t.Context(), srv.URL, "a/b")
		srv.Close()
		if s := strconv.FormatBool(got); err != nil && want != "error" || err == nil && s != want {
			t.Errorf("%s: %v, %v", body, got, err)
		}
		if asked != `/twirp/livekit.RoomService/ListRooms {"names":["a/b"]}` {
			t.Errorf("asked %s", asked)
		}
	}
}

// TestRoomsRefused: a refused key is told apart; no error repeats a token, however long its text
// is.
func TestRoomsRefused(t *testing.T) {
	for _, c := range []struct {
		status  int
		body    string
		refused bool
		says    string
	}{
		{401, `{"code":"unauthenticated","msg":"invalid API key"}`, true, "API key"},
		{404, "404 page not found", false, "status 404"},
		{500, `{"code":"internal","msg":"no nodes"}`, false, "no nodes"},
		{500, `{"msg":"token eyJhbGciOi"}`, false, "status 500"},
		{500, strings.Repeat("x", 1<<20), false, "status 500"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body)) // the client notices
		}))
		rooms, err := livekit.NewRooms(srv.URL, key)
		if err != nil {
			t.Fatal(err)
		}
		err = rooms.Create(t.Context(), "r", time.Second)
		if err == nil || errors.Is(err, livekit.ErrKeyRefused) != c.refused ||
			!strings.Contains(err.Error(), c.says) ||
			strings.Contains(err.Error(), "eyJ") || len(err.Error()) > 400 {
			t.Errorf("%d %.40s: %v", c.status, c.body, err)
		}
		srv.Close()
	}
	for _, url := range []string{"", "livekit.example.org", "ftp://x", "://"} {
		if _, err := livekit.NewRooms(url, key); err == nil {
			t.Errorf("%q is a URL of a server", url)
		}
	}
}

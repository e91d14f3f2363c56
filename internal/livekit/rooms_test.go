package livekit_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	lkproto "github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/session"
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

// TestFindRoom: only an answer that is LiveKit's says that there is no room.
func TestFindRoom(t *testing.T) {
	s := newServer(t, room("RM_1", "a/b", 0), room("RM_2", "c", 1))
	s.rooms[0].Metadata = "m"
	got, found, err := key.FindRoom(t.Context(), s.URL, "a/b")
	if want := (session.Room{SID: "RM_1", Metadata: "m"}); got != want || !found || err != nil {
		t.Errorf("%+v, %v, %v", got, found, err)
	}
	got, found, err = key.FindRoom(t.Context(), s.URL, "b")
	if got != (session.Room{}) || found || err != nil {
		t.Errorf("%+v, %v, %v", got, found, err)
	}
	for body, want := range map[string]string{
		"":                   "false",
		"\x0a\x04\x12\x02ab": "error", // a room without a sid
		"<html>":             "error",
		"{}":                 "error",
		"\x0a\x7f":           "error",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(body)) // the client notices
		}))
		got, err := key.RoomExists(t.Context(), srv.URL, "a/b")
		srv.Close()
		if s := strconv.FormatBool(got); err != nil && want != "error" || err == nil && s != want {
			t.Errorf("%q: %v, %v", body, got, err)
		}
	}
}

// TestListRooms: every field that we read arrives, and requests share a connection.
func TestListRooms(t *testing.T) {
	at := time.UnixMilli(1760000000123)
	s := newServer(t,
		&lkproto.Room{
			Sid: "RM_1", Name: "a", Metadata: "m", NumParticipants: 7, ActiveRecording: true,
			CreationTime: at.Unix(), CreationTimeMs: at.UnixMilli(), NumPublishers: 3,
			EnabledCodecs: []*lkproto.Codec{{Mime: "audio/opus"}},
			Version:       &lkproto.TimedVersion{UnixMicro: 1},
		},
		&lkproto.Room{Sid: "RM_2", CreationTime: at.Unix()}, // of an old server
	)
	rooms, err := livekit.NewRooms(s.URL, key)
	if err != nil {
		t.Fatal(err)
	}
	want := []livekit.Room{
		{
			SID: "RM_1", Name: "a", Metadata: "m", Participants: 7, ActiveRecording: true,
			Created: at,
		},
		{SID: "RM_2", Created: at.Truncate(time.Second)},
	}
	for range 3 {
		got, err := rooms.List(t.Context())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	if got, err := rooms.List(t.Context(), "a", "x"); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestListRoomsThatAreTooMany: an answer without an end is cut, and is an error.
func TestListRoomsThatAreTooMany(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		part := make([]byte, 1<<20)
		for {
			if _, err := w.Write(part); err != nil {
				return // the client has had enough
			}
		}
	}))
	defer srv.Close()
	rooms, err := livekit.NewRooms(srv.URL, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rooms.List(t.Context()); err == nil || !strings.Contains(err.Error(), "64 MiB") {
		t.Error(err)
	}
}

// BenchmarkList measures the client's part of a list of 5,000 rooms.
func BenchmarkList(b *testing.B) {
	s := newServer(b)
	for i := range 5000 {
		s.rooms = append(s.rooms, room(fmt.Sprintf("RM_%012d", i), fmt.Sprintf("class-%d", i), 1))
	}
	r := s.registry(key)
	for b.Loop() {
		if list, err := r.Sessions(b.Context()); err != nil || len(list) != 5000 {
			b.Fatal(len(list), err)
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
			errors.Is(err, session.ErrUnauthorized) != c.refused ||
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

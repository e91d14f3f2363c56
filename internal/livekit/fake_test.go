package livekit_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lkproto "github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress/internal/livekit"
)

// server answers as LiveKit's room service does, in LiveKit's own encoding.
type server struct {
	*httptest.Server
	t testing.TB

	mu    sync.Mutex
	rooms []*lkproto.Room
	redis bool          // rooms are kept in Redis
	fails int           // status of every answer; 0: normal answers
	ahead time.Duration // of its clock
	calls []string      // method and content type
	conns atomic.Int32  // connections so far
}

func newServer(t testing.TB, rooms ...*lkproto.Room) *server {
	s := &server{t: t, rooms: rooms}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	method := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	s.calls = append(s.calls, method+" "+r.Header.Get("Content-Type"))
	w.Header().Set("Date", time.Now().Add(s.ahead).UTC().Format(http.TimeFormat))
	claims := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "),
		claims, func(*jwt.Token) (any, error) { return []byte(key.Secret), nil },
		jwt.WithExpirationRequired(), jwt.WithIssuer(key.ID)); err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"code":"unauthenticated","msg":"invalid token"}`)
		return
	}
	if s.fails != 0 {
		w.WriteHeader(s.fails)
		return
	}
	if method == "ListEgress" {
		if !s.redis {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w,
				`{"code":"internal","msg":"egress not connected (redis required)"}`)
		}
		return
	}
	body, err := io.ReadAll(r.Body)
	var req lkproto.ListRoomsRequest
	if err != nil || method != "ListRooms" || proto.Unmarshal(body, &req) != nil {
		s.t.Errorf("%s: %v", method, err)
	}
	var answer lkproto.ListRoomsResponse
	for _, room := range s.rooms {
		if len(req.Names) == 0 || slices.Contains(req.Names, room.Name) {
			answer.Rooms = append(answer.Rooms, room)
		}
	}
	b, err := proto.Marshal(&answer)
	if err != nil {
		s.t.Error(err)
	}
	w.Header().Set("Content-Type", "application/protobuf")
	_, _ = w.Write(b) // the client notices
}

// set replaces the rooms of the server.
func (s *server) set(rooms ...*lkproto.Room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rooms = rooms
}

// registry returns a registry of the server that records all rooms but those of no-*.
func (s *server) registry(k livekit.Key) *livekit.Registry {
	s.t.Helper()
	r, err := livekit.NewRegistry(livekit.Options{
		URL: strings.Replace(s.URL, "http", "ws", 1), Key: k, Name: "school",
		Records: policy(s.t, "!no-*", "*").Verdict,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(r.Close)
	return r
}

// room returns a room that was created a while ago, with n participants.
func room(sid, name string, n int) *lkproto.Room {
	at := time.Now().Add(-time.Hour)
	return &lkproto.Room{
		Sid: sid, Name: name, NumParticipants: uint32(n), CreationTime: at.Unix(),
		CreationTimeMs: at.UnixMilli(), EmptyTimeout: 300, TurnPassword: "a secret of the server",
		EnabledCodecs: []*lkproto.Codec{{Mime: "audio/opus"}, {Mime: "video/VP8"}},
		Version:       &lkproto.TimedVersion{UnixMicro: at.UnixMicro()},
	}
}

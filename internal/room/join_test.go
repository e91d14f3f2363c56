package room

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
)

func TestEndpoint(t *testing.T) {
	for raw, want := range map[string][2]string{
		"ws://host:7880":          {"ws://host:7880/rtc/v1", "http://host:7880/"},
		"http://host:7880/":       {"ws://host:7880/rtc/v1", "http://host:7880/"},
		"https://host":            {"wss://host/rtc/v1", "https://host/"},
		"wss://host/livekit/":     {"wss://host/livekit/rtc/v1", "https://host/livekit/"},
		"WSS://host/a/b?x=1#frag": {"wss://host/a/b/rtc/v1", "https://host/a/b/"},
		" ws://[::1]:7880 ":       {"ws://[::1]:7880/rtc/v1", "http://[::1]:7880/"},
	} {
		e, err := parseEndpoint(raw)
		if err != nil {
			t.Errorf("%q: %v", raw, err)
			continue
		}
		if got := [2]string{e.ws.String(), e.http.String()}; got != want {
			t.Errorf("%q = %q, want %q", raw, got, want)
		}
	}
	for _, raw := range []string{
		"", "host:7880", "ftp://host", "ws://", "ws://ho st",
		"ws://host:port",
	} {
		if e, err := parseEndpoint(raw); err == nil {
			t.Errorf("%q was accepted as %v", raw, e)
		}
	}
}

func TestJoinRequestCompression(t *testing.T) {
	for _, size := range []int{10, 5000} {
		sdp := strings.Repeat("a=candidate\r\n", size/13)
		param, err := joinRequest(&livekit.JoinRequest{PublisherOffer: &livekit.SessionDescription{
			Type: "offer", Sdp: sdp,
		}})
		if err != nil {
			t.Fatal(err)
		}
		jr, err := decodeJoinRequest(param)
		if err != nil || jr.PublisherOffer.Sdp != sdp {
			t.Errorf("%d bytes: not the same after decoding: %v", size, err)
		}
		if len(param) > 3000 {
			t.Errorf("%d bytes become a parameter of %d", size, len(param))
		}
	}
}

// What we ask of the server: to be a Go client with one offer of data channels, and nothing that
// would subscribe or publish.
func TestJoinAsksForDataOnly(t *testing.T) {
	f, w := newFakeSFU(t), &witness{}
	conn, s := join(t, f.client(nil), f, w)
	if s.token != "token" || s.jr.GetConnectionSettings().GetAutoSubscribe() ||
		s.jr.GetReconnect() {
		t.Errorf("token %q, join request %v", s.token, s.jr)
	}
	if s.jr.SyncState != nil {
		t.Error("a SyncState crashes LiveKit 1.11")
	}
	sdp := s.jr.GetPublisherOffer().GetSdp()
	if n := strings.Count(sdp, "m="); n != 1 || !strings.Contains(sdp, "m=application") {
		t.Errorf("the offer has %d sections:\n%s", n, sdp)
	}
	if !strings.Contains(sdp, "127.0.0.1") || strings.Contains(sdp, ".local") {
		t.Errorf("the offer for a server on loopback has other candidates than expected:\n%s", sdp)
	}
	want := Info{
		RoomSID: "RM_1", RoomName: "room", RoomMetadata: "meta",
		RoomCreated:    time.UnixMilli(1_700_000_000_001),
		ParticipantSID: "PA_us", Identity: "id-PA_us", ServerVersion: "9.9.9", Region: "here",
		Participants: []Participant{{
			SID: "PA_a", Identity: "id-PA_a", Name: "Ann", Kind: "STANDARD",
			JoinedAt: time.UnixMilli(1_700_000_000_123),
		}},
	}
	if diff := cmp.Diff(want, w.joinedWith()); diff != "" {
		t.Errorf("info (-want +got):\n%s", diff)
	}
	want.Participants = nil
	if diff := cmp.Diff(want, conn.Info()); diff != "" {
		t.Errorf("what the connection keeps (-want +got):\n%s", diff)
	}
	eventually(t, "clock", func() bool { return w.saw("clock_measured") })
	if off := conn.ClockOffset(); off < 50*time.Second || off > 70*time.Second {
		t.Errorf("clock offset %v, the server is 60 s ahead", off)
	}
	if order := w.calls(); order[0] != "joined" {
		t.Errorf("order %q", order)
	}
}

func TestJoinRefusedByHTTP(t *testing.T) {
	const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"
	for _, c := range []struct {
		name, body, text           string
		status                     int
		unauthorized, roomNotFound bool
	}{
		{
			name: "token", status: 401, body: "invalid token: " + token + ", error: expired",
			unauthorized: true, text: "invalid token: …, error: expired",
		},
		{
			name: "cut token", status: 401, body: strings.Repeat("x", 990) + token,
			unauthorized: true,
		},
		{
			name: "permission", status: 403, body: "no permission", unauthorized: true,
			text: "status 403",
		},
		{
			name: "old server", status: 404, body: "404 page not found\n",
			text: "LiveKit 1.11 or later",
		},
		{
			name: "no room", status: 404, body: "requested room does not exist", roomNotFound: true,
			text: "room does not exist",
		},
		{name: "unavailable", status: 503, body: strings.Repeat("long ", 400), text: "status 503"},
		{name: "redirect", status: 301, text: "status 301"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSFU) {
				f.refuse = func(w http.ResponseWriter, _ string, _ *livekit.JoinRequest) bool {
					w.WriteHeader(c.status)
					_, _ = w.Write([]byte(c.body))
					return true
				}
				w := &witness{}
				conn, err := f.client(nil).Join(t.Context(),
					JoinOptions{URL: f.url(), Token: token, Handler: w})
				je, ok := errors.AsType[*JoinError](err)
				if !ok || conn != nil {
					t.Fatalf("got %v, %v", conn, err)
				}
				if je.Status != c.status || je.Unauthorized() != c.unauthorized ||
					je.RoomNotFound() != c.roomNotFound {
					t.Errorf("status %d unauthorized %v room not found %v", je.Status,
						je.Unauthorized(), je.RoomNotFound())
				}
				if !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "eyJ") ||
					len(je.Body) > 500 {
					t.Errorf("text %q", err)
				}
				if len(w.calls()) != 0 {
					t.Error("Joined was called")
				}
			})
		})
	}
}

func TestJoinUnreachable(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		url := f.url()
		f.srv.Close()
		_, err := f.client(nil).Join(t.Context(), JoinOptions{
			URL: url, Token: "secret-token",
			Handler: &witness{},
		})
		je, ok := errors.AsType[*JoinError](err)
		if !ok || je.Status != 0 || je.Phase != "websocket" ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	})
}

// A server that stalls at any point makes Join fail in time, leaving nothing behind.
func TestJoinTimeout(t *testing.T) {
	for phase, script := range map[string]func(f *fakeSFU, release chan struct{}){
		"websocket": func(f *fakeSFU, release chan struct{}) {
			f.refuse = func(http.ResponseWriter, string, *livekit.JoinRequest) bool {
				<-release
				return true
			}
		},
		"join response": func(*fakeSFU, chan struct{}) {},
		"answer":        func(f *fakeSFU, _ chan struct{}) { go func() { f.next().sendJoin() }() },
	} {
		t.Run(phase, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSFU) {
				release := make(chan struct{})
				defer close(release)
				script(f, release)
				c := f.client(func(q *times) { q.join = 300 * time.Millisecond })
				conn, err := c.Join(t.Context(), JoinOptions{
					URL: f.url(), Token: "token",
					Handler: &witness{},
				})
				je, ok := errors.AsType[*JoinError](err)
				if conn != nil || !ok || je.Phase != phase ||
					!errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, %v", conn, err)
				}
			})
		})
	}
}

// A server whose UDP ports cannot be reached.
func TestJoinWithoutUDP(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		f.dark.Store(true)
		go func() {
			s := f.next()
			s.sendJoin()
			s.answer()
		}()
		_, err := f.client(nil).Join(t.Context(),
			JoinOptions{URL: f.url(), Token: "token", Handler: &witness{}})
		je, ok := errors.AsType[*JoinError](err)
		if !ok || je.Phase != "data channels" || !strings.Contains(err.Error(), "UDP") {
			t.Errorf("got %v", err)
		}
	})
}

func TestJoinEndedByServer(t *testing.T) {
	for name, c := range map[string]struct {
		script func(s *session)
		want   Reason
	}{
		"leave instead of join": {func(s *session) {
			s.leave(livekit.DisconnectReason_STATE_MISMATCH, livekit.LeaveRequest_RECONNECT)
		}, ReasonStateMismatch},
		"leave after join": {func(s *session) {
			s.sendJoin()
			s.leave(livekit.DisconnectReason_JOIN_FAILURE, livekit.LeaveRequest_DISCONNECT)
		}, ReasonJoinFailed},
		"room deleted after join": {func(s *session) {
			s.sendJoin()
			s.leave(livekit.DisconnectReason_ROOM_DELETED, livekit.LeaveRequest_DISCONNECT)
		}, ReasonRoomDeleted},
		"hang up after join": {func(s *session) { s.sendJoin(); s.hangUp() }, ReasonConnectionLost},
		"nonsense answer": {func(s *session) {
			s.sendJoin()
			s.send(&livekit.SignalResponse{Message: &livekit.SignalResponse_Answer{
				Answer: &livekit.SessionDescription{Type: "answer", Sdp: "v=nonsense"},
			}})
		}, ReasonJoinFailed},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSFU) {
				go func() { c.script(f.next()) }()
				_, err := f.client(nil).Join(t.Context(),
					JoinOptions{URL: f.url(), Token: "token", Handler: &witness{}})
				ee, ok := errors.AsType[*DisconnectError](err)
				if !ok || ee.Disconnect.Reason != c.want {
					t.Errorf("got %v, want %s", err, c.want)
				}
			})
		})
	}
}

func TestJoinUnexpectedFirstMessage(t *testing.T) {
	for name, send := range map[string]func(s *session){
		"another message": func(s *session) { s.sendUpdate() },
		"no message":      func(s *session) { s.sendBytes([]byte{0xff, 0xff}) },
		"hang up":         func(s *session) { s.hangUp() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSFU) {
				go func() { send(f.next()) }()
				_, err := f.client(nil).Join(t.Context(),
					JoinOptions{URL: f.url(), Token: "token", Handler: &witness{}})
				if je, ok := errors.AsType[*JoinError](err); !ok || je.Phase != "join response" {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// The handler looks at the room and does not want it: we say goodbye, so that the server forgets us
// at once.
func TestJoinRefusedByHandler(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		left := make(chan *livekit.SignalRequest, 1)
		go func() {
			s := f.next()
			s.sendJoin()
			left <- s.awaitRequest("a leave",
				func(m *livekit.SignalRequest) bool { return m.GetLeave() != nil })
			s.hangUp()
		}()
		sentinel := errors.New("another session's room")
		w := &witness{refuse: sentinel}
		_, err := f.client(nil).Join(t.Context(), JoinOptions{
			URL: f.url(), Token: "token",
			Handler: w,
		})
		ee, ok := errors.AsType[*DisconnectError](err)
		if !ok || ee.Disconnect.Reason != ReasonRefused || !errors.Is(err, sentinel) {
			t.Errorf("got %v", err)
		}
		if m := <-left; m.GetLeave().GetReason() != livekit.DisconnectReason_CLIENT_INITIATED {
			t.Errorf("left with %v", m)
		}
		if order := w.calls(); len(order) != 1 {
			t.Errorf("calls %q", order)
		}
	})
}

func TestJoinCancelled(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { f.next().sendJoin(); cancel() }()
		_, err := f.client(nil).Join(ctx, JoinOptions{
			URL: f.url(), Token: "token",
			Handler: &witness{},
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

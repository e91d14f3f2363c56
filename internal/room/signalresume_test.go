package room

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
)

// resumed answers a resuming websocket as LiveKit does: ReconnectResponse, everybody, the room.
func (s *session) resumed(present ...*livekit.ParticipantInfo) {
	s.send(&livekit.SignalResponse{Message: &livekit.SignalResponse_Reconnect{
		Reconnect: &livekit.ReconnectResponse{},
	}})
	s.sendUpdate(append(present, person("PA_us", "us", livekit.ParticipantInfo_ACTIVE))...)
}

// The websocket breaks in different ways while the data channels live: it is brought back, and
// packets do not notice.
func TestResume(t *testing.T) {
	for name, breakIt := range map[string]func(s *session){
		"hang up":              func(s *session) { s.hangUp() },
		"no pong":              func(s *session) { s.mute.Store(true) },
		"nonsense":             func(s *session) { s.sendBytes([]byte{0xff, 0xff, 0xff}) },
		"message far too long": func(s *session) { s.sendBytes(make([]byte, maxSignal+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			test := bubble
			if name == "hang up" {
				test = inBoth
			}
			test(t, func(t *testing.T, f *fakeSFU) {
				w := &witness{}
				conn, s := join(t, f.client(nil), f, w)
				s.publish("_reliable", []byte("before"))
				breakIt(s)
				eventually(t, "loss", func() bool { return w.saw("signal_lost") })
				s.publish("_reliable", []byte("between"))
				again := f.next()
				if !again.jr.GetReconnect() || again.jr.GetParticipantSid() != "PA_us" ||
					again.jr.GetPublisherOffer() != nil || again.jr.SyncState != nil {
					t.Errorf("resumes with %v", again.jr)
				}
				again.resumed(person("PA_c", "Cyd", livekit.ParticipantInfo_ACTIVE))
				eventually(t, "the newcomer", func() bool {
					return w.saw("participant_joined PA_c") &&
						w.saw("participant_left PA_a")
				})
				again.awaitRequest("a ping",
					func(m *livekit.SignalRequest) bool { return m.GetPingReq() != nil })
				s.publish("_reliable", []byte("after"))
				eventually(t, "packets", func() bool { return len(w.received(Reliable)) == 3 })
				// The new websocket is as good as the first.
				again.sendUpdate(person("PA_c", "Cyd", livekit.ParticipantInfo_DISCONNECTED))
				eventually(t, "the leaver", func() bool { return w.saw("participant_left PA_c") })
				conn.Leave(t.Context())
				got := slices.DeleteFunc(w.seen(),
					func(s string) bool { return !strings.HasPrefix(s, "signal") })
				if diff := cmp.Diff([]string{"signal_lost", "signal_resumed"}, got); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// The server's latest token first, then the one we came with, then a new one.
func TestResumeTokens(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		w := &witness{}
		c := f.client(nil)
		f.refuse = func(w http.ResponseWriter, token string, jr *livekit.JoinRequest) bool {
			if jr.GetReconnect() && token != "brand new" {
				http.Error(w, "expired", http.StatusUnauthorized)
				return true
			}
			return false
		}
		asked := 0
		type result struct {
			conn *Conn
			err  error
		}
		ch := make(chan result, 1)
		go func() {
			conn, err := c.Join(t.Context(), JoinOptions{
				URL: f.url(), Token: "original", Handler: w,
				RefreshToken: func(context.Context) (string, error) {
					if asked++; asked == 1 {
						return "", context.DeadlineExceeded // the API has a bad moment
					}
					return "brand new", nil
				},
			})
			ch <- result{conn, err}
		}()
		s := f.next()
		s.sendJoin()
		s.answer()
		r := <-ch
		if r.err != nil {
			t.Fatal(r.err)
		}
		defer r.conn.Leave(t.Context())
		for _, tok := range []string{"refreshed 1", "refreshed 2"} {
			s.send(&livekit.SignalResponse{Message: &livekit.SignalResponse_RefreshToken{
				RefreshToken: tok,
			}})
		}
		s.sendUpdate(person("PA_b", "Bob", livekit.ParticipantInfo_ACTIVE))
		eventually(t, "what follows the tokens",
			func() bool { return w.saw("participant_joined PA_b") })
		s.hangUp()
		f.next().resumed()
		f.mu.Lock()
		defer f.mu.Unlock()
		want := []string{
			"original", "refreshed 2", "original", "refreshed 2", "original",
			"brand new",
		}
		if diff := cmp.Diff(want, f.tokens); diff != "" {
			t.Errorf("tokens (-want +got):\n%s", diff)
		}
	})
}

// A server with a bad moment is asked again.
func TestResumeRetries(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		w := &witness{}
		tries := 0
		f.refuse = func(w http.ResponseWriter, _ string, jr *livekit.JoinRequest) bool {
			if jr.GetReconnect() {
				tries++
			}
			if jr.GetReconnect() && tries < 4 {
				http.Error(w, "try later", http.StatusServiceUnavailable)
				return true
			}
			return false
		}
		_, s := join(t, f.client(nil), f, w)
		s.hangUp()
		f.next().resumed()
		eventually(t, "resumed", func() bool { return w.saw("signal_resumed") })
	})
}

func TestResumeAnsweredWithLeave(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		w := &witness{}
		conn, s := join(t, f.client(nil), f, w)
		s.hangUp()
		f.next().leave(livekit.DisconnectReason_STATE_MISMATCH, livekit.LeaveRequest_RECONNECT)
		if e := await(t, conn); e.Reason != ReasonStateMismatch {
			t.Errorf("end %v", e)
		}
	})
}

// Resuming creates a room that is gone. So nobody dials when the PeerConnection is closed…
func TestNoResumeAfterWebRTC(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		w := &witness{}
		conn, s := join(t, f.client(func(q *times) { q.resume.grace = 10 * time.Second }), f, w)
		s.hangUp()
		eventually(t, "loss", func() bool { return w.saw("signal_lost") })
		s.peer.Close()
		if e := await(t, conn); e.Reason != ReasonConnectionLost || len(f.sessions) != 0 {
			t.Errorf("end %v, %d more websockets", e, len(f.sessions))
		}
	})
}

// … and not when it is silent: while the server can be reached otherwise, or its port is closed,
// not for long; while nothing can be reached for as long as ICE would wait.
func TestNoResumeInSilence(t *testing.T) {
	for name, c := range map[string]struct {
		after func(f *fakeSFU)
		want  string
	}{
		"restarted": {func(*fakeSFU) {}, "gone"},
		"killed":    {func(f *fakeSFU) { f.srv.Close() }, "gone"},
		"network":   {func(f *fakeSFU) { f.stall.Store(true) }, "silent"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSFU) {
				w := &witness{}
				conn, s := join(t, f.client(nil), f, w)
				f.dark.Store(true)
				c.after(f)
				s.hangUp()
				if e := await(t, conn); e.Reason != ReasonConnectionLost ||
					!strings.Contains(e.Detail, c.want) || len(f.sessions) != 0 {
					t.Errorf("end %v, %d more websockets", e, len(f.sessions))
				}
			})
		})
	}
}

// Whoever is to say whether the room is still there may be silent too: that keeps nobody from
// seeing that the session is gone.
func TestNoResumeWhileNobodyTells(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		w := &witness{}
		conn, s := joinWith(t, f.client(nil), f, w, func(ctx context.Context) (bool, error) {
			<-ctx.Done()
			return false, ctx.Err()
		})
		f.dark.Store(true)
		s.hangUp()
		if e := await(t, conn); e.Reason != ReasonConnectionLost ||
			!strings.Contains(e.Detail, "gone") || len(f.sessions) != 0 {
			t.Errorf("end %v, %d more websockets", e, len(f.sessions))
		}
	})
}

// Leaving ends a resume that is under way.
func TestLeaveWhileResuming(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		w := &witness{}
		conn, s := join(t, f.client(nil), f, w)
		s.hangUp()
		f.next() // and no answer
		conn.Leave(t.Context())
		if e := await(t, conn); e.Reason != ReasonLeft {
			t.Errorf("end %v", e)
		}
		if w.saw("signal_resumed") {
			t.Error("resumed")
		}
	})
}

func TestPingTimes(t *testing.T) {
	for _, c := range []struct {
		interval, timeout int32
		every, wait       time.Duration
	}{
		{0, 0, 5 * time.Second, 20 * time.Second},
		{5, 15, 5 * time.Second, 20 * time.Second}, // LiveKit's own
		{2, 6, 2 * time.Second, 20 * time.Second},
		{30, 45, 5 * time.Second, 50 * time.Second},
		{-1, 1 << 30, 5 * time.Second, 20 * time.Second},
	} {
		every, wait := pingTimes(&livekit.JoinResponse{
			PingInterval: c.interval,
			PingTimeout:  c.timeout,
		}, defaultTimes)
		if every != c.every || wait != c.wait {
			t.Errorf("%d, %d: %v, %v, want %v, %v", c.interval, c.timeout, every, wait, c.every,
				c.wait)
		}
	}
}

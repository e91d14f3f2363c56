package room

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/internal/room/rtc"
)

func (s *session) awaitOffer() *livekit.SessionDescription {
	s.sfu.t.Helper()
	return s.awaitRequest("an offer",
		func(m *livekit.SignalRequest) bool { return m.GetOffer() != nil }).GetOffer()
}

// The path falls silent while the websocket lives: we offer a new one, and packets sent meanwhile
// arrive over it.
func TestPathReplaced(t *testing.T) {
	inBoth(t, func(t *testing.T, f *fakeSFU) {
		w := &witness{}
		conn, s := join(t, f.client(nil), f, w)
		s.publish("_reliable", []byte("before"))
		eventually(t, "the packet", func() bool { return len(w.received(Reliable)) == 1 })
		f.dark.Store(true)
		s.publish("_reliable", []byte("in the dark"))
		o := s.awaitOffer()
		if o.GetId() != 2 || o.GetSdp() == s.jr.GetPublisherOffer().GetSdp() {
			t.Errorf("offer %d is no ICE restart:\n%s", o.GetId(), o.GetSdp())
		}
		f.dark.Store(false)
		s.sendAnswer(1, "v=nonsense") // answers to earlier offers are ignored
		s.reanswer(s.peer, o)
		eventually(t, "packets", func() bool { return len(w.received(Reliable)) == 2 })
		s.publish("_lossy", []byte("after"))
		eventually(t, "packets", func() bool { return len(w.received(Lossy)) == 1 })
		select {
		case <-conn.Done():
			t.Errorf("ended: %v", conn.End())
		default:
		}
		if w.saw("signal_lost") || len(f.sessions) != 0 {
			t.Errorf("events %q, %d more websockets", w.seen(), len(f.sessions))
		}
	})
}

// A room in which nothing was said for long is not taken for one that has been silent so long.
func TestIdlePathReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		w := &witness{}
		conn, s := join(t, f.client(nil), f, w)
		time.Sleep(10 * time.Minute)
		if h := time.Since(conn.rtc.Status().LastReceived); h > fakeKeepalive {
			t.Errorf("the server was heard %v ago, ICE asks it every %v", h, fakeKeepalive)
		}
		f.dark.Store(true)
		o := s.awaitOffer()
		f.dark.Store(false)
		s.reanswer(s.peer, o)
		s.publish("_reliable", []byte("after"))
		eventually(t, "the packet", func() bool { return len(w.received(Reliable)) == 1 })
	})
}

// An offer without an answer is followed by another, which ends when an answer comes to any of
// them, or the time is over.
func TestOfferRepeated(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		w := &witness{}
		_, s := join(t, f.client(nil), f, w)
		f.dark.Store(true)
		first, second := s.awaitOffer(), s.awaitOffer()
		if first.GetSdp() == second.GetSdp() {
			t.Error("the second offer is the first")
		}
		f.dark.Store(false)
		s.reanswer(s.peer, second)
		s.publish("_reliable", []byte("after"))
		eventually(t, "the packet", func() bool { return len(w.received(Reliable)) == 1 })
	})
}

// A server that accepts the offer late has discarded packets in between: the connection has a hole,
// so it ends.
func TestPathReplacedTooLate(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		conn, s := join(t, f.client(nil), f, &witness{})
		time.Sleep(time.Second)
		f.dark.Store(true)
		before := time.Now()
		o := s.awaitOffer()
		time.Sleep(time.Until(before.Add(defaultTimes.restart.serverKeepsUs + time.Second)))
		f.dark.Store(false)
		s.reanswer(s.peer, o)
		if e := await(t, conn); e.Reason != ReasonConnectionLost ||
			!strings.Contains(e.Detail, "late") {
			t.Errorf("end %v", e)
		}
		if h := conn.End().LastReceived; h.Before(before.Add(-fakeKeepalive)) || h.After(before) {
			t.Errorf("heard until %v, dark since %v", h, before)
		}
	})
}

// No path, and nobody who answers: the connection ends when the server has certainly dropped it.
func TestNoPath(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		conn, _ := join(t, f.client(nil), f, &witness{})
		f.dark.Store(true)
		before := time.Now()
		if e := await(t, conn); e.Reason != ReasonConnectionLost ||
			!strings.Contains(e.Detail, "no path") {
			t.Errorf("end %v", e)
		}
		dropped := defaultTimes.restart.serverDroppedUs
		if d := time.Since(before); d < dropped-fakeKeepalive || d > dropped+time.Second {
			t.Errorf("ended after %v, the server drops us after %v", d, dropped)
		}
	})
}

// Path and websocket are both silent, and the network works again: the connection is saved if the
// room is known to be there. If it is gone, or nobody knows, nobody dials, because that would make
// it.
func TestAllSilent(t *testing.T) {
	away := errors.New("away")
	for name, c := range map[string]struct {
		there func(context.Context) (bool, error)
		saved bool
	}{
		"there":       {func(context.Context) (bool, error) { return true, nil }, true},
		"gone":        {func(context.Context) (bool, error) { return false, nil }, false},
		"nobody asks": {nil, false},
		"unknown":     {func(context.Context) (bool, error) { return true, away }, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSFU) {
				w := &witness{}
				conn, s := joinWith(t, f.client(nil), f, w, c.there)
				s.mute.Store(true)
				f.dark.Store(true)
				if !c.saved {
					if e := await(t, conn); e.Reason != ReasonConnectionLost ||
						len(f.sessions) != 0 {
						t.Errorf("end %v, %d more websockets", e, len(f.sessions))
					}
					return
				}
				s.publish("_reliable", []byte("in the dark"))
				again := f.next()
				if !again.jr.GetReconnect() {
					t.Error("no resume")
				}
				again.resumed(person("PA_a", "Ann", livekit.ParticipantInfo_ACTIVE))
				o := again.awaitOffer()
				f.dark.Store(false)
				again.reanswer(s.peer, o)
				eventually(t, "the packet", func() bool { return len(w.received(Reliable)) == 1 })
			})
		})
	}
}

// A websocket that the server answers on is not touched while the path is silent; a path that is
// heard again is not replaced.
func TestPathHeardAgain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSFU) {
		w := &witness{}
		conn, s := join(t, f.client(nil), f, w)
		f.dark.Store(true)
		eventually(t, "silence",
			func() bool { return !conn.rtc.Status().SilentSince.IsZero() })
		f.dark.Store(false)
		s.publish("_reliable", []byte("after"))
		eventually(t, "the packet", func() bool { return len(w.received(Reliable)) == 1 })
		eventually(t, "no silence",
			func() bool { return conn.rtc.Status().SilentSince.IsZero() })
		conn.Leave(t.Context())
		for m := range s.got {
			if m.GetOffer() != nil {
				t.Error("the path was replaced")
			}
		}
		if w.saw("signal_lost") {
			t.Errorf("events %q", w.seen())
		}
	})
}

// Of the server's ICE servers those that relay are used, and none of the others is asked.
func TestTURNServers(t *testing.T) {
	got := turnServers([]*livekit.ICEServer{
		{Urls: []string{"stun:stun.example:19302"}},
		{Urls: []string{
			"turn:192.0.2.1:3478?transport=udp", "stun:192.0.2.1",
			"turns:turn.example:443?transport=tcp",
		}, Username: "u", Credential: "c"},
		nil,
	})
	want := []rtc.TURNServer{{URLs: []string{
		"turn:192.0.2.1:3478?transport=udp",
		"turns:turn.example:443?transport=tcp",
	}, Username: "u", Credential: "c"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// sendJoinWithTURN sends a JoinResponse that names ICE servers.
func (s *session) sendJoinWithTURN(urls ...string) {
	s.send(&livekit.SignalResponse{
		Message: &livekit.SignalResponse_Join{Join: &livekit.JoinResponse{
			Room:        &livekit.Room{Sid: "RM_1"},
			Participant: person("PA_us", "us", livekit.ParticipantInfo_JOINED),
			IceServers:  []*livekit.ICEServer{{Urls: urls, Username: "u", Credential: "c"}},
		}},
	})
}

// No channel opens: the TURN servers are tried, by an ICE restart, even if they turn out to be of
// no use.
func TestFallbackToTURN(t *testing.T) {
	for name, turnErr := range map[string]error{
		"usable": nil, "not usable": errors.New("no address"),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSFU) {
				f.dark.Store(true)
				f.turnErr = turnErr
				joined := make(chan error, 1)
				c := f.client(nil)
				go func() {
					conn, err := c.Join(t.Context(), JoinOptions{
						URL: f.url(), Token: "token", Handler: &witness{},
					})
					if err == nil {
						conn.Leave(context.Background())
					}
					joined <- err
				}()
				s := f.next()
				began := time.Now()
				s.sendJoinWithTURN("turn:192.0.2.1:3478", "stun:192.0.2.1:3478")
				s.answer()
				o := s.awaitOffer()
				if o.GetId() != 2 || time.Since(began) < defaultTimes.restart.turnAfter {
					t.Errorf("offer %d after %v", o.GetId(), time.Since(began))
				}
				if got := s.fake(t).turnServers(); len(got) != 1 || len(got[0].URLs) != 1 {
					t.Errorf("TURN servers %v", got)
				}
				f.dark.Store(false)
				s.reanswer(s.peer, o)
				if err := <-joined; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Only through TURN: there is no offer before the TURN servers are known.
func TestRelayOnly(t *testing.T) {
	for name, c := range map[string]struct {
		url     string
		turnErr error
		phase   string
	}{
		"no TURN server":    {"stun:192.0.2.1:9", nil, "relay"},
		"none that answers": {"turn:192.0.2.1:9", nil, "answer"},
		"no address":        {"turn:::::", errors.New("no address"), "relay"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSFU) {
				f.turnErr = c.turnErr
				client := f.inMemory(Options{RelayOnly: true, Logger: strict(t)}, defaultTimes)
				joined := make(chan error, 1)
				go func() {
					_, err := client.Join(t.Context(), JoinOptions{
						URL: f.url(), Token: "token", Handler: &witness{},
					})
					joined <- err
				}()
				s := f.next()
				if s.jr.GetPublisherOffer() != nil {
					t.Error("there is an offer before the TURN servers are known")
				}
				s.sendJoinWithTURN(c.url)
				if c.phase == "answer" {
					s.awaitOffer()
				}
				for m := range s.got { // until the client closes the websocket
					if m.GetLeave() != nil {
						s.hangUp()
					}
				}
				je, ok := errors.AsType[*JoinError](<-joined)
				if !ok || je.Phase != c.phase {
					t.Errorf("got %v, want phase %s", je, c.phase)
				}
			})
		})
	}
}

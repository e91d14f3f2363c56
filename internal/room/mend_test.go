package room

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
	"github.com/pion/webrtc/v4"
)

// nervous times notice a silent path soon.
func nervous(change func(*times)) func(*times) {
	return func(q *times) {
		q.iceDisconnected, q.mend.patience = 500*time.Millisecond, 300*time.Millisecond
		if change != nil {
			change(q)
		}
	}
}

func (s *session) awaitOffer() *livekit.SessionDescription {
	s.sfu.t.Helper()
	return s.awaitRequest("an offer",
		func(m *livekit.SignalRequest) bool { return m.GetOffer() != nil }).GetOffer()
}

// reanswer answers a further offer on the PeerConnection of the first.
func (s *session) reanswer(pc *webrtc.PeerConnection, o *livekit.SessionDescription) {
	t := s.sfu.t
	t.Helper()
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{
		Type: webrtc.SDPTypeOffer,
		SDP:  o.GetSdp(),
	}); err != nil {
		t.Fatal(err)
	}
	a, err := pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(a); err != nil {
		t.Fatal(err)
	}
	<-gathered
	s.send(&livekit.SignalResponse{Message: &livekit.SignalResponse_Answer{
		Answer: &livekit.SessionDescription{
			Type: "answer", Sdp: pc.LocalDescription().SDP, Id: o.GetId(),
		},
	}})
}

func ufrag(o *livekit.SessionDescription) string {
	_, rest, _ := strings.Cut(o.GetSdp(), "a=ice-ufrag:")
	u, _, _ := strings.Cut(rest, "\r\n")
	return u
}

// The path falls silent while the websocket lives: we offer a new one, and packets sent meanwhile
// arrive over it.
func TestPathReplaced(t *testing.T) {
	f, w := newFakeSFU(t), &witness{}
	conn, s := join(t, quickClient(t, nervous(nil)), f, w)
	s.publish("_reliable", []byte("before"))
	eventually(t, "the packet", func() bool { return len(w.received(Reliable)) == 1 })
	f.dark.Store(true)
	s.publish("_reliable", []byte("in the dark"))
	o := s.awaitOffer()
	if ufrag(o) == "" || ufrag(o) == ufrag(s.jr.GetPublisherOffer()) || o.GetId() != 2 {
		t.Errorf("offer %d with ufrag %q after %q is no ICE restart", o.GetId(), ufrag(o),
			ufrag(s.jr.GetPublisherOffer()))
	}
	f.dark.Store(false)
	// An answer to the offer before is none to this one.
	s.send(&livekit.SignalResponse{Message: &livekit.SignalResponse_Answer{
		Answer: &livekit.SessionDescription{Type: "answer", Sdp: "v=nonsense", Id: 1},
	}})
	s.reanswer(s.pc, o)
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
}

// A room in which nothing was said for long is not taken for one that has been silent so long.
func TestIdlePathReplaced(t *testing.T) {
	f, w := newFakeSFU(t), &witness{}
	conn, s := join(t, quickClient(t,
		nervous(func(q *times) { q.mend.safe, q.mend.lost = 4*time.Second, 5*time.Second })), f, w)
	joined := time.Now()
	eventually(t, "time goes by", func() bool { return time.Since(joined) > 6*time.Second })
	if h := time.Since(conn.peer.heard()); h > 2*time.Second {
		t.Errorf("the server was heard %v ago, ICE asks it every %v", h, quickTimes().iceKeepalive)
	}
	f.dark.Store(true)
	o := s.awaitOffer()
	f.dark.Store(false)
	s.reanswer(s.pc, o)
	s.publish("_reliable", []byte("after"))
	eventually(t, "the packet", func() bool { return len(w.received(Reliable)) == 1 })
}

// An offer without an answer is followed by another, which ends when an answer comes to any of
// them, or the time is over.
func TestOfferRepeated(t *testing.T) {
	f, w := newFakeSFU(t), &witness{}
	_, s := join(t, quickClient(t, nervous(nil)), f, w)
	f.dark.Store(true)
	first, second := s.awaitOffer(), s.awaitOffer()
	if ufrag(first) == ufrag(second) {
		t.Error("the second offer is the first")
	}
	f.dark.Store(false)
	s.reanswer(s.pc, second)
	s.publish("_reliable", []byte("after"))
	eventually(t, "the packet", func() bool { return len(w.received(Reliable)) == 1 })
}

// A server that takes the offer late has thrown packets away in between: the connection has a hole,
// so it ends.
func TestPathReplacedTooLate(t *testing.T) {
	f, w := newFakeSFU(t), &witness{}
	conn, s := join(t, quickClient(t,
		nervous(func(q *times) { q.mend.safe, q.mend.lost = 2500*time.Millisecond, time.Hour })), f,
		w)
	f.dark.Store(true)
	before := time.Now()
	o := s.awaitOffer()
	time.Sleep(time.Until(before.Add(3 * time.Second)))
	f.dark.Store(false)
	s.reanswer(s.pc, o)
	if e := await(t, conn); e.Reason != ReasonConnectionLost ||
		!strings.Contains(e.Detail, "late") {
		t.Errorf("end %v", e)
	}
	if h := conn.End().LastReceived; h.IsZero() || h.After(before.Add(200*time.Millisecond)) {
		t.Errorf("heard until %v, dark since %v", h, before)
	}
}

// No path, and nobody who answers.
func TestNoPath(t *testing.T) {
	f, w := newFakeSFU(t), &witness{}
	conn, _ := join(t, quickClient(t,
		nervous(func(q *times) { q.mend.safe, q.mend.lost = time.Second, 1500*time.Millisecond })),
		f, w)
	f.dark.Store(true)
	if e := await(t, conn); e.Reason != ReasonConnectionLost ||
		!strings.Contains(e.Detail, "no path") {
		t.Errorf("end %v", e)
	}
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
			f, w := newFakeSFU(t), &witness{}
			client := quickClient(t, nervous(nil))
			conn, s := joinWith(t, client, f, w, c.there)
			s.mute.Store(true)
			f.dark.Store(true)
			if !c.saved {
				if e := await(t, conn); e.Reason != ReasonConnectionLost || len(f.sessions) != 0 {
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
			again.reanswer(s.pc, o)
			eventually(t, "the packet", func() bool { return len(w.received(Reliable)) == 1 })
		})
	}
}

// A websocket that the server answers on is not touched while the path is silent; a path that is
// heard again is not replaced.
func TestPathHeardAgain(t *testing.T) {
	f, w := newFakeSFU(t), &witness{}
	conn, s := join(t, quickClient(t,
		nervous(func(q *times) { q.mend.patience = 5 * time.Second })), f, w)
	f.dark.Store(true)
	eventually(t, "silence", func() bool { return conn.peer.silent.Load() != 0 })
	f.dark.Store(false)
	s.publish("_reliable", []byte("after"))
	eventually(t, "the packet", func() bool { return len(w.received(Reliable)) == 1 })
	eventually(t, "no silence", func() bool { return conn.peer.silent.Load() == 0 })
	conn.Leave(t.Context())
	for m := range s.got {
		if m.GetOffer() != nil {
			t.Error("the path was replaced")
		}
	}
	if w.saw("signal_lost") {
		t.Errorf("events %q", w.seen())
	}
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
	want := []turnServer{{urls: []string{
		"turn:192.0.2.1:3478?transport=udp",
		"turns:turn.example:443?transport=tcp",
	}, username: "u", credential: "c"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(turnServer{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// turn makes a JoinResponse that names a TURN server, at a port where none is, and one with an
// address that is none.
func (s *session) sendJoinWithTURN(urls ...string) {
	s.send(&livekit.SignalResponse{
		Message: &livekit.SignalResponse_Join{Join: &livekit.JoinResponse{
			Room:        &livekit.Room{Sid: "RM_1"},
			Participant: person("PA_us", "us", livekit.ParticipantInfo_JOINED),
			IceServers:  []*livekit.ICEServer{{Urls: urls, Username: "u", Credential: "c"}},
		}},
	})
}

// No channel opens: the TURN servers are tried, by an ICE restart, also if they turn out to be of
// no use.
func TestFallbackToTURN(t *testing.T) {
	for name, urls := range map[string][]string{
		"nobody there": {"turn:127.0.0.1:9?transport=tcp", "turns:127.0.0.1:9?transport=tcp"},
		"no address":   {"turn:::::"},
	} {
		t.Run(name, func(t *testing.T) {
			f, w := newFakeSFU(t), &witness{}
			f.dark.Store(true)
			joined := make(chan error, 1)
			c := quickClient(t, nil)
			go func() {
				conn, err := c.Join(t.Context(), JoinOptions{
					URL: f.url(), Token: "token",
					Handler: w,
				})
				if err == nil {
					conn.Leave(context.Background())
				}
				joined <- err
			}()
			s := f.next()
			s.sendJoinWithTURN(urls...)
			s.answer()
			o := s.awaitOffer()
			if o.GetId() != 2 || ufrag(o) == ufrag(s.jr.GetPublisherOffer()) {
				t.Errorf("offer %d is no ICE restart", o.GetId())
			}
			f.dark.Store(false)
			s.reanswer(s.pc, o)
			if err := <-joined; err != nil {
				t.Error(err)
			}
		})
	}
}

// Only through TURN: our own addresses are not offered, and the offer waits until the TURN servers
// are known.
func TestRelayOnly(t *testing.T) {
	for name, urls := range map[string][]string{
		"no TURN server":         {"stun:127.0.0.1:9"},
		"none that answers":      {"turn:127.0.0.1:9?transport=tcp"},
		"a server without sense": {"turn:::::"},
	} {
		t.Run(name, func(t *testing.T) {
			f, w := newFakeSFU(t), &witness{}
			q := quickTimes()
			q.join, q.mend.gather = 2*time.Second, 200*time.Millisecond
			c, err := newClient(Options{RelayOnly: true}, q)
			if err != nil {
				t.Fatal(err)
			}
			joined := make(chan error, 1)
			go func() {
				_, err := c.Join(t.Context(), JoinOptions{URL: f.url(), Token: "token", Handler: w})
				joined <- err
			}()
			s := f.next()
			if s.jr.GetPublisherOffer() != nil {
				t.Error("there is an offer before the TURN servers are known")
			}
			s.sendJoinWithTURN(urls...)
			if name == "none that answers" {
				if o := s.awaitOffer(); strings.Contains(o.GetSdp(), "a=candidate") {
					t.Errorf("the offer has our addresses:\n%s", o.GetSdp())
				}
			}
			for m := range s.got { // until we hang up
				if m.GetLeave() != nil {
					s.hangUp()
				}
			}
			je, ok := errors.AsType[*JoinError](<-joined)
			if want := map[bool]string{
				true:  "answer",
				false: "relay",
			}[name == "none that answers"]; !ok || je.Phase != want {
				t.Errorf("got %v, want phase %s", je, want)
			}
		})
	}
}

// Interfaces that come and go are seen by connections that are there already.
func TestInterfacesAreListedAgain(t *testing.T) {
	c, err := NewClient(Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, ok := c.net.(*host)
	if !ok {
		t.Fatalf("the network is a %T", c.net)
	}
	first, err := h.Interfaces()
	if err != nil || len(first) == 0 {
		t.Fatal(first, err)
	}
	h.list = slices.Clone(h.list)[:0]
	if got, _ := h.Interfaces(); len(got) != 0 {
		t.Error("the interfaces are listed for each connection")
	}
	h.listed = h.listed.Add(-interfacesValid)
	if got, _ := h.Interfaces(); len(got) != len(first) {
		t.Errorf("%d interfaces, then %d", len(first), len(got))
	}
}

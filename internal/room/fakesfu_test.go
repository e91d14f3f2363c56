package room

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
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

	"github.com/gorilla/websocket"
	"github.com/livekit/protocol/livekit"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

// fakeSFU is a LiveKit server as far as one client can tell: the signalling of /rtc/v1, and a
// PeerConnection that answers. Each websocket becomes a session that the test drives.
type fakeSFU struct {
	t   *testing.T
	srv *httptest.Server
	// true: it answered instead of a websocket
	refuse   func(w http.ResponseWriter, token string, jr *livekit.JoinRequest) bool
	sessions chan *session
	api      *webrtc.API
	dark     atomic.Bool // nothing leaves over UDP
	stall    atomic.Bool // the root page does not answer

	mu     sync.Mutex
	tokens []string
}

// session is one websocket of a client.
type session struct {
	sfu   *fakeSFU
	jr    *livekit.JoinRequest
	token string
	ws    *websocket.Conn
	got   chan *livekit.SignalRequest // closed when the client has hung up

	mute atomic.Bool // pings are not answered

	wmu   sync.Mutex
	pc    *webrtc.PeerConnection
	mu    sync.Mutex
	chans map[string]*webrtc.DataChannel
}

// muteNet makes sockets that send nothing while it is dark.
type muteNet struct {
	transport.Net
	dark *atomic.Bool
}

type muteConn struct {
	transport.UDPConn
	dark *atomic.Bool
}

func (n muteNet) ListenUDP(network string, a *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.Net.ListenUDP(network, a)
	return muteConn{c, n.dark}, err
}

func (c muteConn) WriteTo(b []byte, a net.Addr) (int, error) {
	if c.dark.Load() {
		return len(b), nil
	}
	return c.UDPConn.WriteTo(b, a)
}

func newFakeSFU(t *testing.T) *fakeSFU {
	t.Helper()
	// Everything that a test started must have ended by itself: the last cleanup that runs looks.
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if !t.Failed() {
			goleak.VerifyNone(t, before)
		}
	})
	interfaces, err := stdnet.NewNet()
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeSFU{t: t, sessions: make(chan *session, 16)}
	f.api = serverAPI(quickTimes(), muteNet{interfaces, &f.dark})
	f.srv = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.srv.Close)
	return f
}

// serverAPI is WebRTC as a server has it: pion's own PeerConnection.
func serverAPI(t times, n transport.Net) *webrtc.API {
	var se webrtc.SettingEngine
	se.LoggerFactory = noLog{}
	se.SetNet(n)
	se.DetachDataChannels()
	se.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	se.SetIncludeLoopbackCandidate(true)
	se.SetICETimeouts(t.iceDisconnected, t.iceFailed, t.iceKeepalive)
	se.SetPrflxAcceptanceMinWait(0)
	se.SetICEMaxBindingRequests(bindingRequests)
	se.SetSCTPMaxReceiveBufferSize(receiveBuffer)
	se.EnableSCTPZeroChecksum(true)
	return webrtc.NewAPI(webrtc.WithSettingEngine(se),
		webrtc.WithMediaEngine(&webrtc.MediaEngine{}),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
}

func (f *fakeSFU) url() string { return "ws" + strings.TrimPrefix(f.srv.URL, "http") }

func (f *fakeSFU) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/rtc/v1" {
		if f.stall.Load() {
			<-r.Context().Done() // no answer: the network is down
		}
		return // the root page: alive
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	f.mu.Lock()
	f.tokens = append(f.tokens, token)
	f.mu.Unlock()
	jr, err := decodeJoinRequest(r.FormValue("join_request"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if f.refuse != nil && f.refuse(w, token, jr) {
		return
	}
	up := websocket.Upgrader{}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s := &session{
		sfu: f, jr: jr, token: token, ws: ws, got: make(chan *livekit.SignalRequest, 64),
		chans: map[string]*webrtc.DataChannel{},
	}
	f.sessions <- s
	defer close(s.got)
	for {
		_, b, err := ws.ReadMessage()
		if err != nil {
			return
		}
		m := &livekit.SignalRequest{}
		if err := proto.Unmarshal(b, m); err != nil {
			f.t.Errorf("client sent no SignalRequest: %v", err)
			return
		}
		if p := m.GetPingReq(); p != nil && !s.mute.Load() {
			s.send(&livekit.SignalResponse{Message: &livekit.SignalResponse_PongResp{
				PongResp: &livekit.Pong{
					LastPingTimestamp: p.Timestamp,
					Timestamp:         time.Now().UnixMilli() + 60_000,
				},
			}})
		}
		select {
		case s.got <- m:
		default:
		}
	}
}

func decodeJoinRequest(param string) (*livekit.JoinRequest, error) {
	b, err := base64.URLEncoding.DecodeString(param)
	if err != nil {
		return nil, err
	}
	w, jr := &livekit.WrappedJoinRequest{}, &livekit.JoinRequest{}
	if err := proto.Unmarshal(b, w); err != nil {
		return nil, err
	}
	b = w.JoinRequest
	if w.Compression == livekit.WrappedJoinRequest_GZIP {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		if b, err = io.ReadAll(z); err != nil {
			return nil, err
		}
	}
	return jr, proto.Unmarshal(b, jr)
}

// next returns the next websocket.
func (f *fakeSFU) next() *session {
	f.t.Helper()
	select {
	case s := <-f.sessions:
		return s
	case <-time.After(20 * time.Second):
		f.t.Fatal("no client came")
		return nil
	}
}

func (s *session) send(m *livekit.SignalResponse) {
	b, err := proto.Marshal(m)
	if err != nil {
		s.sfu.t.Error(err)
	}
	s.sendBytes(b)
}

func (s *session) sendBytes(b []byte) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	_ = s.ws.WriteMessage(websocket.BinaryMessage, b) // the client may have gone
}

func (s *session) leave(r livekit.DisconnectReason, a livekit.LeaveRequest_Action) {
	s.send(&livekit.SignalResponse{
		Message: &livekit.SignalResponse_Leave{Leave: &livekit.LeaveRequest{Reason: r, Action: a}},
	})
}

func person(sid, name string, state livekit.ParticipantInfo_State) *livekit.ParticipantInfo {
	return &livekit.ParticipantInfo{
		Sid: sid, Identity: "id-" + sid, Name: name, State: state,
		JoinedAtMs: 1_700_000_000_123,
	}
}

func (s *session) sendUpdate(ps ...*livekit.ParticipantInfo) {
	s.send(&livekit.SignalResponse{Message: &livekit.SignalResponse_Update{
		Update: &livekit.ParticipantUpdate{Participants: ps},
	}})
}

func (s *session) sendJoin() {
	s.send(&livekit.SignalResponse{
		Message: &livekit.SignalResponse_Join{Join: &livekit.JoinResponse{
			Room: &livekit.Room{
				Sid: "RM_1", Name: "room", Metadata: "meta",
				CreationTimeMs: 1_700_000_000_001,
			},
			Participant: person("PA_us", "us", livekit.ParticipantInfo_JOINED),
			OtherParticipants: []*livekit.ParticipantInfo{person("PA_a", "Ann",
				livekit.ParticipantInfo_ACTIVE)},
			ServerInfo: &livekit.ServerInfo{Version: "9.9.9", Region: "here"},
		}},
	})
}

// answer makes the PeerConnection that the client's offer asks for and sends the answer to it.
func (s *session) answer() {
	t := s.sfu.t
	t.Helper()
	pc, err := s.sfu.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	s.pc = pc
	pc.OnDataChannel(func(dc *webrtc.DataChannel) {
		dc.OnOpen(func() {
			if _, err := dc.Detach(); err != nil {
				t.Error(err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.chans[dc.Label()] = dc
		})
	})
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{
		Type: webrtc.SDPTypeOffer,
		SDP:  s.jr.GetPublisherOffer().GetSdp(),
	}); err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	a, err := pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetLocalDescription(a); err != nil {
		t.Fatal(err)
	}
	<-gathered
	s.send(&livekit.SignalResponse{Message: &livekit.SignalResponse_Answer{
		Answer: &livekit.SessionDescription{
			Type: "answer", Sdp: pc.LocalDescription().SDP,
		},
	}})
}

// channel returns an open data channel.
func (s *session) channel(label string) *webrtc.DataChannel {
	s.sfu.t.Helper()
	var dc *webrtc.DataChannel
	eventually(s.sfu.t, "data channel "+label, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		dc = s.chans[label]
		return dc != nil
	})
	return dc
}

func (s *session) publish(label string, b []byte) {
	s.sfu.t.Helper()
	if err := s.channel(label).Send(b); err != nil {
		s.sfu.t.Error(err)
	}
}

// hangUp cuts the websocket without a close frame.
func (s *session) hangUp() { _ = s.ws.NetConn().Close() }

// awaitRequest returns the next message of the client that the function likes.
func (s *session) awaitRequest(what string,
	like func(*livekit.SignalRequest) bool,
) *livekit.SignalRequest {
	s.sfu.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case m, ok := <-s.got:
			if !ok {
				s.sfu.t.Fatalf("the client hung up without %s", what)
			}
			if like(m) {
				return m
			}
		case <-limit:
			s.sfu.t.Fatalf("the client did not send %s", what)
		}
	}
}

// witness is a Handler that remembers everything.
type witness struct {
	mu      sync.Mutex
	info    *Info
	packets map[Channel][]string
	events  []Event
	order   []string // "joined", "packet", event types

	refuse   error
	onJoined func()
	onPacket func(Channel, []byte)
	onEvent  func(Event)
}

func (w *witness) Joined(i Info) error {
	if w.onJoined != nil {
		w.onJoined()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.info = &i
	w.order = append(w.order, "joined")
	return w.refuse
}

func (w *witness) Packet(ch Channel, at time.Time, b []byte) {
	if w.onPacket != nil {
		w.onPacket(ch, b)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.packets == nil {
		w.packets = map[Channel][]string{}
	}
	w.packets[ch] = append(w.packets[ch], string(b))
	w.order = append(w.order, "packet")
}

func (w *witness) Event(e Event) {
	if w.onEvent != nil {
		w.onEvent(e)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	w.order = append(w.order, e.Type.String())
}

func (w *witness) received(ch Channel) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.packets[ch])
}

// seen lists the events, each as "type sid".
func (w *witness) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, e := range w.events {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s", e.Type, e.Participant.SID)))
	}
	return out
}

func (w *witness) saw(what string) bool { return slices.Contains(w.seen(), what) }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// quickTimes are short where nothing but the test waits, and long where the machine may be slow.
func quickTimes() times {
	q := defaultTimes
	q.ping, q.leaveGrace, q.quiet = 50*time.Millisecond, 500*time.Millisecond, 100*time.Millisecond
	q.iceKeepalive = 50 * time.Millisecond
	q.resume = resumeTimes{
		grace: 30 * time.Millisecond, tick: 10 * time.Millisecond, stale: 5 * time.Second,
		dial:    5 * time.Second,
		backoff: 10 * time.Millisecond, maxBackoff: 50 * time.Millisecond,
		ask: 100 * time.Millisecond, gone: 500 * time.Millisecond, silent: 3 * time.Second,
	}
	q.mend = mendTimes{
		tick: 10 * time.Millisecond, patience: 500 * time.Millisecond,
		again: 500 * time.Millisecond, gather: time.Second,
		fallback: 500 * time.Millisecond, safe: 13 * time.Second, lost: 16 * time.Second,
		credentials: time.Minute,
	}
	return q
}

func quickClient(t *testing.T, change func(*times)) *Client {
	t.Helper()
	q := quickTimes()
	if change != nil {
		change(&q)
	}
	c, err := newClient(Options{}, q)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// join joins the fake SFU with a session that accepts.
func join(t *testing.T, c *Client, f *fakeSFU, w *witness) (*Conn, *session) {
	t.Helper()
	return joinWith(t, c, f, w, nil)
}

func joinWith(t *testing.T, c *Client, f *fakeSFU, w *witness,
	there func(context.Context) (bool, error),
) (*Conn, *session) {
	t.Helper()
	type result struct {
		conn *Conn
		err  error
	}
	ch := make(chan result, 1)
	go func() {
		conn, err := c.Join(context.Background(), JoinOptions{
			URL: f.url(), Token: "token",
			Handler: w, RoomExists: there,
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
	t.Cleanup(func() { r.conn.Leave(context.Background()) })
	return r.conn, s
}

func await(t *testing.T, c *Conn) Disconnect {
	t.Helper()
	select {
	case <-c.Done():
		return c.End()
	case <-time.After(20 * time.Second):
		t.Fatal("the connection did not end")
		return Disconnect{}
	}
}

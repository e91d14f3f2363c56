package room

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/livekit/protocol/livekit"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress/internal/room/rtc"
	"github.com/syncflow/textegress/internal/room/rtc/rtctest"
)

// fakeSFU is a LiveKit server as far as one client can tell: the signalling of /rtc/v1, and a peer
// that answers. Each websocket becomes a session that the test drives. It has two forms: in a
// bubble of testing/synctest nothing is real but the websocket's bytes, and outside all of it is.
type fakeSFU struct {
	t        *testing.T
	srv      *http.Server
	listener net.Listener
	memory   *memoryListener // in a bubble, else nil
	real     *rtctest.Server // outside, else nil
	// true: it answered instead of a websocket
	refuse   func(w http.ResponseWriter, token string, jr *livekit.JoinRequest) bool
	sessions chan *session
	fakes    chan *fakeRTC // in a bubble: the client's connections
	dark     *atomic.Bool  // nothing leaves over UDP
	stall    atomic.Bool   // the root page does not answer
	turnErr  error         // in a bubble: of UseTURN

	mu     sync.Mutex
	tokens []string
	all    []*session
}

// session is one websocket of a client.
type session struct {
	sfu   *fakeSFU
	jr    *livekit.JoinRequest
	token string
	ws    *websocket.Conn
	got   chan *livekit.SignalRequest // closed when the client has closed the websocket
	peer  peer
	mute  atomic.Bool // pings are not answered

	out     chan func() // what is to be done with the websocket, in order
	stop    chan struct{}
	writing sync.WaitGroup
}

// newFakeSFU returns a real server, and checks that nothing is left running after the test.
func newFakeSFU(t *testing.T) *fakeSFU {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if !t.Failed() {
			goleak.VerifyNone(t, before)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeSFU{t: t, listener: l, real: rtctest.NewServer(t, quickTimes().ice)}
	f.dark = &f.real.Dark
	f.start()
	return f
}

// bubble runs a test in a bubble of testing/synctest, with a server in memory. The client has the
// times of production.
func bubble(t *testing.T, test func(t *testing.T, f *fakeSFU)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		f := &fakeSFU{
			t: t, listener: m, memory: m, dark: &atomic.Bool{}, fakes: make(chan *fakeRTC, 16),
		}
		f.start()
		test(t, f)
	})
}

// inBoth runs a test in a bubble and with a real server.
func inBoth(t *testing.T, test func(t *testing.T, f *fakeSFU)) {
	t.Helper()
	t.Run("bubble", func(t *testing.T) { bubble(t, test) })
	t.Run("real", func(t *testing.T) { test(t, newFakeSFU(t)) })
}

func (f *fakeSFU) start() {
	f.sessions = make(chan *session, 16)
	f.srv = &http.Server{Handler: http.HandlerFunc(f.serve)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = f.srv.Serve(f.listener) })
	f.t.Cleanup(func() {
		_ = f.srv.Close()
		serving.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, s := range f.all {
			_ = s.ws.NetConn().Close()
			close(s.stop)
			s.writing.Wait()
		}
	})
}

// memoryListener accepts connections that are made by dial.
type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (m *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memoryListener) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memoryListener) Addr() net.Addr {
	return &net.TCPAddr{
		IP:   net.IPv4(127, 0, 0, 1),
		Port: 1,
	}
}

func (m *memoryListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case m.conns <- theirs:
		return ours, nil
	case <-m.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *fakeSFU) url() string { return "ws://" + f.listener.Addr().String() }

// client returns a client for the server. In a bubble it has the times of production, outside
// quickTimes.
func (f *fakeSFU) client(change func(*times)) *Client {
	f.t.Helper()
	q := defaultTimes
	if f.memory == nil {
		q = quickTimes()
	}
	if change != nil {
		change(&q)
	}
	if f.memory == nil {
		c, err := newClient(Options{Logger: strict(f.t)}, q)
		if err != nil {
			f.t.Fatal(err)
		}
		return c
	}
	return f.inMemory(Options{Logger: strict(f.t)}, q)
}

// strict is a logger that fails the test on an error: what is logged as one should not occur.
func strict(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.LevelKey && a.Value.Any() == slog.LevelError {
				t.Error("an error was logged")
			}
			return a
		},
	}))
}

func (f *fakeSFU) inMemory(o Options, q times) *Client {
	c := newClientOn(func(_ context.Context, _ string, h Handler) (rtcConn, error) {
		x := newFakeRTC(h, f.dark)
		x.turnErr = f.turnErr
		f.fakes <- x
		return x, nil
	}, o, q)
	c.dialer.NetDialContext = f.memory.dial
	c.probe.Transport = &http.Transport{DialContext: f.memory.dial, DisableKeepAlives: true}
	return c
}

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
		out: make(chan func(), 10_000), stop: make(chan struct{}),
	}
	s.writing.Go(func() {
		for {
			select {
			case do := <-s.out:
				if f.memory != nil {
					time.Sleep(time.Millisecond) // as a network
				}
				do()
			case <-s.stop:
				return
			}
		}
	})
	f.mu.Lock()
	f.all = append(f.all, s)
	f.mu.Unlock()
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
	case <-time.After(time.Minute):
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

// sendBytes does not wait until the client has read them.
func (s *session) sendBytes(b []byte) {
	s.out <- func() {
		_ = s.ws.WriteMessage(websocket.BinaryMessage,
			b)
	} // the client may have gone
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

// answer makes the peer that the client's offer asks for and sends the answer to it.
func (s *session) answer() {
	s.sfu.t.Helper()
	if s.sfu.real != nil {
		s.peer = s.sfu.real.NewPeer(s.sfu.t)
	} else {
		s.peer = fakePeer{<-s.sfu.fakes}
	}
	s.reanswer(s.peer, &livekit.SessionDescription{Sdp: s.jr.GetPublisherOffer().GetSdp()})
}

// reanswer answers an offer with the peer of another websocket.
func (s *session) reanswer(p peer, o *livekit.SessionDescription) {
	s.sfu.t.Helper()
	s.sendAnswer(o.GetId(), p.Answer(o.GetSdp()))
}

func (s *session) sendAnswer(id uint32, sdp string) {
	s.send(&livekit.SignalResponse{Message: &livekit.SignalResponse_Answer{
		Answer: &livekit.SessionDescription{Type: "answer", Sdp: sdp, Id: id},
	}})
}

func (s *session) publish(label string, b []byte) {
	s.sfu.t.Helper()
	s.peer.Send(label, b)
}

// flushed reports whether all that was published has arrived at the client.
func (s *session) flushed() bool {
	p, ok := s.peer.(*rtctest.Peer)
	if !ok {
		return true
	}
	return p.Channel("_reliable").BufferedAmount() == 0 &&
		p.Channel("_lossy").BufferedAmount() == 0
}

// hangUp cuts the websocket without a close frame, after what was sent before.
func (s *session) hangUp() {
	s.out <- func() { _ = s.ws.NetConn().Close() }
}

// awaitRequest returns the next message of the client that the function likes.
func (s *session) awaitRequest(what string,
	like func(*livekit.SignalRequest) bool,
) *livekit.SignalRequest {
	s.sfu.t.Helper()
	limit := time.After(time.Minute)
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
	q.tick = 10 * time.Millisecond
	q.ice = rtc.Timeouts{
		Disconnected: 500 * time.Millisecond, Failed: 15 * time.Second,
		Keepalive: 50 * time.Millisecond,
	}
	q.resume.grace, q.resume.retry.First = 30*time.Millisecond, 10*time.Millisecond
	q.resume.checkEvery = 100 * time.Millisecond
	q.restart.patience, q.restart.retryEvery = 300*time.Millisecond, 500*time.Millisecond
	return q
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
	case <-time.After(time.Minute):
		t.Fatal("the connection did not end")
		return Disconnect{}
	}
}

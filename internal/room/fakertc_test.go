package room

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/room/rtc"
	"github.com/syncflow/textegress/internal/room/rtc/rtctest"
)

// peer is the server's side of a WebRTC connection: pion's PeerConnection, or a fake.
type peer interface {
	Answer(offer string) string
	Send(label string, b []byte)
	Close()
}

// fakeRTC is a WebRTC connection without a network. The path is alive unless it is dark; what is
// sent while it is not alive arrives when it is alive again, as SCTP has it. Its times are those of
// package rtc.
type fakeRTC struct {
	h      Handler
	dark   *atomic.Bool
	events chan rtc.Event
	stop   context.CancelFunc
	loop   sync.WaitGroup

	mu      sync.Mutex
	status  rtc.Status
	offers  uint32
	pending bool // a restart has no answer yet: there is no path
	queue   [4][][]byte
	failed  bool

	turn    []rtc.TURNServer
	turnErr error
}

func newFakeRTC(h Handler, dark *atomic.Bool) *fakeRTC {
	ctx, cancel := context.WithCancel(context.Background())
	f := &fakeRTC{
		h: h, dark: dark, stop: cancel, events: make(chan rtc.Event, 100),
	}
	for _, ch := range []Channel{Reliable, Lossy} {
		f.loop.Go(func() { f.deliver(ctx, ch) })
	}
	f.loop.Go(func() { f.keepalive(ctx) })
	return f
}

const (
	fakeKeepalive    = 2 * time.Second
	fakeDisconnected = 5 * time.Second
	fakeFailed       = 15 * time.Second
)

// alive reports whether there is a path. f.mu is held.
func (f *fakeRTC) alive() bool { return f.status.Open && !f.pending && !f.dark.Load() && !f.failed }

// keepalive is what ICE does all the time.
func (f *fakeRTC) keepalive(ctx context.Context) {
	tick := time.NewTicker(fakeKeepalive / 10)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			f.step(now, n%10 == 0)
		}
	}
}

func (f *fakeRTC) step(now time.Time, answer bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status.Answered && !f.status.Open && !f.pending && !f.dark.Load() {
		f.status.Open = true
		f.events <- rtc.Event{Kind: rtc.Opened}
	}
	silence := now.Sub(f.status.LastReceived)
	switch {
	case !f.status.Open || f.failed:
	case f.alive():
		if answer {
			f.status.Responses++
		}
		if answer || !f.status.SilentSince.IsZero() {
			f.status.LastReceived, f.status.SilentSince = now, time.Time{}
		}
	case silence > fakeDisconnected+fakeFailed && !f.pending:
		f.fail("peer connection failed")
	case silence > fakeDisconnected && f.status.SilentSince.IsZero():
		f.status.SilentSince = f.status.LastReceived
		f.events <- rtc.Event{Kind: rtc.PathSilent}
	}
}

// fail posts the failure once. f.mu is held.
func (f *fakeRTC) fail(cause string) {
	if !f.failed {
		f.failed = true
		f.events <- rtc.Event{Kind: rtc.Failed, Cause: cause}
	}
}

// deliver is the reader of one channel.
func (f *fakeRTC) deliver(ctx context.Context, ch Channel) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		f.mu.Lock()
		var b []byte
		have := len(f.queue[ch]) > 0 && (f.alive() || f.failed && !f.dark.Load())
		if have {
			b, f.queue[ch] = f.queue[ch][0], f.queue[ch][1:]
		}
		f.mu.Unlock()
		if have {
			f.h.Packet(ch, time.Now(), b)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (f *fakeRTC) Offer(ctx context.Context, _ time.Duration) (rtc.Offer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offers++
	f.pending = f.offers > 1
	return rtc.Offer{SDP: fmt.Sprintf("offer %d", f.offers), ID: f.offers}, ctx.Err()
}

func (f *fakeRTC) Answer(id uint32, sdp string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id != 0 && id != f.offers {
		return nil
	}
	if sdp != fmt.Sprintf("answer to offer %d", f.offers) {
		return fmt.Errorf("nonsense")
	}
	f.status.Answered, f.pending = true, false
	if !f.status.Open {
		f.status.LastReceived = time.Now()
	}
	return nil
}

func (f *fakeRTC) AddCandidate(string) {}

func (f *fakeRTC) UseTURN(servers []rtc.TURNServer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn, f.status.TURN = servers, true
	return f.turnErr
}

func (f *fakeRTC) turnServers() []rtc.TURNServer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.turn
}

func (f *fakeRTC) Status() rtc.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

func (f *fakeRTC) Events() <-chan rtc.Event { return f.events }

func (f *fakeRTC) Send(rtc.Channel, []byte) error { return nil }

func (f *fakeRTC) Drain(quiet, limit time.Duration) {
	for until := time.Now().Add(limit); ; time.Sleep(quiet) {
		f.mu.Lock()
		waiting := len(f.queue[Reliable]) + len(f.queue[Lossy])
		f.mu.Unlock()
		if waiting == 0 || f.dark.Load() || !time.Now().Before(until) {
			return
		}
	}
}

func (f *fakeRTC) Close() {
	f.stop()
	f.loop.Wait()
}

// fakePeer is the other side of a fakeRTC.
type fakePeer struct{ f *fakeRTC }

func (p fakePeer) Answer(offer string) string { return "answer to " + offer }

func (p fakePeer) Send(label string, b []byte) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	if p.f.failed {
		return
	}
	for _, ch := range []Channel{Reliable, Lossy} {
		if ch.String() == label {
			p.f.queue[ch] = append(p.f.queue[ch], b)
		}
	}
}

func (p fakePeer) Close() {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	p.f.fail("data channel _reliable closed")
}

var (
	_ rtcConn = (*fakeRTC)(nil)
	_ rtcConn = (*rtc.Conn)(nil)
	_ peer    = (*rtctest.Peer)(nil)
)

// A test may need what a peer has beyond the interface.
func (s *session) fake(t *testing.T) *fakeRTC {
	t.Helper()
	p, ok := s.peer.(fakePeer)
	if !ok {
		t.Fatalf("the peer is a %T", s.peer)
	}
	return p.f
}

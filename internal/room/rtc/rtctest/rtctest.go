// Package rtctest is the peer of package rtc in tests: pion's own PeerConnection, as in a LiveKit
// server, on this machine's network.
package rtctest

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/webrtc/v4"

	"github.com/syncflow/textegress/internal/room/rtc"
)

// Server makes peers.
type Server struct {
	// While Dark is true, the server sends nothing over UDP.
	Dark atomic.Bool
	api  *webrtc.API
}

// NewServer returns a server with the timeouts of ICE.
func NewServer(t testing.TB, timeouts rtc.Timeouts) *Server {
	t.Helper()
	interfaces, err := stdnet.NewNet()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{}
	var se webrtc.SettingEngine
	se.SetNet(darkNet{interfaces, &s.Dark})
	se.DetachDataChannels()
	se.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	se.SetIncludeLoopbackCandidate(true)
	se.SetICETimeouts(timeouts.Disconnected, timeouts.Failed, timeouts.Keepalive)
	se.SetPrflxAcceptanceMinWait(0)
	se.SetICEMaxBindingRequests(300) // as many as the client
	se.SetSCTPMaxReceiveBufferSize(4 << 20)
	se.EnableSCTPZeroChecksum(true)
	s.api = webrtc.NewAPI(webrtc.WithSettingEngine(se),
		webrtc.WithMediaEngine(&webrtc.MediaEngine{}),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	return s
}

// darkNet makes sockets that send nothing while dark is true.
type darkNet struct {
	transport.Net
	dark *atomic.Bool
}

type darkConn struct {
	transport.UDPConn
	dark *atomic.Bool
}

func (n darkNet) ListenUDP(network string, a *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.Net.ListenUDP(network, a)
	return darkConn{c, n.dark}, err
}

func (c darkConn) WriteTo(b []byte, a net.Addr) (int, error) {
	if c.dark.Load() {
		return len(b), nil
	}
	return c.UDPConn.WriteTo(b, a)
}

// Peer is a PeerConnection of the server.
type Peer struct {
	PC *webrtc.PeerConnection
	t  testing.TB

	mu       sync.Mutex
	channels map[string]*webrtc.DataChannel
	opened   chan struct{} // closed and replaced when a channel opens
}

// NewPeer returns a peer, which is closed when the test ends.
func (s *Server) NewPeer(t testing.TB) *Peer {
	t.Helper()
	pc, err := s.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	p := &Peer{
		PC: pc, t: t, channels: map[string]*webrtc.DataChannel{}, opened: make(chan struct{}),
	}
	pc.OnDataChannel(func(dc *webrtc.DataChannel) {
		dc.OnOpen(func() {
			if _, err := dc.Detach(); err != nil {
				t.Error(err)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.channels[dc.Label()] = dc
			close(p.opened)
			p.opened = make(chan struct{})
		})
	})
	return p
}

// Answer returns the answer to an offer, with all candidates.
func (p *Peer) Answer(offer string) string {
	p.t.Helper()
	if err := p.PC.SetRemoteDescription(webrtc.SessionDescription{
		Type: webrtc.SDPTypeOffer, SDP: offer,
	}); err != nil {
		p.t.Fatal(err)
	}
	a, err := p.PC.CreateAnswer(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(p.PC)
	if err := p.PC.SetLocalDescription(a); err != nil {
		p.t.Fatal(err)
	}
	<-gathered
	return p.PC.LocalDescription().SDP
}

// Channel waits until the client has opened a data channel, and returns it.
func (p *Peer) Channel(label string) *webrtc.DataChannel {
	p.t.Helper()
	limit := time.After(time.Minute)
	for {
		p.mu.Lock()
		dc, opened := p.channels[label], p.opened
		p.mu.Unlock()
		if dc != nil {
			return dc
		}
		select {
		case <-opened:
		case <-limit:
			p.t.Fatalf("data channel %s did not open in a minute", label)
		}
	}
}

// Send sends a message on a channel.
func (p *Peer) Send(label string, b []byte) {
	p.t.Helper()
	if err := p.Channel(label).Send(b); err != nil {
		p.t.Error(err)
	}
}

// Close closes the connection.
func (p *Peer) Close() { _ = p.PC.Close() }

package room

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/pion/webrtc/v4"
)

// peer is the PeerConnection of a room. It is used once: when it ends, the session ends.
type peer struct {
	pc      *webrtc.PeerConnection
	handler Handler
	started time.Time

	opened chan struct{} // both channels are open
	down   chan struct{} // the connection has ended, or is of no use any more; cause says how
	ended  chan struct{} // no channel is read any more

	mu      sync.Mutex // for closing, have, reading
	closing bool
	have    [4]bool // by Channel: it was opened
	reading int     // channels being read
	readers sync.WaitGroup

	openOnce, downOnce, endOnce sync.Once
	cause                       string // set before down is closed

	busy atomic.Int32 // calls of Handler.Packet in progress
	last atomic.Int64 // end of the last one, since started

	early      []webrtc.ICECandidateInit // candidates that came before the answer
	candidates int                       // how many came

	trouble  chan struct{}                // capacity 1: an established path is silent
	silent   atomic.Int64                 // since when, unix ns; 0: it is not
	late     chan webrtc.ICECandidateInit // of ours, found after the offer was made
	trickles atomic.Bool                  // candidates go to late
	offers   atomic.Uint32                // how many were made; the id of the last
	relays   bool                         // ICE servers are set
}

// newPeer makes a PeerConnection with our two data channels and nothing else.
func (c *Client) newPeer(n network, h Handler) (*peer, error) {
	pc, err := c.api(n).NewPeerConnection(c.rtc)
	if err != nil {
		return nil, err
	}
	p := &peer{
		pc: pc, handler: h, started: time.Now(),
		opened: make(chan struct{}), down: make(chan struct{}), ended: make(chan struct{}),
		trouble: make(chan struct{}, 1), late: make(chan webrtc.ICECandidateInit, 32),
	}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateFailed || s == webrtc.PeerConnectionStateClosed {
			p.fail("peer connection " + s.String())
		}
	})
	pc.OnICEConnectionStateChange(p.path)
	pc.OnICECandidate(func(ci *webrtc.ICECandidate) {
		if ci == nil || !p.trickles.Load() {
			return
		}
		select {
		case p.late <- ci.ToJSON():
		default: // there are enough
		}
	})
	pc.OnDataChannel(p.attach)
	if err := p.openChannels(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// path notes when the way to the server falls silent and when it is heard again.
func (p *peer) path(s webrtc.ICEConnectionState) {
	switch s {
	case webrtc.ICEConnectionStateConnected, webrtc.ICEConnectionStateCompleted:
		p.silent.Store(0)
	case webrtc.ICEConnectionStateDisconnected, webrtc.ICEConnectionStateFailed:
		heard := time.Now()
		if st, ok := p.stats(); ok {
			heard = st.LastPacketReceivedTimestamp.Time()
		}
		p.silent.CompareAndSwap(0, heard.UnixNano())
		select {
		case p.trouble <- struct{}{}:
		default:
		}
	}
}

func (p *peer) stats() (webrtc.ICECandidatePairStats, bool) {
	st, ok := p.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePairStats()
	return st, ok && st.LastPacketReceivedTimestamp > 0
}

// heard is when the server was last heard over the path, zero if that is not known.
func (p *peer) heard() time.Time {
	if ns := p.silent.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	if st, ok := p.stats(); ok {
		return st.LastPacketReceivedTimestamp.Time()
	}
	return time.Time{}
}

// useServers sets the TURN servers that the next offer's candidates come from.
func (p *peer) useServers(servers []webrtc.ICEServer, policy webrtc.ICETransportPolicy) error {
	p.relays = true
	return p.pc.SetConfiguration(webrtc.Configuration{ICEServers: servers, ICETransportPolicy: policy})
}

// offer makes an offer with our candidates in it: those that are found within patience, 0 for all. The others go to late. A
// second offer restarts ICE, which gives the present path up.
func (p *peer) offer(ctx context.Context, patience time.Duration) (*livekit.SessionDescription, error) {
	var o *webrtc.OfferOptions
	if p.offers.Load() > 0 {
		o = &webrtc.OfferOptions{ICERestart: true}
	}
	if r := p.pc.CurrentRemoteDescription(); r != nil && p.pc.SignalingState() == webrtc.SignalingStateHaveLocalOffer {
		// The offer before was not answered. To take it back, which pion cannot, the last answer serves for it.
		if err := p.pc.SetRemoteDescription(*r); err != nil {
			return nil, err
		}
	}
	p.trickles.Store(false)
	offer, err := p.pc.CreateOffer(o)
	if err != nil {
		return nil, err
	}
	gathered := webrtc.GatheringCompletePromise(p.pc) // after CreateOffer: a restart has begun anew
	if err := p.pc.SetLocalDescription(offer); err != nil {
		return nil, err
	}
	var limit <-chan time.Time
	if patience > 0 {
		limit = time.After(patience)
	}
	select {
	case <-gathered:
	case <-limit:
		p.trickles.Store(true)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return &livekit.SessionDescription{Type: offer.Type.String(), Sdp: p.pc.LocalDescription().SDP, Id: p.offers.Add(1)}, nil
}

// answer takes the server's answer to our last offer. One to an earlier offer, which is not waited for any more, is ignored.
func (p *peer) answer(a *livekit.SessionDescription) error {
	if a.GetId() != 0 && a.GetId() != p.offers.Load() || p.pc.SignalingState() != webrtc.SignalingStateHaveLocalOffer {
		return nil
	}
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: a.GetSdp()}); err != nil {
		return err
	}
	p.candidates = 0
	for _, ci := range p.early {
		_ = p.pc.AddICECandidate(ci)
	}
	p.early = nil
	return nil
}

// maxCandidates bounds what a server may make us remember, and ask, of its addresses for one offer.
const maxCandidates = 100

// candidate takes one of the server's addresses. One that cannot be used is ignored, the server has others.
func (p *peer) candidate(t *livekit.TrickleRequest) {
	var ci webrtc.ICECandidateInit
	if p.candidates >= maxCandidates {
		return
	}
	if err := json.Unmarshal([]byte(t.GetCandidateInit()), &ci); err != nil || ci.Candidate == "" {
		return
	}
	p.candidates++
	if p.pc.RemoteDescription() == nil {
		p.early = append(p.early, ci)
		return
	}
	_ = p.pc.AddICECandidate(ci)
}

// fail notes that the connection is of no use any more. The first cause stays.
func (p *peer) fail(cause string) {
	p.downOnce.Do(func() {
		p.cause = cause
		close(p.down)
	})
}

// responses counts the server's answers to our ICE keepalives: if it grows, the PeerConnection lives. Other packets are no proof,
// they may be its end.
func (p *peer) responses() uint64 {
	st, _ := p.stats()
	return st.ResponsesReceived
}

// close ends the connection and returns when everything that was received has been delivered. It also waits for WebRTC's goroutines,
// but not for one that asks a TURN server which does not answer: pion lets it ask for eight seconds, and the next join is not to wait.
func (p *peer) close() {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = p.pc.GracefulClose() // its errors are those of closing twice what is broken
	}()
	if !p.relays {
		<-closed
	}
	p.readers.Wait()
	select {
	case <-closed:
	case <-time.After(closeWait):
	}
}

const closeWait = time.Second

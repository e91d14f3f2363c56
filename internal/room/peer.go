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

	early []webrtc.ICECandidateInit // candidates that came before the answer
}

// newPeer makes a PeerConnection and the offer that asks for data channels and nothing else, with all our candidates in it.
func (c *Client) newPeer(ctx context.Context, n network, h Handler) (*peer, *livekit.SessionDescription, error) {
	api, err := c.api(n)
	if err != nil {
		return nil, nil, err
	}
	pc, err := api.NewPeerConnection(c.rtc)
	if err != nil {
		return nil, nil, err
	}
	p := &peer{
		pc: pc, handler: h, started: time.Now(),
		opened: make(chan struct{}), down: make(chan struct{}), ended: make(chan struct{}),
	}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateFailed || s == webrtc.PeerConnectionStateClosed {
			p.fail("peer connection " + s.String())
		}
	})
	pc.OnDataChannel(p.attach)
	offer, err := p.offer(ctx)
	if err != nil {
		p.close()
		return nil, nil, err
	}
	return p, offer, nil
}

func (p *peer) offer(ctx context.Context) (*livekit.SessionDescription, error) {
	if err := p.openChannels(); err != nil {
		return nil, err
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		return nil, err
	}
	if err := p.pc.SetLocalDescription(offer); err != nil {
		return nil, err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return &livekit.SessionDescription{Type: offer.Type.String(), Sdp: p.pc.LocalDescription().SDP}, nil
}

// answer takes the server's answer to our offer.
func (p *peer) answer(a *livekit.SessionDescription) error {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: a.GetSdp()}); err != nil {
		return err
	}
	for _, ci := range p.early {
		_ = p.pc.AddICECandidate(ci)
	}
	p.early = nil
	return nil
}

// candidate takes one of the server's addresses. One that cannot be used is ignored, the server has others.
func (p *peer) candidate(t *livekit.TrickleRequest) {
	var ci webrtc.ICECandidateInit
	if err := json.Unmarshal([]byte(t.GetCandidateInit()), &ci); err != nil || ci.Candidate == "" {
		return
	}
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
	st, _ := p.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePairStats()
	return st.ResponsesReceived
}

// close ends the connection and returns when everything that was received has been delivered.
func (p *peer) close() {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	_ = p.pc.GracefulClose() // its errors are those of closing twice what is broken
	p.readers.Wait()
}

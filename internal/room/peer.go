package room

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/sctp"
)

// peer is the WebRTC connection of a room: ICE, DTLS, SCTP and its data channels. It is used once:
// when it ends, the session ends.
//
// It is what a PeerConnection is without media, and without the goroutines, sessions and buffers
// that media need.
type peer struct {
	agent       *ice.Agent
	data        *datagrams // between ICE and DTLS
	certificate certificate
	description description
	handler     Handler
	started     time.Time
	ctx         context.Context // ends with close
	cancel      context.CancelFunc
	tasks       sync.WaitGroup

	opened chan struct{} // both channels are open
	down   chan struct{} // the connection has ended, or is of no use any more; cause says how
	ended  chan struct{} // no channel is read any more

	mu      sync.Mutex // for what follows
	closing bool
	path    *ice.Conn
	secure  *dtls.Conn
	assoc   *sctp.Association
	have    [4]bool       // by Channel: it was opened
	reading int           // channels being read
	relays  bool          // TURN servers are set
	found   []string      // candidates for the offer that is being made
	all     chan struct{} // closed when all of them were found
	made    bool          // the offer was made: later candidates are trickled
	readers sync.WaitGroup
	relayed sync.Once

	openOnce, downOnce, endOnce sync.Once
	cause                       string // set before down is closed

	busy atomic.Int32 // calls of Handler.Packet in progress
	last atomic.Int64 // end of the last one, since started

	// Of the goroutine that handles what the server says.
	remote     string                    // the ufrag of the server's last answer
	early      []*livekit.TrickleRequest // candidates that came before the first answer
	candidates int                       // how many came

	unheard   time.Duration // how long ICE does not notice that the server is silent
	connected atomic.Bool   // ICE says so

	trouble  chan struct{}      // capacity 1: an established path is silent
	silent   atomic.Int64       // since when, unix ns; 0: it is not
	late     chan candidateInit // of ours, found after the offer was made
	offers   atomic.Uint32      // how many were made; the id of the last
	waiting  atomic.Bool        // the last one has no answer yet
	answered atomic.Bool        // one had
}

// newPeer makes what a connection needs, and opens nothing yet.
func (c *Client) newPeer(n network, h Handler) (*peer, error) {
	p := &peer{
		data: newDatagrams(), certificate: c.certificate,
		description: newDescription(c.certificate.fingerprint), handler: h, started: time.Now(),
		unheard: c.times.iceDisconnected + c.times.iceKeepalive,
		opened:  make(chan struct{}), down: make(chan struct{}), ended: make(chan struct{}),
		all:     make(chan struct{}),
		trouble: make(chan struct{}, 1), late: make(chan candidateInit, 32),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	agent, err := ice.NewAgentWithOptions(c.iceOptions(n, p.data)...)
	if err != nil {
		p.cancel()
		return nil, fmt.Errorf("ICE: %w", err)
	}
	p.agent = agent
	err = errors.Join(agent.OnConnectionStateChange(p.state), agent.OnCandidate(p.candidateFound))
	if err != nil {
		p.close()
		return nil, fmt.Errorf("ICE: %w", err)
	}
	return p, nil
}

// state notes when the way to the server falls silent and when it is heard again.
func (p *peer) state(s ice.ConnectionState) {
	switch s {
	case ice.ConnectionStateConnected, ice.ConnectionStateCompleted:
		p.connected.Store(true)
		p.silent.Store(0)
	case ice.ConnectionStateDisconnected, ice.ConnectionStateFailed:
		p.silent.CompareAndSwap(0, p.lastHeard().UnixNano())
		p.connected.Store(false)
		select {
		case p.trouble <- struct{}{}:
		default:
		}
		if s == ice.ConnectionStateFailed {
			p.fail("peer connection failed")
		}
	}
}

// lastHeard is when the server last sent anything, data or what ICE asks and answers all the time;
// zero if it never has. While ICE says that it is connected, it was heard since the last but one
// look of ICE at that, also if a TURN server was between us.
func (p *peer) lastHeard() time.Time {
	var t time.Time
	if ns := p.data.heard.Load(); ns != 0 {
		t = time.Unix(0, ns)
	}
	if since := time.Now().Add(-p.unheard); p.connected.Load() && t.Before(since) {
		return since
	}
	return t
}

// heard is when the server was last heard over the path, zero if that is not known.
func (p *peer) heard() time.Time {
	if ns := p.silent.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return p.lastHeard()
}

// useServers sets the TURN servers that the next offer's candidates come from.
func (p *peer) useServers(servers []turnServer) error {
	uris, err := turnURIs(servers)
	p.mu.Lock()
	p.relays = true
	if p.path != nil {
		p.readRelay()
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	return p.agent.UpdateOptions(ice.WithUrls(uris))
}

func (p *peer) hasRelays() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.relays
}

// candidateFound takes one of our candidates, nil after the last. Those that come after the offer
// was made go to late.
func (p *peer) candidateFound(c ice.Candidate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case c == nil:
		select {
		case <-p.all:
		default:
			close(p.all)
		}
	case p.made:
		ufrag, _, err := p.agent.GetLocalUserCredentials()
		if err != nil {
			return
		}
		select {
		case p.late <- initOf(c.Marshal(), ufrag):
		default: // there are enough
		}
	default:
		p.found = append(p.found, c.Marshal())
	}
}

// offer makes an offer with our candidates in it: those that are found within patience, 0 for all.
// The others go to late. A second offer restarts ICE, which gives the present path up.
func (p *peer) offer(ctx context.Context, patience time.Duration) (*livekit.SessionDescription,
	error,
) {
	p.waiting.Store(false) // an answer to the offer before is none to this one
	if p.offers.Load() > 0 {
		if err := p.agent.Restart("", ""); err != nil {
			return nil, fmt.Errorf("ICE: %w", err)
		}
	}
	all := make(chan struct{})
	p.mu.Lock()
	p.found, p.all, p.made = nil, all, false
	p.mu.Unlock()
	if err := p.agent.GatherCandidates(); err != nil {
		return nil, fmt.Errorf("ICE: %w", err)
	}
	var limit <-chan time.Time
	if patience > 0 {
		limit = time.After(patience)
	}
	select {
	case <-all:
	case <-limit:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ufrag, pwd, err := p.agent.GetLocalUserCredentials()
	if err != nil {
		return nil, fmt.Errorf("ICE: %w", err)
	}
	p.mu.Lock()
	found := p.found
	p.made = true
	p.mu.Unlock()
	complete := false
	select {
	case <-all:
		complete = true
	default:
	}
	id := p.offers.Load() + 1
	text, err := p.description.offer(uint64(id), ufrag, pwd, found, complete)
	if err != nil {
		return nil, err
	}
	p.offers.Store(id)
	p.waiting.Store(true)
	return &livekit.SessionDescription{Type: "offer", Sdp: text, Id: id}, nil
}

// answer takes the server's answer to our last offer. One to an earlier offer, which is not waited
// for any more, is ignored.
func (p *peer) answer(d *livekit.SessionDescription) error {
	if d.GetId() != 0 && d.GetId() != p.offers.Load() || !p.waiting.Load() {
		return nil
	}
	a, err := parseAnswer(d.GetSdp())
	if err != nil {
		return err
	}
	p.waiting.Store(false)
	p.remote, p.candidates = a.ufrag, 0
	if p.answered.Swap(true) {
		if err := p.agent.SetRemoteCredentials(a.ufrag, a.pwd); err != nil {
			return fmt.Errorf("ICE: %w", err)
		}
	} else {
		p.tasks.Go(func() { p.connect(a) })
	}
	for _, c := range a.candidates {
		p.add(c)
	}
	early := p.early
	p.early = nil
	for _, t := range early {
		p.candidate(t)
	}
	return nil
}

// maxCandidates bounds what a server may make us remember, and ask, of its addresses for one offer.
const maxCandidates = 100

// candidate takes one of the server's addresses. One that cannot be used is ignored, the server has
// others.
func (p *peer) candidate(t *livekit.TrickleRequest) {
	if !p.answered.Load() {
		if len(p.early) < maxCandidates {
			p.early = append(p.early, t)
		}
		return
	}
	var ci candidateInit
	if err := json.Unmarshal([]byte(t.GetCandidateInit()), &ci); err != nil || ci.Candidate == "" {
		return
	}
	p.add(ci.Candidate)
}

func (p *peer) add(text string) {
	if p.candidates >= maxCandidates {
		return
	}
	p.candidates++
	if c, err := parseCandidate(text, p.remote); err == nil {
		_ = p.agent.AddRemoteCandidate(c)
	}
}

// fail notes that the connection is of no use any more. The first cause stays.
func (p *peer) fail(cause string) {
	p.downOnce.Do(func() {
		p.cause = cause
		close(p.down)
	})
}

// responses counts the server's answers to our ICE keepalives: if it grows, the connection lives.
// Other packets are no proof, they may be its end.
func (p *peer) responses() uint64 {
	st, _ := p.agent.GetSelectedCandidatePairStats()
	return st.ResponsesReceived
}

// close ends the connection and returns when everything that was received has been delivered. It
// also waits for pion's goroutines, but not for one that asks a TURN server which does not answer:
// pion lets it ask for eight seconds, and the next join is not to wait.
func (p *peer) close() {
	p.mu.Lock()
	p.closing = true
	secure, assoc := p.secure, p.assoc
	p.mu.Unlock()
	p.cancel()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if assoc != nil {
			p.hangUp(assoc)
			_ = secure.Close()
		}
		_ = p.data.Close()
		_ = p.agent.GracefulClose() // its errors are those of closing twice what is broken
		p.tasks.Wait()
	}()
	if !p.hasRelays() {
		<-closed
	}
	p.readers.Wait()
	select {
	case <-closed:
	case <-time.After(closeWait):
	}
}

const closeWait = time.Second

// hangUp ends the association, and tells the server unless it was the server that ended it: to tell
// nobody takes pion 0.4 s.
func (p *peer) hangUp(assoc *sctp.Association) {
	select {
	case <-p.ended:
		_ = assoc.Close()
	default:
		assoc.Abort("")
	}
}

package rtc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/sctp"
)

// Conn is one WebRTC connection. A failed Conn cannot be reused.
//
// Offer, Answer, AddCandidate and UseTURN must be called from one goroutine, except that Offer may
// run concurrently with the others. All other methods are safe for concurrent use.
type Conn struct {
	agent       *ice.Agent
	dtls        *dtlsConn // connects ICE and DTLS
	certificate certificate
	description description
	deliver     func(ch Channel, at time.Time, b []byte)
	compare     comparison
	started     time.Time
	ctx         context.Context // ends with Close
	cancel      context.CancelFunc
	tasks       sync.WaitGroup

	events   chan Event
	eventsMu sync.Mutex
	failOnce sync.Once

	open  atomic.Bool   // both channels are open
	ended chan struct{} // closed when no channel is being read any more

	mu       sync.Mutex // guards the fields below, up to endOnce
	closing  bool
	path     *ice.Conn
	secure   *dtls.Conn
	assoc    *sctp.Association
	have     [4]bool       // by Channel: the channel has been opened
	own      [4]io.Writer  // by Channel: the channel that we opened
	reading  int           // number of channels being read
	turn     bool          // TURN servers are set
	found    []string      // candidates found for the next offer
	gathered chan struct{} // closed when all candidates have been found
	offered  bool          // the offer has been made; later candidates are trickled
	readers  sync.WaitGroup
	relayed  sync.Once
	endOnce  sync.Once

	delivering    atomic.Int32 // calls of deliver in progress
	lastDelivered atomic.Int64 // end of the last call of deliver, since started

	remote     remote
	connected  atomic.Bool   // ICE reports a connected path
	iceGrace   time.Duration // longest silence of the server that ICE may not have detected yet
	silent     atomic.Int64  // start of the silence of an established path, unix ns; 0: not silent
	offerID    atomic.Uint32 // number of offers made, which is the id of the last offer
	unanswered atomic.Bool   // the last offer has no answer yet
	answered   atomic.Bool   // an offer has been answered
}

// Event is a change of a connection. Kind determines which field is set.
type Event struct {
	Kind      EventKind
	Candidate string // local candidate, as the JSON of an RTCIceCandidateInit
	Cause     string // cause of the failure; without addresses
}

// EventKind is the kind of an Event.
type EventKind uint8

// The kinds of events.
const (
	Opened     EventKind = iota + 1 // both data channels are open
	PathSilent                      // an established path has become silent
	Candidate                       // a candidate was found after the offer
	Failed                          // the connection has ended or is no longer usable
)

// eventsKept bounds the number of waiting events, and so the number of candidates for a slow
// reader. Opened and Failed always fit.
const eventsKept = 32

// Status is the current state of a connection.
type Status struct {
	Open     bool // both data channels have been opened
	Answered bool // an offer has been answered
	TURN     bool // TURN servers have been set
	// SilentSince is the time of the last packet over an established path, if the path is silent
	// now; otherwise zero.
	SilentSince time.Time
	// LastReceived is the time of the last packet from the server, data or ICE keepalive; zero if
	// there was none.
	LastReceived time.Time
	// Responses counts the server's answers to our ICE keepalives. If it grows, the connection is
	// alive. Other packets are no proof, because they may end the connection.
	Responses uint64
}

func (a *API) newConn(n network, deliver func(ch Channel, at time.Time, b []byte)) (*Conn, error) {
	c := &Conn{
		dtls: newDTLSConn(), certificate: a.certificate,
		description: newDescription(a.certificate.fingerprint), deliver: deliver,
		compare:  a.compare,
		started:  time.Now(),
		iceGrace: a.timeouts.Disconnected + a.timeouts.Keepalive,
		events:   make(chan Event, eventsKept+2), ended: make(chan struct{}),
		gathered: make(chan struct{}),
	}
	if !c.compare.readTimes || c.compare.onArrival != nil {
		c.dtls.arrivals = &arrivals{}
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	agent, err := ice.NewAgentWithOptions(a.iceOptions(n, c.dtls)...)
	if err != nil {
		c.cancel()
		return nil, fmt.Errorf("ICE: %w", err)
	}
	c.agent = agent
	err = errors.Join(agent.OnConnectionStateChange(c.onICEState), agent.OnCandidate(c.onCandidate))
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("ICE: %w", err)
	}
	return c, nil
}

// Events returns the channel on which events arrive in order.
func (c *Conn) Events() <-chan Event { return c.events }

// post sends an event. If eventsKept events are waiting, it drops events other than Opened and
// Failed.
func (c *Conn) post(e Event) {
	c.eventsMu.Lock()
	defer c.eventsMu.Unlock()
	if len(c.events) < eventsKept || e.Kind == Opened || e.Kind == Failed {
		c.events <- e
	}
}

// fail reports that the connection is no longer usable. Only the first cause is reported.
func (c *Conn) fail(cause string) {
	c.failOnce.Do(func() { c.post(Event{Kind: Failed, Cause: cause}) })
}

// onICEState records when the path to the server becomes silent and when it recovers.
func (c *Conn) onICEState(s ice.ConnectionState) {
	switch s {
	case ice.ConnectionStateConnected, ice.ConnectionStateCompleted:
		c.connected.Store(true)
		c.silent.Store(0)
	case ice.ConnectionStateDisconnected, ice.ConnectionStateFailed:
		c.silent.CompareAndSwap(0, c.lastReceived().UnixNano())
		c.connected.Store(false)
		c.post(Event{Kind: PathSilent})
		if s == ice.ConnectionStateFailed {
			c.fail("peer connection failed")
		}
	}
}

// lastReceived returns the time of the last packet from the server. While ICE reports a connected
// path, the server has sent a packet within iceGrace, even if the path leads through a TURN server.
func (c *Conn) lastReceived() time.Time {
	var t time.Time
	if ns := c.dtls.lastReceived.Load(); ns != 0 {
		t = time.Unix(0, ns)
	}
	if since := time.Now().Add(-c.iceGrace); c.connected.Load() && t.Before(since) {
		return since
	}
	return t
}

// Status returns the current state.
func (c *Conn) Status() Status {
	st, _ := c.agent.GetSelectedCandidatePairStats()
	s := Status{
		Open: c.open.Load(), Answered: c.answered.Load(), TURN: c.usesTURN(),
		Responses: st.ResponsesReceived, LastReceived: c.lastReceived(),
	}
	if ns := c.silent.Load(); ns != 0 {
		s.SilentSince = time.Unix(0, ns)
		s.LastReceived = s.SilentSince
	}
	return s
}

// Close ends the connection and returns when all received messages have been delivered. It also
// waits for pion's goroutines. If TURN servers are set, it waits for at most closeWait, because
// pion waits eight seconds for an unresponsive TURN server, which must not delay the next join.
func (c *Conn) Close() {
	c.mu.Lock()
	c.closing = true
	secure, assoc := c.secure, c.assoc
	c.mu.Unlock()
	c.cancel()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if assoc != nil {
			c.endAssociation(assoc)
			_ = secure.Close()
		}
		_ = c.dtls.Close()
		_ = c.agent.GracefulClose() // its errors come from closing broken parts twice
		c.tasks.Wait()
	}()
	if !c.usesTURN() {
		<-closed
	}
	c.readers.Wait()
	select {
	case <-closed:
	case <-time.After(closeWait):
	}
}

const closeWait = time.Second

// endAssociation aborts the association, which informs the server. If the server has ended the
// association, it is only closed, because pion then takes 0.4 s for an abort.
func (c *Conn) endAssociation(assoc *sctp.Association) {
	select {
	case <-c.ended:
		_ = assoc.Close()
	default:
		assoc.Abort("")
	}
}

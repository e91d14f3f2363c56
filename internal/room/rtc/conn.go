package rtc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/sctp"
)

// Conn is one WebRTC connection. It is used once: when it has failed, another one is made.
//
// Offer, Answer, AddCandidate and UseTURN belong to one goroutine, except that Offer may run beside
// the others. All else may be called by anybody.
type Conn struct {
	agent       *ice.Agent
	dtls        *dtlsConn // between ICE and DTLS
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
	ended chan struct{} // no channel is read any more

	mu       sync.Mutex // for what follows
	closing  bool
	path     *ice.Conn
	secure   *dtls.Conn
	assoc    *sctp.Association
	have     [4]bool       // by Channel: it was opened
	reading  int           // channels being read
	turn     bool          // TURN servers are set
	found    []string      // candidates for the offer that is being made
	gathered chan struct{} // closed when all candidates were found
	offered  bool          // the offer was made: later candidates are trickled
	readers  sync.WaitGroup
	relayed  sync.Once
	endOnce  sync.Once

	delivering    atomic.Int32 // calls of deliver in progress
	lastDelivered atomic.Int64 // end of the last one, since started

	remote     remote
	connected  atomic.Bool   // ICE says so
	iceGrace   time.Duration // how long ICE may not notice that the server is silent
	silent     atomic.Int64  // since when an established path is silent, unix ns; 0: it is not
	offerID    atomic.Uint32 // how many offers were made; the id of the last
	unanswered atomic.Bool   // the last offer has no answer yet
	answered   atomic.Bool   // one had
}

// Event is something that happened to a connection. Kind says which of the fields is set.
type Event struct {
	Kind      EventKind
	Candidate string // of ours, as the JSON of an RTCIceCandidateInit
	Cause     string // why the connection failed; without addresses
}

// EventKind is the kind of an Event.
type EventKind uint8

// The kinds of events.
const (
	Opened     EventKind = iota + 1 // both data channels are open
	PathSilent                      // nothing is heard over an established path
	Candidate                       // found after the offer was made
	Failed                          // the connection has ended, or is of no use any more
)

// eventsKept bounds the events that wait, so that a reader that is slow is sent at most so many
// candidates. Opened and Failed always fit.
const eventsKept = 32

// Status is the present state of a connection.
type Status struct {
	Open     bool // both data channels have been opened
	Answered bool // an offer was answered
	TURN     bool // TURN servers were set
	// SilentSince is when an established path was last heard, if it is silent now.
	SilentSince time.Time
	// LastReceived is when the server last sent anything, data or ICE keepalives; zero if it never
	// has.
	LastReceived time.Time
	// Responses counts the server's answers to our ICE keepalives: if it grows, the connection
	// lives. Other packets are no proof, they may be its end.
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

// Events returns the channel on which events arrive, in their order.
func (c *Conn) Events() <-chan Event { return c.events }

// post sends an event. While the reader is behind, only Opened and Failed are kept.
func (c *Conn) post(e Event) {
	c.eventsMu.Lock()
	defer c.eventsMu.Unlock()
	if len(c.events) < eventsKept || e.Kind == Opened || e.Kind == Failed {
		c.events <- e
	}
}

// fail notes that the connection is of no use any more. The first cause stays.
func (c *Conn) fail(cause string) {
	c.failOnce.Do(func() { c.post(Event{Kind: Failed, Cause: cause}) })
}

// onICEState notes when the path to the server falls silent and when it is heard again.
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

// lastReceived is when the server last sent anything. While ICE says that it is connected, the
// server was heard within iceGrace, even if a TURN server was between us.
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

// Status returns the present state.
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

// Close ends the connection and returns when everything that was received has been delivered. It
// also waits for pion's goroutines, but not for one that asks a TURN server which does not answer:
// pion lets it ask for eight seconds, and the next join is not to wait.
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
		_ = c.agent.GracefulClose() // its errors are those of closing twice what is broken
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

// endAssociation aborts the association, so that the server knows. If the server has ended it, it
// is only closed: aborting then takes pion 0.4 s.
func (c *Conn) endAssociation(assoc *sctp.Association) {
	select {
	case <-c.ended:
		_ = assoc.Close()
	default:
		assoc.Abort("")
	}
}

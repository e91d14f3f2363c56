package room

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livekit/protocol/livekit"
)

// Conn is a connection to a room. Its goroutines: run decides, readSignals reads the websocket, and
// each channel has its reader.
type Conn struct {
	client   *Client
	o        JoinOptions
	endpoint endpoint
	info     Info
	log      *slog.Logger
	peer     *peer
	offset   atomic.Int64 // server's clock minus ours, ns

	// Of the goroutine run, and before it of Join.
	sig       *signal // nil while the websocket is lost
	refreshed string  // the token the server sent last
	servers   []turnServer
	serversAt time.Time
	stall     stall
	every     time.Duration
	wait      time.Duration

	// Of the goroutine readSignals. There is at most one; signals waits for it.
	roster  *roster
	tracks  *dataTracks
	signals sync.WaitGroup

	inEvent atomic.Bool  // Handler.Event is being called
	evented atomic.Int64 // when it returned last, since peer.started
	// when the server last said something over the websocket, since peer.started
	spoke atomic.Int64

	inbox chan inbound
	quit  chan Disconnect // asks run to end, politely
	over  chan struct{}   // run has decided: no event is delivered any more, nobody reads the inbox
	done  chan struct{}
	end   Disconnect // valid after done
}

// inbound is what readSignals hands to run: a message, or the end of the websocket.
type inbound struct {
	m   *livekit.SignalResponse
	err error
}

// Info returns what the server said when we joined, without the participants.
func (c *Conn) Info() Info { return c.info }

// ClockOffset returns the server's clock minus ours as last measured, 0 before the first
// measurement.
func (c *Conn) ClockOffset() time.Duration { return time.Duration(c.offset.Load()) }

// Done is closed when the connection has ended. After that the Handler is not called any more, and
// no goroutine of ours is left, save one that waits for a TURN server that does not answer, for
// some seconds.
func (c *Conn) Done() <-chan struct{} { return c.done }

// End returns how the connection ended; only valid after Done.
func (c *Conn) End() Disconnect { return c.end }

// Leave leaves the room, delivers what has been received, and returns when Done is closed or ctx
// ends; Done follows in any case.
func (c *Conn) Leave(ctx context.Context) {
	c.askEnd(Disconnect{Reason: ReasonLeft})
	select {
	case <-c.done:
	case <-ctx.Done():
	}
}

func (c *Conn) askEnd(e Disconnect) {
	select {
	case c.quit <- e:
	default: // somebody asked before
	}
}

// run lives as long as the connection.
func (c *Conn) run() {
	defer close(c.done)
	end := c.decide()
	close(c.over)
	if c.sig != nil && (end.Reason == ReasonLeft || end.Reason == ReasonJoinFailed) {
		_ = c.sig.leave() // else the server keeps our ghost for 20 s
	}
	end.LastReceived = c.stall.before(time.Now(), c.peer.heard())
	if c.peer.isOpen() {
		c.peer.drain(c.client.times)
	}
	if c.sig != nil {
		c.sig.close()
	}
	c.peer.close()
	c.signals.Wait()
	c.end = end
	c.log.Debug("room connection ended", "reason", string(end.Reason), "detail", end.Detail)
}

// decide waits for the connection's end and says what it was.
func (c *Conn) decide() Disconnect {
	t := c.client.times
	c.stall.every = c.every
	c.stall.tick(time.Now())
	ping := time.NewTicker(c.every)
	defer ping.Stop()
	down := c.peer.down
	var grace <-chan time.Time // running: the PeerConnection is down
	var again *resume          // not nil: the websocket is lost
	var path *mend             // not nil: there is no path to the server
	defer func() { again.stop(); path.stop() }()
	fallback := time.NewTimer(t.mend.fallback)
	defer fallback.Stop()
	for {
		select {
		case e := <-c.quit:
			return e
		case <-down:
			if c.sig == nil { // no Leave can come
				return lost(c.peer.cause)
			}
			// When a room is deleted, its PeerConnections may close before the Leave that says so
			// is read.
			down, grace = nil, time.After(t.leaveGrace)
		case <-grace:
			// The Leave may be waiting behind a slow Handler.Event.
			if c.inEvent.Load() || time.Since(c.peer.started)-time.Duration(
				c.evented.Load()) < t.leaveGrace {
				grace = time.After(t.leaveGrace)
				continue
			}
			return lost(c.peer.cause)
		case <-ping.C:
			c.stall.tick(time.Now())
			c.ping()
		case <-fallback.C:
			if !c.peer.isOpen() && len(c.servers) > 0 && path == nil {
				path = c.newMend(0)
			}
		case <-c.peer.trouble:
			if path == nil && c.peer.isOpen() && c.peer.silent.Load() != 0 {
				path = c.newMend(t.mend.patience)
			}
		case <-path.ticks():
			done, e := path.tick()
			if e != nil {
				return *e
			}
			if done {
				path.stop()
				path = nil
			}
		case o := <-path.results():
			path.made(o)
		case ci := <-c.peer.late:
			c.trickle(ci)
		case <-again.ticks():
			if e, over := again.tick(path.worthwhile()); over {
				return e
			}
		case r := <-again.results():
			if r.sig == nil {
				if e, over := again.failed(r); over {
					return e
				}
				continue
			}
			if s := turnServers(r.first.GetReconnect().GetIceServers()); len(s) > 0 {
				c.servers, c.serversAt = s, time.Now()
			}
			if l := r.first.GetLeave(); l != nil {
				r.sig.close()
				return endOf(l)
			}
			again.stop()
			again = nil
			c.startSignals(r.sig, r.first)
		case in := <-c.inbox:
			gone, e := c.handle(in)
			if e == nil && in.m.GetAnswer() != nil {
				e = path.answered()
			}
			if e != nil {
				return *e
			}
			if !gone {
				continue
			}
			c.sig.close()
			c.sig = nil
			switch {
			case grace != nil:
				return lost(c.peer.cause)
			case !c.peer.isOpen():
				return lost("the websocket was lost while joining")
			}
			again = c.newResume()
		}
	}
}

func lost(detail string) Disconnect {
	return Disconnect{
		Reason: ReasonConnectionLost,
		Detail: detail,
	}
}

// handle takes a message. It returns whether the websocket is lost by it, and the end if it is one.
func (c *Conn) handle(in inbound) (gone bool, end *Disconnect) {
	if in.err != nil {
		c.log.Debug("room signalling lost", "error", in.err)
		return true, nil
	}
	switch m := in.m.GetMessage().(type) {
	case *livekit.SignalResponse_Leave:
		// With any action. A server that asks to resume has lost our PeerConnection
		// (pkg/rtc/participant.go, onAnyTransportFailed): it discards our packets from then on, so
		// the quickest way back is a new session.
		e := endOf(m.Leave)
		return false, &e
	case *livekit.SignalResponse_RoomMoved:
		// LiveKit Cloud only; the packets that follow are another room's
		return false, &Disconnect{Reason: ReasonOther, Detail: "server: moved to another room"}
	case *livekit.SignalResponse_Answer:
		if err := c.peer.answer(m.Answer); err != nil {
			e := Disconnect{Reason: ReasonJoinFailed, Detail: "the server's answer: " + err.Error()}
			if c.peer.isOpen() {
				e.Reason = ReasonConnectionLost
			}
			return false, &e
		}
	case *livekit.SignalResponse_Trickle:
		c.peer.candidate(m.Trickle)
	case *livekit.SignalResponse_RefreshToken:
		if len(m.RefreshToken) <= maxToken {
			c.refreshed = m.RefreshToken
		}
	}
	return false, nil
}

func (c *Conn) ping() {
	if c.sig == nil {
		return
	}
	if err := c.sig.ping(); err != nil {
		c.sig.close() // readSignals notices
	}
}

// trickle sends one of our candidates that was found after the offer was sent.
func (c *Conn) trickle(ci candidateInit) {
	if c.sig == nil {
		return
	}
	if err := c.sig.trickle(ci); err != nil {
		c.sig.close() // readSignals notices
	}
}

// startSignals begins to read a websocket. first is a message that was already read, if any.
func (c *Conn) startSignals(s *signal, first *livekit.SignalResponse) {
	c.signals.Wait() // of the websocket before: it has ended, perhaps a few instructions ago
	s.wait = c.wait
	c.sig = s
	c.signals.Go(func() { c.readSignals(s, first) })
	c.ping() // measures the clocks
}

// readSignals reads a websocket to its end. It calls Handler.Event itself, so that a slow handler
// delays nothing else.
func (c *Conn) readSignals(s *signal, first *livekit.SignalResponse) {
	if first != nil {
		c.spoke.Store(int64(time.Since(c.peer.started)))
		c.roster.full = true
		c.event(Event{Type: SignalResumed})
	}
	measured := false
	for m := first; ; m = nil {
		var err error
		if m == nil {
			m, err = s.read()
		}
		now := time.Now()
		if err == nil {
			c.spoke.Store(int64(now.Sub(c.peer.started)))
		}
		switch {
		case err != nil:
			c.event(Event{Type: SignalLost})
			c.post(inbound{err: err})
			return
		case m.GetLeave() != nil:
			c.post(inbound{m: m})
			return // the websocket's end follows, which is no news
		case c.told(m, now, &measured):
		default:
			c.post(inbound{m: m})
		}
	}
}

// told delivers the events of a message, and reports whether that was all about it.
func (c *Conn) told(m *livekit.SignalResponse, now time.Time, measured *bool) bool {
	switch x := m.GetMessage().(type) {
	case *livekit.SignalResponse_Update:
		for _, e := range append(c.roster.update(x.Update.GetParticipants()),
			c.tracks.update(x.Update.GetParticipants())...) {
			c.event(e)
		}
	case *livekit.SignalResponse_DataTrackSubscriberHandles:
		for _, e := range c.tracks.subscribed(x.DataTrackSubscriberHandles.GetSubHandles()) {
			c.event(e)
		}
	case *livekit.SignalResponse_RoomUpdate:
		c.event(Event{
			Type: RoomUpdated, RoomSID: x.RoomUpdate.GetRoom().GetSid(),
			RoomMetadata: x.RoomUpdate.GetRoom().GetMetadata(),
		})
	case *livekit.SignalResponse_PongResp:
		c.offset.Store(int64(clockOffset(x.PongResp, now)))
		if !*measured {
			*measured = true
			c.event(Event{Type: ClockMeasured})
		}
	default:
		return false
	}
	return true
}

// event delivers an event, unless the end has been decided.
func (c *Conn) event(e Event) {
	select {
	case <-c.over:
		return
	default:
	}
	e.At, e.ClockOffset = time.Now(), c.ClockOffset()
	c.inEvent.Store(true)
	c.o.Handler.Event(e)
	c.evented.Store(int64(time.Since(c.peer.started)))
	c.inEvent.Store(false)
}

// post hands something to run, which may have decided before.
func (c *Conn) post(in inbound) {
	select {
	case c.inbox <- in:
	case <-c.over:
	}
}

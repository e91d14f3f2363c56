package room

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/internal/room/rtc"
)

// Conn is a connection to a room. The goroutine run changes the state. The goroutine readSignals
// reads the websocket and calls Handler.Event. Package rtc has a goroutine for each channel, which
// calls Handler.Packet.
type Conn struct {
	client   *Client
	o        JoinOptions
	endpoint endpoint
	info     Info
	log      *slog.Logger
	rtc      rtcConn
	started  time.Time
	offset   atomic.Int64 // server's clock minus ours, ns

	// These fields belong to the goroutine run, and to Join before run starts.
	state     state
	sig       *signal // nil while the websocket is lost
	token     string  // last token sent by the server
	turn      []rtc.TURNServer
	turnSet   time.Time // time at which the server sent the TURN servers
	suspend   suspendDetector
	pingEvery time.Duration
	pingWait  time.Duration
	resume    *signalResume // set in stateResuming, else nil
	restart   *iceRestart   // set during the search for a path, else nil
	// ticks for the steps of resume and restart; stopped if both are nil
	recovery   *time.Ticker
	leaveGrace <-chan time.Time // set in stateClosing: end of the wait for a Leave
	failure    string           // set in stateClosing: cause of the WebRTC failure

	// These fields belong to the goroutine readSignals. At most one is running; signals waits for
	// it.
	roster  *roster
	tracks  *dataTracks
	signals sync.WaitGroup

	inEvent    atomic.Bool  // a call of Handler.Event is in progress
	lastEvent  atomic.Int64 // last return of Handler.Event, since started
	lastSignal atomic.Int64 // last message from the server over the websocket, since started

	opened        chan struct{}  // closed when both channels are open
	inbox         chan inbound   // from readSignals
	completions   chan completed // from the goroutines of resume and restart
	closeRequests chan Disconnect
	decided       chan struct{} // closed when the end is decided; no events follow
	done          chan struct{}
	end           Disconnect // valid after done
}

// inbound is a message from readSignals to run: a signal message or the end of the websocket.
type inbound struct {
	m   *livekit.SignalResponse
	err error
}

// completed finishes the work of another goroutine; run calls it. It returns a Disconnect if the
// connection thereby ends.
type completed func() *Disconnect

// Info returns the server's description of the room at the join, without the participants.
func (c *Conn) Info() Info { return c.info }

// ClockOffset returns the server's clock minus ours as last measured, 0 before the first
// measurement.
func (c *Conn) ClockOffset() time.Duration { return time.Duration(c.offset.Load()) }

// Done is closed when the connection has ended. The Handler is not called after that. No goroutine
// of ours remains, except possibly, for some seconds, one that waits for an unresponsive TURN
// server.
func (c *Conn) Done() <-chan struct{} { return c.done }

// End returns how the connection ended. It is valid only after Done.
func (c *Conn) End() Disconnect { return c.end }

// Leave leaves the room, delivers the packets already received, and returns when Done is closed or
// ctx ends. Done is closed in either case.
func (c *Conn) Leave(ctx context.Context) {
	c.requestClose(Disconnect{Reason: ReasonLeft})
	select {
	case <-c.done:
	case <-ctx.Done():
	}
}

// Send sends one packet on a channel, if the token allows it: the bytes of a livekit.DataPacket. It
// returns once the packet is queued. A recorder never sends, and its token forbids it.
func (c *Conn) Send(ch Channel, b []byte) error { return c.rtc.Send(ch, b) }

func (c *Conn) requestClose(d Disconnect) {
	select {
	case c.closeRequests <- d:
	default: // already requested
	}
}

// run handles the connection until it ends.
func (c *Conn) run() {
	defer close(c.done)
	end := c.untilEnded()
	close(c.decided)
	if c.sig != nil && (end.Reason == ReasonLeft || end.Reason == ReasonJoinFailed) {
		_ = c.sig.leave() // without a leave, the server keeps a stale participant for 20 s
	}
	status := c.rtc.Status()
	end.LastReceived = c.suspend.lastReceived(time.Now(), status.LastReceived)
	if status.Open {
		c.rtc.Drain(c.client.times.quiet, c.client.times.drain)
	}
	if c.sig != nil {
		c.sig.close()
	}
	c.rtc.Close()
	c.signals.Wait()
	c.end = end
	c.log.Debug("room connection ended", "reason", string(end.Reason), "detail", end.Detail)
}

// untilEnded handles events one at a time until the connection has ended.
func (c *Conn) untilEnded() Disconnect {
	t := c.client.times
	c.suspend.every = c.pingEvery
	c.suspend.tick(time.Now())
	ping := time.NewTicker(c.pingEvery)
	defer ping.Stop()
	c.recovery = time.NewTicker(t.tick)
	c.recovery.Stop()
	noChannel := time.NewTimer(t.restart.turnAfter)
	defer noChannel.Stop()
	defer func() {
		c.stopResume()
		c.stopRestart()
	}()
	for {
		var end *Disconnect
		select {
		case d := <-c.closeRequests:
			end = &d
		case e := <-c.rtc.Events():
			end = c.onRTC(e)
		case in := <-c.inbox:
			end = c.onSignal(in)
		case <-c.leaveGrace:
			end = c.onLeaveGrace()
		case done := <-c.completions:
			end = done()
		case <-c.recovery.C:
			end = c.onRecoveryTick()
		case <-ping.C:
			c.suspend.tick(time.Now())
			c.ping()
		case <-noChannel.C:
			if !c.isOpen() && len(c.turn) > 0 {
				c.startRestart(0)
			}
		}
		if end != nil {
			c.enter(stateEnded)
			return *end
		}
	}
}

func lost(detail string) *Disconnect {
	return &Disconnect{Reason: ReasonConnectionLost, Detail: detail}
}

// isOpen reports whether the data channels are open. The state changes a moment later.
func (c *Conn) isOpen() bool { return c.rtc.Status().Open }

func (c *Conn) onRTC(e rtc.Event) *Disconnect {
	switch e.Kind {
	case rtc.Opened:
		if c.state == stateJoining {
			c.enter(stateConnected)
			close(c.opened)
		}
	case rtc.PathSilent:
		if s := c.rtc.Status(); s.Open && !s.SilentSince.IsZero() {
			c.startRestart(c.client.times.restart.patience)
		}
	case rtc.Candidate:
		if c.sig != nil {
			c.written(c.sig.trickle(e.Candidate))
		}
	case rtc.Failed:
		if c.state == stateResuming { // no Leave can arrive
			return lost(e.Cause)
		}
		// When a room is deleted, its PeerConnections may close before we read the Leave that gives
		// the reason.
		c.enter(stateClosing)
		c.failure, c.leaveGrace = e.Cause, time.After(c.client.times.leaveGrace)
	}
	return nil
}

// onLeaveGrace ends the connection if no Leave has arrived. It waits longer while a slow
// Handler.Event may delay the Leave.
func (c *Conn) onLeaveGrace() *Disconnect {
	grace := c.client.times.leaveGrace
	if c.inEvent.Load() || time.Since(c.started)-time.Duration(c.lastEvent.Load()) < grace {
		c.leaveGrace = time.After(grace)
		return nil
	}
	return lost(c.failure)
}

// onSignal handles a message, or the loss of the websocket.
func (c *Conn) onSignal(in inbound) *Disconnect {
	if in.err != nil {
		c.log.Debug("room signalling lost", "error", in.err)
		return c.onSignalLost()
	}
	switch m := in.m.GetMessage().(type) {
	case *livekit.SignalResponse_Leave:
		// The connection ends regardless of the action. A server that requests a resume has lost
		// our PeerConnection (pkg/rtc/participant.go, onAnyTransportFailed) and discards our
		// packets from then on, so a new session is the fastest recovery.
		return disconnectFrom(m.Leave)
	case *livekit.SignalResponse_RoomMoved:
		// LiveKit Cloud only; the packets that follow belong to another room
		return &Disconnect{Reason: ReasonOther, Detail: "server: moved to another room"}
	case *livekit.SignalResponse_Answer:
		if err := c.rtc.Answer(m.Answer.GetId(), m.Answer.GetSdp()); err != nil {
			d := &Disconnect{Reason: ReasonJoinFailed, Detail: "the server's answer: " +
				err.Error()}
			if c.isOpen() {
				d.Reason = ReasonConnectionLost
			}
			return d
		}
		return c.restart.onAnswer()
	case *livekit.SignalResponse_Trickle:
		c.rtc.AddCandidate(m.Trickle.GetCandidateInit())
	case *livekit.SignalResponse_RefreshToken:
		if len(m.RefreshToken) <= maxToken {
			c.token = m.RefreshToken
		}
	}
	return nil
}

func (c *Conn) onSignalLost() *Disconnect {
	c.sig.close()
	c.sig = nil
	switch {
	case c.state == stateClosing:
		return lost(c.failure)
	case !c.isOpen():
		return lost("the websocket was lost while joining")
	case c.state == stateJoining: // the channels have just opened
		c.enter(stateConnected)
		close(c.opened)
	}
	c.enter(stateResuming)
	c.startResume()
	return nil
}

// onRecoveryTick runs a step of the ICE restart and of the signal resume, if active.
func (c *Conn) onRecoveryTick() *Disconnect {
	if c.restart != nil {
		if end := c.restart.step(); end != nil {
			return end
		}
	}
	if c.resume != nil {
		return c.resume.step(c.restart.canRecover())
	}
	return nil
}

// recoveryChanged starts or stops the ticker: it runs while a resume or a restart is active.
func (c *Conn) recoveryChanged() {
	if c.resume != nil || c.restart != nil {
		c.recovery.Reset(c.client.times.tick)
	} else {
		c.recovery.Stop()
	}
}

func (c *Conn) ping() {
	if c.sig != nil {
		c.written(c.sig.ping())
	}
}

// written closes the websocket after a failed write. readSignals then reports its end.
func (c *Conn) written(err error) {
	if err != nil {
		c.sig.close()
	}
}

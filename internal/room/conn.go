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

// Conn is a connection to a room. The goroutine run changes its state, readSignals reads the
// websocket and calls Handler.Event, and rtc has a goroutine for each channel, which calls
// Handler.Packet.
type Conn struct {
	client   *Client
	o        JoinOptions
	endpoint endpoint
	info     Info
	log      *slog.Logger
	rtc      rtcConn
	started  time.Time
	offset   atomic.Int64 // server's clock minus ours, ns

	// Of the goroutine run, and before it of Join.
	state      state
	sig        *signal // nil while the websocket is lost
	token      string  // the one that the server sent last
	turn       []rtc.TURNServer
	turnSet    time.Time // when the server sent them
	suspend    suspendDetector
	pingEvery  time.Duration
	pingWait   time.Duration
	resume     *signalResume    // in stateResuming, else nil
	restart    *iceRestart      // while a path is looked for, else nil
	recovery   *time.Ticker     // steps of resume and restart; stopped while there is neither
	leaveGrace <-chan time.Time // in stateClosing
	failure    string           // in stateClosing: of WebRTC

	// Of the goroutine readSignals. There is at most one; signals waits for it.
	roster  *roster
	tracks  *dataTracks
	signals sync.WaitGroup

	inEvent    atomic.Bool  // Handler.Event is being called
	lastEvent  atomic.Int64 // when it returned last, since started
	lastSignal atomic.Int64 // when the server last sent anything over the websocket, since started

	opened        chan struct{}  // both channels are open
	inbox         chan inbound   // from readSignals
	completions   chan completed // from the goroutines of resume and restart
	closeRequests chan Disconnect
	decided       chan struct{} // closed when the end is decided: no events any more
	done          chan struct{}
	end           Disconnect // valid after done
}

// inbound is what readSignals hands to run: a message, or the end of the websocket.
type inbound struct {
	m   *livekit.SignalResponse
	err error
}

// completed is the rest of something that a goroutine has tried, to be done by run. It returns the
// disconnect if the connection has ended by it.
type completed func() *Disconnect

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
	c.requestClose(Disconnect{Reason: ReasonLeft})
	select {
	case <-c.done:
	case <-ctx.Done():
	}
}

func (c *Conn) requestClose(d Disconnect) {
	select {
	case c.closeRequests <- d:
	default: // already requested
	}
}

// run lives as long as the connection.
func (c *Conn) run() {
	defer close(c.done)
	end := c.untilEnded()
	close(c.decided)
	if c.sig != nil && (end.Reason == ReasonLeft || end.Reason == ReasonJoinFailed) {
		_ = c.sig.leave() // otherwise the server keeps a stale participant for 20 s
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

// untilEnded handles one event after the other until the connection has ended.
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

// isOpen reports whether the data channels are open. The state follows a moment later.
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
		if c.state == stateResuming { // no Leave can come
			return lost(e.Cause)
		}
		// When a room is deleted, its PeerConnections may close before the Leave that says so is
		// read.
		c.enter(stateClosing)
		c.failure, c.leaveGrace = e.Cause, time.After(c.client.times.leaveGrace)
	}
	return nil
}

// onLeaveGrace ends the connection if no Leave has come. It may be waiting behind a slow
// Handler.Event.
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
		// Whatever the action. A server that asks to resume has lost our PeerConnection
		// (pkg/rtc/participant.go, onAnyTransportFailed) and discards our packets from then on, so
		// the quickest way back is a new session.
		return disconnectFrom(m.Leave)
	case *livekit.SignalResponse_RoomMoved:
		// LiveKit Cloud only; the packets that follow are another room's
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
	case c.state == stateJoining: // the channels have opened a moment ago
		c.enter(stateConnected)
		close(c.opened)
	}
	c.enter(stateResuming)
	c.startResume()
	return nil
}

// onRecoveryTick is a step of what is being recovered.
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

// recoveryChanged runs the ticker while there is something to recover.
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

// written looks at the error of a write to the websocket. readSignals notices that it is closed.
func (c *Conn) written(err error) {
	if err != nil {
		c.sig.close()
	}
}

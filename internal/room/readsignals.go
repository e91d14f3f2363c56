package room

import (
	"time"

	"github.com/livekit/protocol/livekit"
)

// startSignals starts reading a websocket. first is a message that has already been read, if any.
func (c *Conn) startSignals(s *signal, first *livekit.SignalResponse) {
	// for the previous websocket; its reader may still have a few instructions to run
	c.signals.Wait()
	s.wait = c.pingWait
	c.sig = s
	c.signals.Go(func() { c.readSignals(s, first) })
	c.ping() // measures the clock offset
}

// readSignals reads a websocket to its end. It calls Handler.Event directly, so that a slow handler
// delays only this goroutine.
func (c *Conn) readSignals(s *signal, first *livekit.SignalResponse) {
	if first != nil {
		c.lastSignal.Store(int64(time.Since(c.started)))
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
			c.lastSignal.Store(int64(now.Sub(c.started)))
		}
		switch {
		case err != nil:
			c.event(Event{Type: SignalLost})
			c.post(inbound{err: err})
			return
		case m.GetLeave() != nil:
			c.post(inbound{m: m})
			return // the end of the websocket follows and needs no message
		case c.handleEvent(m, now, &measured):
		default:
			c.post(inbound{m: m})
		}
	}
}

// handleEvent delivers the events of a message, and reports whether the message is thereby handled
// completely.
func (c *Conn) handleEvent(m *livekit.SignalResponse, now time.Time, measured *bool) bool {
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
	case <-c.decided:
		return
	default:
	}
	e.At, e.ClockOffset = time.Now(), c.ClockOffset()
	c.inEvent.Store(true)
	c.o.Handler.Event(e)
	c.lastEvent.Store(int64(time.Since(c.started)))
	c.inEvent.Store(false)
}

// post sends a message to run, unless the end has been decided.
func (c *Conn) post(in inbound) {
	select {
	case c.inbox <- in:
	case <-c.decided:
	}
}

package room

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/internal/room/rtc"
)

// Join joins a room and returns when both data channels are open. It calls Handler.Joined first;
// Handler.Packet and Handler.Event may also be called before it returns. Errors are *JoinError, or
// *DisconnectError if the server or Handler.Joined ended the connection.
func (c *Client) Join(ctx context.Context, o JoinOptions) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.times.join)
	defer cancel()
	e, err := parseEndpoint(o.URL)
	if err != nil {
		return nil, &JoinError{Phase: "url", Err: err}
	}
	peer, err := c.newRTC(ctx, e.ws.Hostname(), o.Handler)
	if err != nil {
		return nil, &JoinError{Phase: "offer", Err: err}
	}
	jr := &livekit.JoinRequest{}
	if !c.relay { // relay candidates need the TURN servers of the join response
		offer, err := peer.Offer(ctx, 0)
		if err != nil {
			peer.Close()
			return nil, &JoinError{Phase: "offer", Err: err}
		}
		jr.PublisherOffer = sessionDescription(offer)
	}
	sig, first, err := c.dial(ctx, e, o.Token, jr)
	if err != nil {
		peer.Close()
		return nil, err
	}
	j := first.GetJoin()
	if j == nil {
		sig.close()
		peer.Close()
		if l := first.GetLeave(); l != nil {
			return nil, &DisconnectError{Disconnect: *disconnectFrom(l)}
		}
		return nil, &JoinError{
			Phase: "join response",
			Err:   fmt.Errorf("the server's first message is a %T", first.GetMessage()),
		}
	}
	conn := c.newConn(o, e, j, peer)
	conn.sig = sig
	if err := conn.establish(ctx); err != nil {
		return nil, err
	}
	return conn, nil
}

// newConn returns a connection in the state joining, initialised from the server's JoinResponse.
func (c *Client) newConn(o JoinOptions, e endpoint, j *livekit.JoinResponse, peer rtcConn) *Conn {
	conn := &Conn{
		client: c, o: o, endpoint: e, info: infoOf(j), log: c.log, rtc: peer, started: time.Now(),
		state:  stateJoining,
		roster: newRoster(j.GetParticipant().GetSid(), j.GetOtherParticipants()),
		tracks: newDataTracks(j.GetOtherParticipants()),
		opened: make(chan struct{}), inbox: make(chan inbound), completions: make(chan completed),
		closeRequests: make(chan Disconnect, 1),
		decided:       make(chan struct{}), done: make(chan struct{}),
	}
	conn.pingEvery, conn.pingWait = pingTimes(j, c.times)
	conn.turn, conn.turnSet = turnServers(j.GetIceServers()), time.Now()
	return conn
}

// establish calls Handler.Joined and then waits for the data channels. If they do not open, it
// closes the connection completely.
func (c *Conn) establish(ctx context.Context) error {
	err := c.o.Handler.Joined(c.info)
	c.info.Participants = nil // their metadata would stay in memory for the whole connection
	if err != nil {
		c.refuse()
		return &DisconnectError{Disconnect: Disconnect{Reason: ReasonRefused}, Err: err}
	}
	if c.client.relay {
		if err := c.offerRelay(ctx); err != nil {
			c.refuse()
			return err
		}
	}
	c.startSignals(c.sig, nil)
	go c.run()
	select {
	case <-c.opened:
		return nil
	case <-c.done:
		return &DisconnectError{Disconnect: c.end}
	case <-ctx.Done():
	}
	c.requestClose(Disconnect{Reason: ReasonJoinFailed, Detail: "not established in time"})
	<-c.done
	if c.end.Reason != ReasonJoinFailed {
		return &DisconnectError{Disconnect: c.end}
	}
	status := c.rtc.Status()
	phase, hint := "data channels", "no connection over UDP, and the server names no TURN server"
	if status.TURN {
		hint = "no connection over UDP, nor through the server's TURN servers"
	}
	if !status.Answered {
		phase, hint = "answer", "the server did not answer our offer"
	}
	return &JoinError{Phase: phase, Err: fmt.Errorf("%s: %w", hint, ctx.Err())}
}

// offerRelay makes the first offer of a connection that is restricted to TURN servers.
func (c *Conn) offerRelay(ctx context.Context) error {
	if len(c.turn) == 0 {
		return &JoinError{
			Phase: "relay",
			Err:   errors.New("only TURN servers are to be used, and the server names none"),
		}
	}
	err := c.rtc.UseTURN(c.turn)
	var offer rtc.Offer
	if err == nil {
		offer, err = c.rtc.Offer(ctx, c.client.times.restart.gather)
	}
	if err == nil {
		err = c.sig.offer(offer)
	}
	if err != nil {
		return &JoinError{Phase: "relay", Err: err}
	}
	return nil
}

// refuse leaves before run starts, and waits until the server closes the websocket: we have then
// left the room.
func (c *Conn) refuse() {
	defer c.rtc.Close()
	defer c.sig.close()
	c.sig.wait = c.client.times.leaveGrace
	if err := c.sig.leave(); err != nil {
		return
	}
	deadline := time.Now().Add(c.client.times.leaveGrace)
	for time.Now().Before(deadline) {
		if _, err := c.sig.read(); err != nil {
			return
		}
	}
}

func infoOf(j *livekit.JoinResponse) Info {
	r, p := j.GetRoom(), j.GetParticipant()
	created := time.Time{}
	switch {
	case r.GetCreationTimeMs() != 0:
		created = time.UnixMilli(r.GetCreationTimeMs())
	case r.GetCreationTime() != 0:
		created = time.Unix(r.GetCreationTime(), 0)
	}
	info := Info{
		RoomSID: r.GetSid(), RoomName: r.GetName(), RoomMetadata: r.GetMetadata(),
		RoomCreated:    created,
		ParticipantSID: p.GetSid(), Identity: p.GetIdentity(),
		ServerVersion: j.GetServerInfo().GetVersion(), Region: j.GetServerInfo().GetRegion(),
		NodeID: j.GetServerInfo().GetNodeId(),
	}
	if info.ServerVersion == "" {
		info.ServerVersion = j.GetServerVersion()
	}
	if info.Region == "" {
		info.Region = j.GetServerRegion()
	}
	for _, o := range j.GetOtherParticipants() {
		info.Participants = append(info.Participants, participantOf(o))
	}
	return info
}

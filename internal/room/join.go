package room

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/livekit/protocol/livekit"
)

// Join joins a room and returns when both data channels are open. Handler.Joined is called before;
// packets and events may be, too. Errors are *JoinError, or *DisconnectError if the server or
// Handler.Joined ended it.
func (c *Client) Join(ctx context.Context, o JoinOptions) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.times.join)
	defer cancel()
	e, err := parseEndpoint(o.URL)
	if err != nil {
		return nil, &JoinError{Phase: "url", Err: err}
	}
	p, err := c.newPeer(networkOf(ctx, e.ws.Hostname()), o.Handler)
	if err != nil {
		return nil, &JoinError{Phase: "offer", Err: err}
	}
	var offer *livekit.SessionDescription
	if !c.relay { // else the TURN servers must be known before
		if offer, err = p.offer(ctx, 0); err != nil {
			p.close()
			return nil, &JoinError{Phase: "offer", Err: err}
		}
	}
	sig, first, err := c.dial(ctx, e, o.Token, &livekit.JoinRequest{PublisherOffer: offer})
	if err != nil {
		p.close()
		return nil, err
	}
	j := first.GetJoin()
	if j == nil {
		sig.close()
		p.close()
		if l := first.GetLeave(); l != nil {
			return nil, &DisconnectError{Disconnect: endOf(l)}
		}
		return nil, &JoinError{
			Phase: "join response",
			Err:   fmt.Errorf("the server's first message is a %T", first.GetMessage()),
		}
	}
	conn := &Conn{
		client: c, o: o, endpoint: e, info: infoOf(j), log: c.log, peer: p, sig: sig,
		roster: newRoster(j.GetParticipant().GetSid(), j.GetOtherParticipants()),
		tracks: newDataTracks(j.GetOtherParticipants()),
		inbox:  make(chan inbound), quit: make(chan Disconnect, 1), over: make(chan struct{}),
		done: make(chan struct{}),
	}
	conn.every, conn.wait = pingTimes(j, c.times)
	conn.servers, conn.serversAt = turnServers(j.GetIceServers()), time.Now()
	if err := conn.establish(ctx); err != nil {
		return nil, err
	}
	return conn, nil
}

// establish asks the handler, and then lets the PeerConnection come up. If it does not, nothing of
// the connection is left.
func (c *Conn) establish(ctx context.Context) error {
	err := c.o.Handler.Joined(c.info)
	c.info.Participants = nil // with their metadata, for as long as we stay
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
	case <-c.peer.opened:
		return nil
	case <-c.done:
		return &DisconnectError{Disconnect: c.end}
	case <-ctx.Done():
	}
	c.askEnd(Disconnect{Reason: ReasonJoinFailed, Detail: "not established in time"})
	<-c.done
	if c.end.Reason != ReasonJoinFailed {
		return &DisconnectError{Disconnect: c.end}
	}
	phase, hint := "data channels", "no connection over UDP, and the server names no TURN server"
	if c.peer.hasRelays() {
		hint = "no connection over UDP, nor through the server's TURN servers"
	}
	if !c.peer.answered.Load() {
		phase, hint = "answer", "the server did not answer our offer"
	}
	return &JoinError{Phase: phase, Err: fmt.Errorf("%s: %w", hint, ctx.Err())}
}

// offerRelay makes the first offer of a connection that may only go through TURN servers.
func (c *Conn) offerRelay(ctx context.Context) error {
	if len(c.servers) == 0 {
		return &JoinError{
			Phase: "relay",
			Err:   errors.New("only TURN servers are to be used, and the server names none"),
		}
	}
	err := c.peer.useServers(c.servers)
	var offer *livekit.SessionDescription
	if err == nil {
		offer, err = c.peer.offer(ctx, c.client.times.mend.gather)
	}
	if err == nil {
		err = c.sig.offer(offer)
	}
	if err != nil {
		return &JoinError{Phase: "relay", Err: err}
	}
	return nil
}

// refuse leaves before anything has begun, and waits for the server to hang up: it has then
// forgotten us.
func (c *Conn) refuse() {
	defer c.peer.close()
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

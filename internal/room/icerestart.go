package room

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress/internal/room/rtc"
)

// restartTimes contains the timeouts of an iceRestart.
type restartTimes struct {
	// patience is how long a silent path may recover before the first offer, and how long the
	// websocket may take to answer a ping.
	patience   time.Duration
	retryEvery time.Duration // pause between two offers
	gather     time.Duration // time that an offer waits for candidates of TURN servers
	turnAfter  time.Duration // time without an open channel after which TURN servers are tried
	// serverKeepsUs is how long the server still keeps the connection after the last received
	// packet or after an offer.
	serverKeepsUs time.Duration
	// serverDroppedUs is the time after the last received packet at which the server has certainly
	// dropped the connection.
	serverDroppedUs  time.Duration
	credentialsValid time.Duration // validity of TURN credentials; LiveKit's are valid for 5 min
}

// iceRestart searches for a path to the server when there is none yet or when the path is silent.
// It restarts ICE with a new offer, which only the client may make in single-PeerConnection mode
// (livekit-server, TransportManager.ICERestart). An ICE restart abandons the old path. The offer is
// therefore made only when it will probably arrive: the websocket must have answered a ping since
// the search started. If the websocket does not answer, it is replaced first; see signalResume.
//
// The server abandons a path after 15 s without a packet from us, and discards packets for us from
// then on. For 5 s more, it still accepts an offer and connects again as if nothing had happened
// (livekit-server, pkg/rtc/transport.go and participant.go). Such a connection would have an
// undetected gap, so a late answer ends the connection. The first ICE restart extends the server's
// timeout by 15 s; further restarts do not (pion/ice, connectivityChecks).
//
// It belongs to the goroutine run.
type iceRestart struct {
	c        *Conn
	t        restartTimes
	pingedAt time.Time // the websocket must have answered after this time
	next     time.Time // time of the next offer
	offers   int       // number of offers made
	offering bool      // an offer is being made
	sentAt   time.Time // time at which the first offer was sent
	accepted bool      // an offer was answered in time

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// startRestart starts the search for a path, unless it is active already. The first offer is made
// after patience.
func (c *Conn) startRestart(patience time.Duration) {
	if c.restart != nil {
		return
	}
	now := time.Now()
	r := &iceRestart{c: c, t: c.client.times.restart, pingedAt: now, next: now.Add(patience)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	c.restart = r
	c.recoveryChanged()
	c.ping()
}

func (c *Conn) stopRestart() {
	if c.restart != nil {
		c.restart.cancel()
		c.restart.wg.Wait()
		c.restart = nil
		c.recoveryChanged()
	}
}

// silence returns how long an established path has been silent, or 0.
func (r *iceRestart) silence(s rtc.Status) time.Duration {
	if s.Open && !s.SilentSince.IsZero() {
		return time.Since(s.SilentSince)
	}
	return 0
}

// canRecover reports whether an offer made now may save the connection. It is true if no restart is
// active, because the path then works.
func (r *iceRestart) canRecover() bool {
	return r == nil || r.accepted || r.silence(r.c.rtc.Status()) < r.t.serverKeepsUs-time.Second
}

// step makes an offer if one is due, and ends the restart if a path works. It returns a Disconnect
// if a path can no longer be found.
func (r *iceRestart) step() *Disconnect {
	c, now, status := r.c, time.Now(), r.c.rtc.Status()
	silence := r.silence(status)
	switch {
	case r.offering:
		return nil
	case status.Open && status.SilentSince.IsZero():
		c.stopRestart()
		return nil
	case !r.accepted && silence > r.t.serverDroppedUs,
		r.accepted && status.Open && now.Sub(r.sentAt) > r.t.serverKeepsUs:
		return lost("no path to the server")
	case now.Before(r.next) || c.sig == nil || !r.canRecover():
		return nil
	case time.Duration(c.lastSignal.Load()) <= r.pingedAt.Sub(c.started):
		// the ping has no answer: the websocket is dead, too
		if now.Sub(r.pingedAt) >= r.t.patience {
			c.sig.close() // readSignals then reports the loss
		}
		return nil
	case r.needsTURN(status) && !r.useTURN(now):
		return nil
	}
	r.offers++
	r.offering, r.next = true, now.Add(r.t.retryEvery)
	c.log.Debug("room: looking for another path", "try", r.offers, "turn", c.rtc.Status().TURN)
	r.wg.Go(func() {
		offer, err := c.rtc.Offer(r.ctx, r.t.gather)
		select {
		case c.completions <- func() *Disconnect { r.onOffer(offer, err); return nil }:
		case <-r.ctx.Done():
		}
	})
	return nil
}

// needsTURN reports whether the next offer needs relay candidates. The first offer after a direct
// path has none.
func (r *iceRestart) needsTURN(s rtc.Status) bool {
	first := r.offers == 0 && s.Open && !s.TURN
	return !first && len(r.c.turn) > 0
}

// useTURN sets the TURN servers. It returns false if their credentials must be renewed first: the
// server sends new credentials when the websocket is resumed.
func (r *iceRestart) useTURN(now time.Time) bool {
	c := r.c
	if c.o.RoomExists != nil && now.Sub(c.turnSet) > r.t.credentialsValid {
		c.turnSet = now // the renewal is tried only once
		c.sig.close()   // readSignals then reports the loss
		return false
	}
	if err := c.rtc.UseTURN(c.turn); err != nil {
		c.log.Debug("room: the server's TURN servers cannot be used", "error", err)
		c.turn = nil
	}
	return true
}

// onOffer sends an offer. If the websocket is lost, another offer is made after the resume.
func (r *iceRestart) onOffer(o rtc.Offer, err error) {
	r.offering = false
	if err != nil {
		r.c.log.Debug("room: no offer for an ICE restart", "error", err)
		return
	}
	if r.c.sig == nil {
		r.next = time.Now()
		return
	}
	if r.sentAt.IsZero() {
		r.sentAt = time.Now()
	}
	if err := r.c.sig.offer(o); err != nil {
		r.c.sig.close() // readSignals then reports the loss
		r.next = time.Now()
	}
}

// onAnswer records that the server accepted an offer. It returns a Disconnect if the answer arrived
// too late.
func (r *iceRestart) onAnswer() *Disconnect {
	if r == nil || r.accepted {
		return nil
	}
	if r.silence(r.c.rtc.Status()) > r.t.serverKeepsUs {
		return lost("another path to the server was found too late")
	}
	r.accepted = true
	return nil
}

// turnServers returns the TURN servers among the server's ICE servers. STUN servers are omitted:
// they would tell us our own address, which the server sees itself.
func turnServers(ss []*livekit.ICEServer) []rtc.TURNServer {
	var out []rtc.TURNServer
	for _, s := range ss {
		urls := slices.DeleteFunc(slices.Clone(s.GetUrls()), func(u string) bool {
			return !strings.HasPrefix(u, "turn:") && !strings.HasPrefix(u, "turns:")
		})
		if len(urls) > 0 {
			out = append(out, rtc.TURNServer{
				URLs: urls, Username: s.GetUsername(), Credential: s.GetCredential(),
			})
		}
	}
	return out
}

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

// restartTimes are those of an iceRestart.
type restartTimes struct {
	// patience is how long a silent path may be heard again before the first offer, and how long
	// the websocket may take to answer a ping.
	patience   time.Duration
	retryEvery time.Duration // between two offers
	gather     time.Duration // how long an offer waits for candidates of TURN servers
	turnAfter  time.Duration // no channel has opened: TURN servers are tried
	// serverKeepsUs is how long after the last received packet, or after an offer, the server still
	// keeps the connection.
	serverKeepsUs time.Duration
	// serverDroppedUs is how long after the last received packet the server has certainly dropped
	// the connection.
	serverDroppedUs  time.Duration
	credentialsValid time.Duration // of TURN servers; LiveKit's are valid for 5 min
}

// iceRestart looks for a path to the server when there is none: none yet, or the one there was is
// silent. It restarts ICE by a new offer, which only the client may make in single-PeerConnection
// mode (livekit-server, TransportManager.ICERestart). An ICE restart abandons the old path, so the
// offer is made when it will probably arrive: the websocket must have answered a ping since. If it
// does not answer, it is replaced first; see signalResume.
//
// The server abandons a path after 15 s without a packet from us, and discards what it has for us
// from then on, but for 5 s more it accepts an offer and connects again as if nothing had happened
// (livekit-server, pkg/rtc/transport.go and participant.go). Such a connection would have an
// unnoticed gap, so an answer that comes late ends the connection. An ICE restart gives the
// server 15 s more, once: another restart does not (pion/ice, connectivityChecks).
//
// It belongs to the goroutine run.
type iceRestart struct {
	c        *Conn
	t        restartTimes
	pingedAt time.Time // the websocket must have answered after it
	next     time.Time // of the next offer
	offers   int       // made so far
	offering bool      // one is being made
	sentAt   time.Time // of the first offer
	accepted bool      // an offer was answered in time

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// startRestart looks for a path unless that is being done; the first offer is made after patience.
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

// silence is how long the server has not been heard over an established path.
func (r *iceRestart) silence(s rtc.Status) time.Duration {
	if s.Open && !s.SilentSince.IsZero() {
		return time.Since(s.SilentSince)
	}
	return 0
}

// canRecover reports whether an offer made now may save the connection. There is nothing to save
// without a restart.
func (r *iceRestart) canRecover() bool {
	return r == nil || r.accepted || r.silence(r.c.rtc.Status()) < r.t.serverKeepsUs-time.Second
}

// step makes an offer if one is due, and ends the restart if a path works. It returns the
// disconnect if none can be found any more.
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
		// no answer to the ping: the websocket is as dead as the path
		if now.Sub(r.pingedAt) >= r.t.patience {
			c.sig.close() // readSignals notices
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

// needsTURN reports whether the next offer is to have relay candidates. The first one for a path
// that worked without goes without.
func (r *iceRestart) needsTURN(s rtc.Status) bool {
	first := r.offers == 0 && s.Open && !s.TURN
	return !first && len(r.c.turn) > 0
}

// useTURN sets the TURN servers. It returns false if their credentials must be renewed first: the
// server sends new ones when the websocket resumes.
func (r *iceRestart) useTURN(now time.Time) bool {
	c := r.c
	if c.o.RoomExists != nil && now.Sub(c.turnSet) > r.t.credentialsValid {
		c.turnSet = now // so that it is tried once
		c.sig.close()   // readSignals notices
		return false
	}
	if err := c.rtc.UseTURN(c.turn); err != nil {
		c.log.Debug("room: the server's TURN servers cannot be used", "error", err)
		c.turn = nil
	}
	return true
}

// onOffer sends an offer. Without a websocket to send it over, another one is made when there is
// one.
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
		r.c.sig.close() // readSignals notices
		r.next = time.Now()
	}
}

// onAnswer notes that the server accepted an offer. It returns the disconnect if that was too late.
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

// turnServers are those of the server's ICE servers that relay. Its STUN servers would tell us our
// own address, which the server sees for itself.
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

package room

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/pion/stun/v3"
)

type mendTimes struct {
	tick time.Duration
	// a silent path may be heard again, and the websocket must answer within this time
	patience time.Duration
	again    time.Duration // between two offers
	gather   time.Duration // an offer waits so long for candidates of TURN servers
	fallback time.Duration // no channel has opened: TURN servers are tried
	// the server has not given us up so long after it was heard, or after an offer
	safe        time.Duration
	lost        time.Duration // it has, so long after it was heard
	credentials time.Duration // those of TURN servers are taken for valid so long (LiveKit: 5 min)
}

// mend looks for a path to the server when there is none: none yet, or the one there was is silent.
// It restarts ICE by offering anew, which only the client may do in single-PeerConnection mode
// (livekit-server, TransportManager.ICERestart). An ICE restart gives the old path up, so the offer
// is made when it will probably arrive: the websocket must have answered since. One that does not
// answer is replaced first; see resume.
//
// The server gives a path up after 15 s without a sign of us, and throws away what it has for us
// from then on, but for 5 s more takes an offer and connects again as if nothing had been
// (livekit-server, pkg/rtc/transport.go and participant.go). Such a connection would have a hole
// that nobody knows of. So an answer that comes late is the end of the connection. An ICE restart
// gives the server 15 s more, once: restarting again does not (pion/ice, connectivityChecks).
//
// It belongs to the goroutine run, except where noted.
type mend struct {
	c     *Conn
	t     mendTimes
	timer *time.Ticker
	asked time.Time // the websocket must have said something after it
	next  time.Time // of the next offer
	tries int       // offers made
	busy  bool      // one is being made
	sent  time.Time // of the first offer
	taken bool      // an offer was answered in time

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	offers chan offered // capacity 1: never blocks, because one is made at a time
}

type offered struct {
	offer *livekit.SessionDescription
	err   error
}

// newMend begins; the first offer is made after patience.
func (c *Conn) newMend(patience time.Duration) *mend {
	t := c.client.times.mend
	m := &mend{
		c: c, t: t, timer: time.NewTicker(t.tick), asked: time.Now(),
		offers: make(chan offered, 1),
	}
	m.next = m.asked.Add(patience)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	c.ping()
	return m
}

// ticks, results and stop may be called on nil: there is nothing to mend.
func (m *mend) ticks() <-chan time.Time {
	if m == nil {
		return nil
	}
	return m.timer.C
}

func (m *mend) results() <-chan offered {
	if m == nil {
		return nil
	}
	return m.offers
}

func (m *mend) stop() {
	if m == nil {
		return
	}
	m.timer.Stop()
	m.cancel()
	m.wg.Wait()
}

// silence is how long the server has not been heard over an established path.
func (m *mend) silence() time.Duration {
	if ns := m.c.peer.silent.Load(); ns != 0 && m.c.peer.isOpen() {
		return time.Since(time.Unix(0, ns))
	}
	return 0
}

// worthwhile reports whether an offer made now may save the connection.
func (m *mend) worthwhile() bool {
	return m == nil || m.taken ||
		m.silence() < m.t.safe-time.Second
}

// tick makes an offer if one is due. It returns whether there is nothing left to mend, and the end
// if there is nothing left to save.
func (m *mend) tick() (done bool, end *Disconnect) {
	c, now := m.c, time.Now()
	switch {
	case m.busy:
		return false, nil
	case c.peer.isOpen() && c.peer.silent.Load() == 0:
		return true, nil
	case !m.taken && m.silence() > m.t.lost, m.taken && c.peer.isOpen() &&
		now.Sub(m.sent) > m.t.safe:
		e := lost("no path to the server")
		return false, &e
	case now.Before(m.next) || c.sig == nil || !m.worthwhile():
		return false, nil
	case time.Duration(c.spoke.Load()) <= m.asked.Sub(c.peer.started):
		// no answer to the ping: the websocket is as dead as the path
		if now.Sub(m.asked) >= m.t.patience {
			c.sig.close() // readSignals notices
		}
		return false, nil
	}
	first := m.tries == 0 && c.peer.isOpen() && !c.peer.hasRelays()
	if !first && len(c.servers) > 0 {
		if c.o.RoomExists != nil && now.Sub(c.serversAt) > m.t.credentials {
			c.serversAt = now // once is enough
			c.sig.close()     // the server sends new credentials when it resumes
			return false, nil
		}
		if err := c.peer.useServers(c.servers); err != nil {
			c.log.Debug("room: the server's TURN servers cannot be used", "error", err)
			c.servers = nil
		}
	}
	m.tries++
	m.busy, m.next = true, now.Add(m.t.again)
	c.log.Debug("room: looking for another path", "try", m.tries, "turn", c.peer.hasRelays())
	m.wg.Go(func() {
		o, err := c.peer.offer(m.ctx, m.t.gather)
		m.offers <- offered{o, err}
	})
	return false, nil
}

// made sends an offer that was made. Without a websocket to send it over, another one is made when
// there is one.
func (m *mend) made(o offered) {
	m.busy = false
	if o.err != nil {
		m.c.log.Debug("room: no offer for an ICE restart", "error", o.err)
		return
	}
	if m.c.sig == nil {
		m.next = time.Now()
		return
	}
	if m.sent.IsZero() {
		m.sent = time.Now()
	}
	if err := m.c.sig.offer(o.offer); err != nil {
		m.c.sig.close() // readSignals notices
		m.next = time.Now()
	}
}

// answered notes that the server took an offer. It returns the end if that was too late.
func (m *mend) answered() *Disconnect {
	if m == nil || m.taken {
		return nil
	}
	if m.silence() > m.t.safe {
		e := lost("another path to the server was found too late")
		return &e
	}
	m.taken = true
	return nil
}

// turnServer is a TURN server with what it is to be told.
type turnServer struct {
	urls                 []string
	username, credential string
}

// turnServers are those of the server's ICE servers that relay. Its STUN servers would tell us our
// own address, which the server sees for itself.
func turnServers(ss []*livekit.ICEServer) []turnServer {
	var out []turnServer
	for _, s := range ss {
		urls := slices.DeleteFunc(slices.Clone(s.GetUrls()), func(u string) bool {
			return !strings.HasPrefix(u, "turn:") && !strings.HasPrefix(u, "turns:")
		})
		if len(urls) > 0 {
			out = append(out, turnServer{
				urls: urls, username: s.GetUsername(),
				credential: s.GetCredential(),
			})
		}
	}
	return out
}

func turnURIs(ss []turnServer) ([]*stun.URI, error) {
	var out []*stun.URI
	for _, s := range ss {
		if s.username == "" || s.credential == "" {
			return nil, errors.New("a TURN server without user name or password")
		}
		for _, u := range s.urls {
			uri, err := stun.ParseURI(u)
			if err != nil {
				return nil, fmt.Errorf("the address of a TURN server: %w", err)
			}
			uri.Username, uri.Password = s.username, s.credential
			out = append(out, uri)
		}
	}
	return out, nil
}

// Package rtc is a WebRTC peer that only receives data channels: ICE, DTLS and SCTP, and the SDP
// that describes them. It publishes nothing and has no media.
//
// It makes the offers, opens the data channels and delivers their messages as they arrive. How
// offers, answers and candidates reach the server is the caller's business:
//
//	     room.Conn                     rtc.Conn                          server
//	Offer ────────────▶ gather candidates ── offer, over the websocket ────▶
//	Answer ◀──────────────────────────────── answer, over the websocket ────
//	                    ICE      ◀──────────── STUN over UDP or TURN ──────▶
//	                    DTLS     ◀──────────── its certificate must be the answer's
//	                    SCTP     ◀──────────── association
//	Opened ◀─────────── channels ◀──────────── data channels, opened by us
//
// A second offer restarts ICE: another path is found below the same DTLS and SCTP, so no message
// is lost. pion's own PeerConnection does the same with the goroutines, sessions and buffers that
// media need; it is what the tests use as the server.
package rtc

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/pion/logging"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"

	"github.com/syncflow/textegress/internal/udp"
)

// Net is a network that ICE can use.
type Net = transport.Net

// Options configures an API. The zero value works.
type Options struct {
	// RelayOnly uses candidates of TURN servers and no others.
	RelayOnly bool
	// Net is the network below ICE; nil: this machine's.
	Net      Net
	Timeouts Timeouts
}

// Timeouts are those of ICE. A zero field means the default.
type Timeouts struct {
	// Disconnected is how long after the last packet a path counts as silent; default 5 s. It is
	// more than two keepalives, which may get lost.
	Disconnected time.Duration
	// Failed is how long a silent path may yet be heard again; default 15 s. LiveKit drops a
	// connection after 10 + 5 s without a sign of life. Ours must not be faster: what arrives after
	// a shorter outage is complete.
	Failed    time.Duration
	Keepalive time.Duration // between two STUN requests; default 2 s
}

func (t Timeouts) withDefaults() Timeouts {
	for _, x := range []struct {
		d     *time.Duration
		value time.Duration
	}{
		{&t.Disconnected, 5 * time.Second},
		{&t.Failed, 15 * time.Second},
		{&t.Keepalive, 2 * time.Second},
	} {
		if *x.d == 0 {
			*x.d = x.value
		}
	}
	return t
}

// API makes connections. It holds what they share: the DTLS certificate, the list of network
// interfaces.
type API struct {
	net         transport.Net
	relayOnly   bool
	timeouts    Timeouts
	certificate certificate
	compare     comparison
}

// comparison is of ways to tell when a message arrived; the zero value in all but a measurement.
type comparison struct {
	readTimes bool            // messages have the time at which they are read
	onArrival func(time.Time) // gets the arrival of each message, zero if it is not known
}

// New returns an API.
func New(o Options) (*API, error) {
	cert, err := newCertificate()
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	n := o.Net
	if n == nil {
		std, err := stdnet.NewNet()
		if err != nil {
			return nil, fmt.Errorf("listing network interfaces: %w", err)
		}
		n = &systemNet{Net: std, sockets: udp.Poller{Interval: udp.Interval}}
	}
	return &API{
		net: n, relayOnly: o.RelayOnly, timeouts: o.Timeouts.withDefaults(), certificate: cert,
	}, nil
}

// NewConn returns a connection to the server whose signalling is at host; the addresses of host
// decide which of our addresses are offered. Nothing is sent before Offer. Each message is given to
// deliver with the time at which its last fragment arrived in the kernel; the bytes are only valid
// during the call. Messages of one channel are delivered in order, one after the other, those of
// two channels may be delivered at the same time. While deliver blocks, its channel is not read
// and, when the receive buffer is full, the server waits.
func (a *API) NewConn(ctx context.Context, host string,
	deliver func(ch Channel, at time.Time, b []byte),
) (*Conn, error) {
	return a.newConn(networkOf(ctx, host), deliver)
}

// network says which local addresses can reach a server. Each of them costs a socket and a
// goroutine per room.
type network struct{ v4, v6, loopback bool }

// networkOf chooses by the addresses of the signalling host. A name that cannot be resolved (behind
// an HTTP proxy) gives all.
func networkOf(ctx context.Context, host string) network {
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(ips) == 0 {
		return network{v4: true, v6: true}
	}
	var n network
	for _, ip := range ips {
		ip = ip.Unmap()
		n.v4 = n.v4 || ip.Is4()
		n.v6 = n.v6 || ip.Is6()
		n.loopback = n.loopback || ip.IsLoopback()
	}
	return n
}

// noLog keeps pion silent: it would log addresses and, at the finer levels, packets.
type noLog struct{}

func (noLog) NewLogger(string) logging.LeveledLogger { return noLog{} }
func (noLog) Trace(string)                           {}
func (noLog) Tracef(string, ...any)                  {}
func (noLog) Debug(string)                           {}
func (noLog) Debugf(string, ...any)                  {}
func (noLog) Info(string)                            {}
func (noLog) Infof(string, ...any)                   {}
func (noLog) Warn(string)                            {}
func (noLog) Warnf(string, ...any)                   {}
func (noLog) Error(string)                           {}
func (noLog) Errorf(string, ...any)                  {}

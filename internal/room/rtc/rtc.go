// Package rtc is a WebRTC peer that only receives data channels. It implements ICE, DTLS and SCTP,
// and the SDP that describes them. It publishes nothing and has no media.
//
// It makes the offers, opens the data channels and delivers their messages as they arrive. The
// caller exchanges offers, answers and candidates with the server:
//
//	     room.Conn                     rtc.Conn                          server
//	Offer ────────────▶ gather candidates ── offer, over the websocket ────▶
//	Answer ◀──────────────────────────────── answer, over the websocket ────
//	                    ICE      ◀──────────── STUN over UDP or TURN ──────▶
//	                    DTLS     ◀──────────── its certificate must be the answer's
//	                    SCTP     ◀──────────── association
//	Opened ◀─────────── channels ◀──────────── data channels, opened by us
//
// A second offer restarts ICE: it finds another path below the same DTLS and SCTP, so no message is
// lost. pion's own PeerConnection does the same, with the additional goroutines, sessions and
// buffers that media need. The tests use it as the server.
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
	// RelayOnly restricts candidates to those of TURN servers.
	RelayOnly bool
	// Net is the network below ICE; nil: the network of this machine.
	Net      Net
	Timeouts Timeouts
}

// Timeouts contains the timeouts of ICE. A zero field means the default.
type Timeouts struct {
	// Disconnected is the time after the last packet at which a path counts as silent; default 5 s.
	// It exceeds two keepalives, because keepalives may be lost.
	Disconnected time.Duration
	// Failed is how long a silent path may still recover; default 15 s. LiveKit drops a connection
	// after 10 + 5 s without a packet. We must not drop it earlier, because after a shorter outage
	// nothing is missing.
	Failed    time.Duration
	Keepalive time.Duration // interval of STUN requests; default 2 s
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

// API makes connections. It holds their shared resources: the DTLS certificate and the list of
// network interfaces.
type API struct {
	net         transport.Net
	relayOnly   bool
	timeouts    Timeouts
	certificate certificate
	compare     comparison
}

// comparison configures the comparison of ways to determine when a message arrived. It is the zero
// value except in measurements.
type comparison struct {
	readTimes bool            // messages are delivered with the time at which they are read
	onArrival func(time.Time) // called with the arrival time of each message, zero if unknown
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

// NewConn returns a connection to the server whose signalling is at host. The addresses of host
// determine which of our addresses are offered. Nothing is sent before Offer. deliver is called for
// each message with the time at which its last fragment arrived in the kernel. The bytes are valid
// only during the call. Messages of one channel are delivered sequentially and in order; messages
// of two channels may be delivered concurrently. While deliver blocks, its channel is not read and,
// when the receive buffer is full, the server waits.
func (a *API) NewConn(ctx context.Context, host string,
	deliver func(ch Channel, at time.Time, b []byte),
) (*Conn, error) {
	return a.newConn(networkOf(ctx, host), deliver)
}

// network states which local addresses can reach a server. Each address costs a socket and a
// goroutine per room.
type network struct{ v4, v6, loopback bool }

// networkOf selects the address families of the signalling host. If the name cannot be resolved
// (behind an HTTP proxy), it selects IPv4 and IPv6.
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

// noLog discards pion's log, which would contain addresses and, at the finer levels, packets.
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

// Package room is a LiveKit client that does one thing: it joins a room and hands over every data
// packet that arrives, unread.
//
// It publishes nothing and subscribes to no media. It is a WebRTC peer with a data section only,
// made of ICE, DTLS and SCTP, in LiveKit's single-PeerConnection mode (/rtc/v1, LiveKit 1.11 and
// later), where the client opens the data channels and so decides how reliable the way from the
// server to us is: both channels are ordered and reliable, also the one for packets that senders
// sent as lossy. What this package calls the PeerConnection is that WebRTC connection, on the
// server's side a real one; see peer.
//
// The session lives as long as the PeerConnection. A lost websocket is resumed behind it, without a
// gap in the packets. A lost network path is replaced by an ICE restart, under which the SCTP
// association lives on: what the server had for us meanwhile arrives then. It gives up after 15 s
// without a sign of us (livekit-server, pkg/rtc/transport.go). When the PeerConnection ends, the
// Conn ends, with a Reason; joining again is the caller's decision, because joining a room that has
// ended creates it again.
package room

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
)

// Options configures a Client. The zero value works.
type Options struct {
	Logger      *slog.Logger  // nil: nothing is logged
	TLSConfig   *tls.Config   // for wss; nil: the system's certificates
	JoinTimeout time.Duration // for the whole of Join, besides its context; default 15 s
	// RelayOnly takes the way through the TURN servers that the LiveKit server names, and no other.
	// Without it they are tried when no direct way works.
	RelayOnly bool
	// Net is the network below WebRTC; nil: this machine's. Signalling does not use it.
	Net transport.Net
}

// Client makes connections to rooms. It holds what they share: the DTLS certificate, buffers.
type Client struct {
	log    *slog.Logger
	times  times
	dialer websocket.Dialer
	probe  *http.Client
	relay  bool
	net    transport.Net

	certificate certificate
}

// times are the client's patience, in one place so that tests can shorten it.
type times struct {
	join       time.Duration // whole Join
	ping       time.Duration // between pings, unless the server says otherwise
	pingWait   time.Duration // read deadline of the websocket, unless the server says otherwise
	write      time.Duration // one write to the websocket
	leaveGrace time.Duration // PeerConnection closed: wait for the Leave that says why
	quiet      time.Duration // draining ends after so long without a packet
	drain      time.Duration // draining ends in any case
	resume     resumeTimes
	mend       mendTimes

	iceDisconnected, iceFailed, iceKeepalive time.Duration
}

var defaultTimes = times{
	join: 15 * time.Second, ping: 5 * time.Second, pingWait: 20 * time.Second,
	write:      3 * time.Second,
	leaveGrace: 1500 * time.Millisecond, quiet: 300 * time.Millisecond, drain: 5 * time.Second,
	resume: resumeTimes{
		grace: 300 * time.Millisecond, tick: 250 * time.Millisecond, stale: 5 * time.Second,
		dial:    10 * time.Second,
		backoff: 500 * time.Millisecond, maxBackoff: 10 * time.Second, ask: 3 * time.Second,
		gone: 5 * time.Second, silent: 12 * time.Second,
	},
	mend: mendTimes{
		tick: 250 * time.Millisecond, patience: 2500 * time.Millisecond, again: 3 * time.Second,
		gather:   time.Second,
		fallback: 5 * time.Second, safe: 13 * time.Second, lost: 16 * time.Second,
		credentials: 4 * time.Minute,
	},
	// The server gives a connection up after 10 + 5 s without a sign of life. Ours must not be
	// faster: what arrives after an outage of less than that is complete. After iceDisconnected we
	// look for another path; it is more than two keepalives, which may get lost.
	iceDisconnected: 5 * time.Second, iceFailed: 15 * time.Second, iceKeepalive: 2 * time.Second,
}

// NewClient returns a client.
func NewClient(o Options) (*Client, error) { return newClient(o, defaultTimes) }

func newClient(o Options, t times) (*Client, error) {
	if o.JoinTimeout > 0 {
		t.join = o.JoinTimeout
	}
	cert, err := newCertificate()
	if err != nil {
		return nil, fmt.Errorf("room: making a certificate: %w", err)
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	sockets := o.Net
	if sockets == nil {
		std, err := stdnet.NewNet()
		if err != nil {
			return nil, fmt.Errorf("room: listing network interfaces: %w", err)
		}
		sockets = &host{Net: std}
	}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{
		log: log, times: t, relay: o.RelayOnly, net: sockets, certificate: cert,
		dialer: websocket.Dialer{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: o.TLSConfig,
			ReadBufferSize: 1024, WriteBufferSize: 1024, WriteBufferPool: &sync.Pool{},
		},
		probe: &http.Client{
			CheckRedirect: noRedirect, Timeout: 3 * time.Second,
			Transport: &http.Transport{
				Proxy:           http.ProxyFromEnvironment,
				TLSClientConfig: o.TLSConfig, DisableKeepAlives: true,
			},
		},
	}, nil
}

// JoinOptions says which room to join. The room's name is in the token.
type JoinOptions struct {
	URL     string // of the LiveKit server: ws, wss, http or https, with or without a path
	Token   string
	Handler Handler
	// RefreshToken makes another token for the same room and identity. It is asked when a lost
	// websocket is to be resumed and the server accepts neither the token it sent us last nor
	// Token. Optional.
	RefreshToken func(context.Context) (string, error)
	// RoomExists reports whether the room exists, without creating it. It is asked when websocket
	// and PeerConnection are both silent and the server can be reached again: only where it says
	// yes the connection is saved, because asking the server to resume creates the room if it is
	// gone. Optional; without it, such a connection is lost.
	RoomExists func(context.Context) (bool, error)
}

// Handler receives what happens in a room.
type Handler interface {
	// Joined is called once, from Join, before any packet or event. An error makes Join leave at
	// once and return it, wrapped in a *DisconnectError. No packet is received before it returns,
	// so it should be quick: the server keeps packets for a joining participant for two seconds
	// only (LiveKit 1.11; 1.13: ten).
	Joined(Info) error
	// Packet is called for each packet with the bytes of a livekit.DataPacket, as received at the
	// given time. The bytes are only valid during the call. It is called on the goroutine that
	// reads the channel: packets of one channel come in order, one after the other, those of two
	// channels may come at the same time. While it blocks, the channel is not read, and with time
	// the sender waits (back-pressure); signalling goes on.
	Packet(ch Channel, at time.Time, b []byte)
	// Event is called for participants and changes of the room, one after the other, in the order
	// in which the server told them. While it blocks, the server's further messages are not read;
	// pings are still sent.
	Event(Event)
}

// Info is what the server said when we joined.
type Info struct {
	RoomSID, RoomName, RoomMetadata string
	RoomCreated                     time.Time // the server's clock, milliseconds
	ParticipantSID, Identity        string    // ours
	ServerVersion, Region           string
	Participants                    []Participant // who was there; hidden ones are not told
}

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

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/room/rtc"
)

// Options configures a Client. The zero value works.
type Options struct {
	Logger      *slog.Logger  // nil: nothing is logged
	TLSConfig   *tls.Config   // for wss; nil: the system's certificates
	JoinTimeout time.Duration // timeout of the whole Join, in addition to its context; default 15 s
	// RelayOnly restricts connections to the TURN servers that the LiveKit server names. Otherwise
	// these are tried only if no direct path works.
	RelayOnly bool
	// Net is the network below WebRTC; nil: the network of this machine. Signalling does not use
	// Net.
	Net rtc.Net
}

// Client makes connections to rooms. It holds their shared resources: the DTLS certificate and
// buffers.
type Client struct {
	log    *slog.Logger
	times  times
	dialer websocket.Dialer
	probe  *http.Client
	relay  bool
	newRTC newRTC
}

// times contains all timeouts, so that tests can shorten them.
type times struct {
	join       time.Duration // whole Join
	ping       time.Duration // interval of pings, unless the server sets it
	pingWait   time.Duration // read deadline of the websocket, unless the server sets it
	write      time.Duration // one write to the websocket
	leaveGrace time.Duration // wait for the Leave with the reason after a WebRTC failure
	quiet      time.Duration // draining ends after this time without a packet
	drain      time.Duration // upper limit of draining
	tick       time.Duration // between two steps of a signal resume or an ICE restart
	resume     resumeTimes
	restart    restartTimes
	ice        rtc.Timeouts
}

var defaultTimes = times{
	join: 15 * time.Second, ping: 5 * time.Second, pingWait: 20 * time.Second,
	write:      3 * time.Second,
	leaveGrace: 1500 * time.Millisecond, quiet: 300 * time.Millisecond, drain: 5 * time.Second,
	tick: 250 * time.Millisecond,
	resume: resumeTimes{
		grace: 300 * time.Millisecond, aliveFor: 5 * time.Second,
		dial: 10 * time.Second,
		retry: backoff.Policy{
			First: 500 * time.Millisecond, Max: 10 * time.Second, Jitter: backoff.None,
		},
		checkEvery:       3 * time.Second,
		sessionLostAfter: 5 * time.Second, networkLostAfter: 12 * time.Second,
	},
	restart: restartTimes{
		patience: 2500 * time.Millisecond, retryEvery: 3 * time.Second,
		gather:    time.Second,
		turnAfter: 5 * time.Second, serverKeepsUs: 13 * time.Second,
		serverDroppedUs: 16 * time.Second, credentialsValid: 4 * time.Minute,
	},
}

// NewClient returns a client.
func NewClient(o Options) (*Client, error) { return newClient(o, defaultTimes) }

func newClient(o Options, t times) (*Client, error) {
	if o.JoinTimeout > 0 {
		t.join = o.JoinTimeout
	}
	api, err := rtc.New(rtc.Options{RelayOnly: o.RelayOnly, Net: o.Net, Timeouts: t.ice})
	if err != nil {
		return nil, fmt.Errorf("room: %w", err)
	}
	newRTC := func(ctx context.Context, host string, h Handler) (rtcConn, error) {
		return api.NewConn(ctx, host, h.Packet)
	}
	return newClientOn(newRTC, o, t), nil
}

// newClientOn returns a client that makes WebRTC connections with newRTC.
func newClientOn(newRTC newRTC, o Options, t times) *Client {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{
		log: log, times: t, relay: o.RelayOnly, newRTC: newRTC,
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
	}
}

// rtcConn is the WebRTC connection of a Conn: an *rtc.Conn, which documents the methods.
type rtcConn interface {
	Offer(ctx context.Context, gather time.Duration) (rtc.Offer, error)
	Answer(id uint32, sdp string) error
	AddCandidate(init string)
	UseTURN(servers []rtc.TURNServer) error
	Status() rtc.Status
	Events() <-chan rtc.Event
	Drain(quiet, limit time.Duration)
	Send(ch Channel, b []byte) error
	Close()
}

// newRTC makes a connection to the server at host that delivers packets to h.
type newRTC = func(ctx context.Context, host string, h Handler) (rtcConn, error)

// Channel is a LiveKit data channel.
type Channel = rtc.Channel

// The channels. DataTrack carries frames of data tracks, the others carry livekit.DataPackets.
const (
	Reliable  = rtc.Reliable
	Lossy     = rtc.Lossy
	DataTrack = rtc.DataTrack
)

// JoinOptions selects the room to join. The token contains the room's name.
type JoinOptions struct {
	URL     string // URL of the LiveKit server: ws, wss, http or https, with or without a path
	Token   string
	Handler Handler
	// RefreshToken makes another token for the same room and identity. It is called during the
	// resume of a lost websocket if the server accepts neither the token it sent last nor Token. It
	// is optional.
	RefreshToken func(context.Context) (string, error)
	// RoomExists reports whether the room exists, without creating it. It is called when both the
	// websocket and the data channels are silent and the server can be reached again. The
	// connection is resumed only if the room exists, because a resume would create a missing room.
	// RoomExists is optional; without it, such a connection is lost.
	RoomExists func(context.Context) (bool, error)
}

// Handler receives the packets and events of a room.
type Handler interface {
	// Joined is called once, from Join, before any packet or event. If Joined returns an error,
	// Join leaves immediately and returns the error, wrapped in a *DisconnectError. No packet is
	// received before Joined returns. Joined should be quick, because the server keeps packets for
	// a joining participant for only two seconds (LiveKit 1.11; 1.13: ten).
	Joined(Info) error
	// Packet is called for each packet with the bytes of a livekit.DataPacket and the time at which
	// it arrived in the kernel. The times of two channels may be out of order. The bytes are valid
	// only during the call. Packet is called on the goroutine that reads the channel: sequentially
	// and in order for one channel, possibly concurrently for two channels. While it blocks, the
	// channel is not read, and eventually the sender waits (back-pressure). Signalling continues.
	Packet(ch Channel, at time.Time, b []byte)
	// Event is called sequentially for changes of participants and of the room, in the order in
	// which the server sent them. While it blocks, further messages from the server are not read.
	// Pings are still sent.
	Event(Event)
}

// Info is the server's description of the room at the join.
type Info struct {
	RoomSID, RoomName, RoomMetadata string
	RoomCreated                     time.Time // the server's clock, milliseconds
	ParticipantSID, Identity        string    // ours
	ServerVersion, Region           string
	NodeID                          string        // of the server's node; a restart changes it
	Participants                    []Participant // participants in the room, without hidden ones
}

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
	JoinTimeout time.Duration // for the whole of Join, besides its context; default 15 s
	// RelayOnly connects through the TURN servers that the LiveKit server names only. Without it
	// they are tried when no direct path works.
	RelayOnly bool
	// Net is the network below WebRTC; nil: this machine's. Signalling does not use it.
	Net rtc.Net
}

// Client makes connections to rooms. It holds what they share: the DTLS certificate, buffers.
type Client struct {
	log    *slog.Logger
	times  times
	dialer websocket.Dialer
	probe  *http.Client
	relay  bool
	newRTC newRTC
}

// times are the timeouts, in one place so that tests can shorten them.
type times struct {
	join       time.Duration // whole Join
	ping       time.Duration // between pings, unless the server says otherwise
	pingWait   time.Duration // read deadline of the websocket, unless the server says otherwise
	write      time.Duration // one write to the websocket
	leaveGrace time.Duration // WebRTC failed: wait for the Leave that says why
	quiet      time.Duration // draining ends after so long without a packet
	drain      time.Duration // draining ends in any case
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

// newClientOn returns a client whose WebRTC connections newRTC makes.
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

// rtcConn is the WebRTC connection of a Conn: an *rtc.Conn, which says what the methods do.
type rtcConn interface {
	Offer(ctx context.Context, gather time.Duration) (rtc.Offer, error)
	Answer(id uint32, sdp string) error
	AddCandidate(init string)
	UseTURN(servers []rtc.TURNServer) error
	Status() rtc.Status
	Events() <-chan rtc.Event
	Drain(quiet, limit time.Duration)
	Close()
}

// newRTC makes a connection to the server at host that delivers to h.
type newRTC = func(ctx context.Context, host string, h Handler) (rtcConn, error)

// Channel is a LiveKit data channel.
type Channel = rtc.Channel

// The channels. What comes over DataTrack is no livekit.DataPacket but a frame of a data track.
const (
	Reliable  = rtc.Reliable
	Lossy     = rtc.Lossy
	DataTrack = rtc.DataTrack
)

// JoinOptions says which room to join. The room's name is in the token.
type JoinOptions struct {
	URL     string // of the LiveKit server: ws, wss, http or https, with or without a path
	Token   string
	Handler Handler
	// RefreshToken makes another token for the same room and identity. It is called when a lost
	// websocket is resumed and the server accepts neither the token it sent last nor Token.
	// Optional.
	RefreshToken func(context.Context) (string, error)
	// RoomExists reports whether the room exists, without creating it. It is called when both the
	// websocket and the data channels are silent and the server can be reached again. Only if the
	// room exists is the connection resumed, because resuming creates a room that is gone.
	// Optional; without it, such a connection is lost.
	RoomExists func(context.Context) (bool, error)
}

// Handler receives what happens in a room.
type Handler interface {
	// Joined is called once, from Join, before any packet or event. An error makes Join leave at
	// once and return it, wrapped in a *DisconnectError. No packet is received before it returns,
	// so it should be quick: the server keeps packets for a joining participant for two seconds
	// only (LiveKit 1.11; 1.13: ten).
	Joined(Info) error
	// Packet is called for each packet with the bytes of a livekit.DataPacket and the time at which
	// it arrived in the kernel. Times of two channels may be out of order. The bytes are only valid
	// during the call. It is called on the goroutine that reads the channel: packets of one channel
	// come in order, one after the other, those of two channels may come at the same time. While it
	// blocks, the channel is not read, and with time the sender waits (back-pressure); signalling
	// continues.
	Packet(ch Channel, at time.Time, b []byte)
	// Event is called for participants and changes of the room, one after the other, in the order
	// in which the server sent them. While it blocks, the server's further messages are not read;
	// pings are still sent.
	Event(Event)
}

// Info is what the server said when we joined.
type Info struct {
	RoomSID, RoomName, RoomMetadata string
	RoomCreated                     time.Time // the server's clock, milliseconds
	ParticipantSID, Identity        string    // ours
	ServerVersion, Region           string
	Participants                    []Participant // who was there, without hidden participants
}

// Package classroom generates the data traffic of a class with real LiveKit clients and keeps what
// was sent. It is the oracle of the tests, which compare the recorded messages with those sent.
package classroom

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"

	"github.com/syncflow/textegress/internal/backoff"
)

// Message is one data packet that a sender handed to LiveKit.
type Message struct {
	N        int // 1, 2, 3 … for each sender, continued across its connections
	Topic    string
	Payload  []byte
	Reliable bool
	Conn     int       // 1 for the sender's first connection, 2 after its first rejoin, …
	At       time.Time // just before it was handed to the SDK
}

// silence disables the SDK's global logger. PeerConnections log every change to it, regardless of
// the room's logger.
var silence = sync.OnceFunc(func() { lksdk.SetLogger(logger.GetDiscardLogger()) })

// Linger is how long a sender stays after its buffer has drained. LiveKit does not confirm that it
// has forwarded received data, and leaving before that could lose data.
const Linger = 2 * time.Second

// maxBuffered bounds the SDK's buffer, which otherwise has no limit.
const maxBuffered = 1 << 20

// ErrInterrupted is returned if a sender's connection broke. Until the SDK has reconnected, it
// drops messages without an error, so the sender's list may contain messages that were never sent.
var ErrInterrupted = errors.New("the connection was interrupted: what was sent is not known")

// Learner is a participant that sends data. The methods that send must be called from one
// goroutine at a time.
type Learner struct {
	Identity string

	join func(ctx context.Context) (url, token string, err error)
	room *lksdk.Room
	conn int

	interrupted atomic.Bool  // of any connection
	broken      *atomic.Bool // the current connection
	leaving     *atomic.Bool // of the current connection

	mu   sync.Mutex
	sent []Message
}

// Enroll returns a learner that is not yet in a room. tokens returns a URL and a fresh token for
// each join.
func Enroll(identity string, tokens func(ctx context.Context) (url, token string,
	err error),
) *Learner {
	return &Learner{Identity: identity, join: tokens}
}

// Join connects for the first time or again, also after a broken connection.
func (l *Learner) Join(ctx context.Context) error {
	url, token, err := l.join(ctx)
	if err != nil {
		return fmt.Errorf("%s: getting a token: %w", l.Identity, err)
	}
	silence()
	cb := lksdk.NewRoomCallback()
	leaving := &atomic.Bool{} // of this connection: its last callback may come after the next join
	broken := &atomic.Bool{}
	interrupted := func() {
		if !leaving.Load() {
			broken.Store(true)
			l.interrupted.Store(true)
		}
	}
	cb.OnReconnecting, cb.OnDisconnected = interrupted, interrupted
	room := lksdk.NewRoom(cb)
	room.SetLogger(logger.GetDiscardLogger())
	err = room.JoinWithContextAndToken(ctx, url, token, lksdk.WithAutoSubscribe(false),
		lksdk.WithLogger(logger.GetDiscardLogger()), lksdk.WithDisableTURN())
	if err != nil {
		return fmt.Errorf("%s: joining: %w", l.Identity, err)
	}
	l.room, l.leaving, l.broken = room, leaving, broken
	l.conn++
	return nil
}

// SID returns the participant sid of the current connection.
func (l *Learner) SID() string { return l.room.LocalParticipant.SID() }

// Send publishes a payload and adds it to Sent. It waits while more than 1 MiB is buffered.
func (l *Learner) Send(ctx context.Context, topic string, payload []byte, reliable bool) error {
	m := Message{
		N: l.Next(), Topic: topic, Payload: bytes.Clone(payload), Reliable: reliable,
		Conn: l.conn, At: time.Now(),
	}
	if err := l.publish(ctx, topic, m.Payload, reliable); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, m)
	return nil
}

func (l *Learner) publish(ctx context.Context, topic string, payload []byte, reliable bool) error {
	if err := l.await(ctx, maxBuffered); err != nil {
		return err
	}
	opts := []lksdk.DataPublishOption{lksdk.WithDataPublishReliable(reliable)}
	if topic != "" {
		opts = append(opts, lksdk.WithDataPublishTopic(topic))
	}
	if err := l.room.LocalParticipant.PublishDataPacket(lksdk.UserData(payload),
		opts...); err != nil {
		return fmt.Errorf("%s: publishing: %w", l.Identity, err)
	}
	return nil
}

// Next returns the number of the next message, for use in its payload.
func (l *Learner) Next() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sent) + 1
}

// Sent returns what was sent so far, in order.
func (l *Learner) Sent() []Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Message(nil), l.sent...)
}

// Room returns the SDK's room, for functions that this package does not offer.
func (l *Learner) Room() *lksdk.Room { return l.room }

// Drain waits until LiveKit has acknowledged everything, or until the SDK has given up on lossy
// data.
func (l *Learner) Drain(ctx context.Context) error { return l.await(ctx, 0) }

// await waits until at most limit bytes are buffered. It counts the bytes of the SCTP association,
// waiting and in flight, of all data channels. The SDK uses separate PeerConnections for publishing
// and receiving, and creates the former at its first use.
func (l *Learner) await(ctx context.Context, limit int) error {
	var tick *time.Ticker // created only if waiting is necessary
	for {
		if l.broken.Load() {
			return fmt.Errorf("%s: %w", l.Identity, ErrInterrupted)
		}
		pc := l.room.LocalParticipant.GetPublisherPeerConnection()
		if pc == nil || pc.ConnectionState() == webrtc.PeerConnectionStateNew ||
			pc.SCTP().BufferedAmount() <= limit {
			return nil
		}
		if tick == nil {
			tick = time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: draining: %w", l.Identity, ctx.Err())
		}
	}
}

// Leave drains, stays for Linger, and disconnects. If it returns nil, all reliable messages in Sent
// reached LiveKit, which had two seconds to forward them.
func (l *Learner) Leave(ctx context.Context) error {
	err := l.Drain(ctx)
	if err == nil {
		err = backoff.Sleep(ctx, Linger)
	}
	if l.broken.Load() && err == nil {
		err = fmt.Errorf("%s: %w", l.Identity, ErrInterrupted)
	}
	l.leaving.Store(true)
	l.room.Disconnect()
	return err
}

// Vanish disconnects at once. The last messages may be lost.
func (l *Learner) Vanish() {
	l.leaving.Store(true)
	l.room.Disconnect()
}

// Interrupted reports whether any connection broke; see ErrInterrupted.
func (l *Learner) Interrupted() bool { return l.interrupted.Load() }

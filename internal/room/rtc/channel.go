package rtc

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pion/datachannel"
)

// Channel is a LiveKit data channel. The recording format uses the same numbers.
type Channel uint8

// The channels. DataTrack carries frames of data tracks, the others livekit.DataPackets.
const (
	Reliable  Channel = 1
	Lossy     Channel = 2
	DataTrack Channel = 3
)

// String returns the label of the channel.
func (c Channel) String() string { return labels[c] }

var labels = map[Channel]string{Reliable: "_reliable", Lossy: "_lossy", DataTrack: "_data_track"}

func channelOf(label string) Channel {
	for c, l := range labels {
		if l == label {
			return c
		}
	}
	return 0
}

const (
	// idleBuffer is the size of a read buffer until the first message. It fits the answer to the
	// opening of the channel.
	idleBuffer = 64
	// firstBuffer is the smallest size after a message that does not fit in idleBuffer.
	firstBuffer = 2 << 10
	// keepBuffer is the largest read buffer that is kept after a message. It fits all messages that
	// LiveKit forwards. One larger message must not keep megabytes allocated for the lifetime of
	// the room.
	keepBuffer = 128 << 10
	// maxBuffer is more than SCTP assembles, so that no message is too large to read.
	maxBuffer = 2 * receiveBuffer
)

// attach starts reading a channel, unless the connection is being closed. stream is the channel's
// SCTP stream.
func (c *Conn) attach(ch Channel, stream uint16, raw datachannel.ReadWriteCloser) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	c.reading++
	c.readers.Go(func() { c.read(ch, stream, raw) })
	c.have[ch] = true
	if c.have[Reliable] && c.have[Lossy] && !c.open.Swap(true) {
		c.post(Event{Kind: Opened})
	}
}

// read delivers the messages of one channel until the channel ends. If the channel is one of ours,
// read then fails the connection, which is useless without the channel. The server never closes a
// channel of a live connection.
func (c *Conn) read(ch Channel, stream uint16, raw datachannel.ReadWriteCloser) {
	err := c.deliverAll(ch, stream, raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reading--; c.reading == 0 {
		c.endOnce.Do(func() { close(c.ended) })
	}
	switch {
	case ch == 0: // not one of ours
	case errors.Is(err, io.ErrShortBuffer):
		c.fail("a message is too large")
	default: // err contains text of the peer, and addresses
		c.fail("data channel " + ch.String() + " closed")
	}
}

func (c *Conn) deliverAll(ch Channel, stream uint16, raw datachannel.ReadWriteCloser) error {
	buf := make([]byte, idleBuffer)
	for {
		n, _, err := raw.ReadDataChannel(buf)
		var at time.Time
		if err == nil {
			at = c.arrival(stream)
		}
		switch {
		case errors.Is(err, io.ErrShortBuffer) && len(buf) < maxBuffer:
			// the message stays in SCTP's queue
			buf = make([]byte, max(firstBuffer, 2*len(buf)))
		case err != nil:
			return err
		case ch != 0:
			c.delivering.Add(1)
			c.deliver(ch, at, buf[:n])
			c.lastDelivered.Store(int64(time.Since(c.started)))
			c.delivering.Add(-1)
		}
		if err == nil && len(buf) > keepBuffer {
			buf = make([]byte, firstBuffer)
		}
	}
}

// Send sends one message on a channel that we opened. It returns once SCTP has queued the message.
// A recorder never sends. A rehearsal does, as a participant of its own.
func (c *Conn) Send(ch Channel, b []byte) error {
	c.mu.Lock()
	w := c.own[ch&3]
	c.mu.Unlock()
	if w == nil {
		return fmt.Errorf("data channel %s is not open", ch)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("data channel %s: %w", ch, err)
	}
	return nil
}

// arrival returns the arrival time of the message just read from a stream, or the current time if
// it is unknown.
func (c *Conn) arrival(stream uint16) time.Time {
	if c.dtls.arrivals == nil {
		return time.Now()
	}
	at := c.dtls.arrivals.next(stream)
	if c.compare.onArrival != nil {
		c.compare.onArrival(at)
	}
	if at.IsZero() || c.compare.readTimes {
		return time.Now()
	}
	return at
}

// Drain returns when no more messages are expected: the channels have ended, no message has arrived
// for quiet, or limit has passed. Close delivers the messages that are then still in SCTP's queue.
func (c *Conn) Drain(quiet, limit time.Duration) {
	began := time.Since(c.started)
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	tick := time.NewTicker(max(quiet/8, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-c.ended:
			return
		case <-timeout.C:
			return
		case <-tick.C:
			last := max(began, time.Duration(c.lastDelivered.Load()))
			if c.delivering.Load() == 0 && time.Since(c.started)-last >= quiet {
				return
			}
		}
	}
}

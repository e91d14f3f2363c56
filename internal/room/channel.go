package room

import (
	"errors"
	"io"
	"time"

	"github.com/pion/datachannel"
)

// Channel is a LiveKit data channel. The numbers are those of the recording format.
type Channel uint8

// The channels. What comes over DataTrack is no livekit.DataPacket but a frame of a data track.
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
	// idleBuffer is the size of a read buffer until the first message. The answer to the channel's
	// opening fits in.
	idleBuffer = 64
	// firstBuffer is what a message gets that does not.
	firstBuffer = 2 << 10
	// keepBuffer is the size of a read buffer that is kept after a message that needed it; what
	// LiveKit forwards fits in. One larger message must not cost every room its megabytes for as
	// long as it lasts.
	keepBuffer = 128 << 10
	// maxBuffer is more than SCTP assembles for us, so that no message is too large to be read.
	maxBuffer = 2 * receiveBuffer
)

// attach starts reading a channel, unless the connection is being closed.
func (p *peer) attach(ch Channel, raw datachannel.ReadWriteCloser) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return
	}
	p.reading++
	p.readers.Go(func() { p.read(ch, raw) })
	p.have[ch] = true
	if p.have[Reliable] && p.have[Lossy] {
		p.openOnce.Do(func() { close(p.opened) })
	}
}

func (p *peer) isOpen() bool {
	select {
	case <-p.opened:
		return true
	default:
		return false
	}
}

// read delivers the messages of one channel until it ends.
func (p *peer) read(ch Channel, raw datachannel.ReadWriteCloser) {
	err := p.deliver(ch, raw)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reading--; p.reading == 0 {
		p.endOnce.Do(func() { close(p.ended) })
	}
	if ch != 0 {
		// The server never closes a channel of a living connection, and without it the session is
		// of no use.
		// the error has the peer's words, and addresses
		cause := "data channel " + ch.String() + " closed"
		if errors.Is(err, io.ErrShortBuffer) {
			cause = "a message is too large"
		}
		p.fail(cause)
	}
}

func (p *peer) deliver(ch Channel, raw datachannel.ReadWriteCloser) error {
	buf := make([]byte, idleBuffer)
	for {
		n, _, err := raw.ReadDataChannel(buf)
		at := time.Now()
		switch {
		case errors.Is(err, io.ErrShortBuffer) && len(buf) < maxBuffer:
			// the message stays where it is
			buf = make([]byte, max(firstBuffer, 2*len(buf)))
		case err != nil:
			return err
		case ch != 0:
			p.busy.Add(1)
			p.handler.Packet(ch, at, buf[:n])
			p.last.Store(int64(time.Since(p.started)))
			p.busy.Add(-1)
		}
		if err == nil && len(buf) > keepBuffer {
			buf = make([]byte, firstBuffer)
		}
	}
}

// drain returns when nothing more is to be expected: the channels have ended, or no packet came for
// a while. What is still in SCTP's queue then is delivered all the same, because the readers read
// to its end.
func (p *peer) drain(t times) {
	begin := time.Since(p.started)
	limit := time.NewTimer(t.drain)
	defer limit.Stop()
	tick := time.NewTicker(max(t.quiet/8, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-p.ended:
			return
		case <-limit.C:
			return
		case <-tick.C:
			since := max(begin, time.Duration(p.last.Load()))
			if p.busy.Load() == 0 && time.Since(p.started)-since >= t.quiet {
				return
			}
		}
	}
}

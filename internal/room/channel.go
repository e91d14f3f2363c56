package room

import (
	"errors"
	"io"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/webrtc/v4"
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
	firstBuffer = 2 << 10
	// keepBuffer is the size of a read buffer that is kept after a message that needed it; what LiveKit forwards fits in. One
	// larger message must not cost every room its megabytes for as long as it lasts.
	keepBuffer = 128 << 10
	// maxBuffer is more than SCTP assembles for us, so that no message is too large to be read.
	maxBuffer = 2 * receiveBuffer
)

// openChannels creates the channels on which the server sends; one without data tracks leaves the third unused. It must be us who do
// it: the server sends with the reliability that the opener declared, and declared like this not even lossy packets are lost between
// the server and us. Packets of data tracks are not lost on the way, but a server of 1.13 drops what it cannot send at once
// (livekit-server, NewDataChannelWriterUnreliable; datachannel_data_track_target_latency).
func (p *peer) openChannels() error {
	ordered := true
	for _, ch := range []Channel{Reliable, Lossy, DataTrack} {
		dc, err := p.pc.CreateDataChannel(ch.String(), &webrtc.DataChannelInit{Ordered: &ordered})
		if err != nil {
			return err
		}
		p.attach(dc)
	}
	return nil
}

// attach starts reading once the channel is open. A channel that the server opens is read as well, whatever it is: unread data
// would fill the receive window, which all channels share.
func (p *peer) attach(dc *webrtc.DataChannel) {
	dc.OnOpen(func() {
		raw, err := dc.Detach()
		if err != nil {
			p.fail("data channel: " + err.Error())
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.closing {
			return
		}
		ch := channelOf(dc.Label())
		p.reading++
		p.readers.Go(func() { p.read(ch, raw) })
		p.have[ch] = true
		if p.have[Reliable] && p.have[Lossy] {
			p.openOnce.Do(func() { close(p.opened) })
		}
	})
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
		// The server never closes a channel of a living connection, and without it the session is of no use.
		cause := "data channel " + ch.String() + " closed" // the error has the peer's words, and addresses
		if errors.Is(err, io.ErrShortBuffer) {
			cause = "a message is too large"
		}
		p.fail(cause)
	}
}

func (p *peer) deliver(ch Channel, raw datachannel.ReadWriteCloser) error {
	buf := make([]byte, firstBuffer)
	for {
		n, _, err := raw.ReadDataChannel(buf)
		at := time.Now()
		switch {
		case errors.Is(err, io.ErrShortBuffer) && len(buf) < maxBuffer: // the message stays where it is
			buf = make([]byte, 2*len(buf))
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

// drain returns when nothing more is to be expected: the channels have ended, or no packet came for a while. What is still in
// SCTP's queue then is delivered all the same, because the readers read to its end.
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

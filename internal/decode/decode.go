// Package decode turns the frames of a recording into messages.
//
// It runs only after a recording, on durable data: an error here costs a view, never data. Decoding
// is a pure function of the frames and the keys, so the same recording always yields the same
// messages. Its memory is bounded, whatever participants sent; see [Limits].
package decode

import (
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

// Options of [New].
type Options struct {
	// Keys decrypt end-to-end encrypted packets; nil means no keys.
	Keys *Keys
	// Scratch creates the file for the content of open streams. The decoder calls it when it first
	// needs the file; [Decoder.Close] closes the file.
	Scratch func() (Scratch, error)
	Limits  Limits
}

// Limits bound the resources that participants can make an export use. A zero field means the
// default, given in brackets.
type Limits struct {
	// Memory is the approximate number of bytes that all open streams may occupy together: at least
	// 1 kB for a header, 16 bytes for a chunk in order, 64 bytes for a chunk out of order. Content
	// is not kept in memory. Beyond the limit, the decoder ends streams of the sender that occupies
	// most [64 MiB: 65,000 open streams, or a stream of 60 GB in the chunks of LiveKit's SDKs].
	Memory int64
	// Inline is the maximum length in bytes of a text stream included in its line; longer ones
	// become files [1 MiB].
	Inline int64
	// Inflate bounds the decompressed content of one stream, in bytes [1 GiB]. InflateAll bounds
	// that of all streams of the recording together [16 GiB].
	Inflate, InflateAll int64
}

func (l Limits) withDefaults() Limits {
	set := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.Memory, 64<<20)
	set(&l.Inline, 1<<20)
	set(&l.Inflate, 1<<30)
	set(&l.InflateAll, 16<<30)
	return l
}

// Line is a message with additional information. The caller sets N.
type Line struct {
	textegress.Message
	// Undecodable reports that the frame could not be decoded. The message holds its bytes.
	Undecodable bool
	// Content is the content of a stream, if it is not part of the message. The caller writes it to
	// a file and names the file in the message. It is valid until emit returns.
	Content *Content
}

// Decoder turns frames into lines. Create it with [New].
type Decoder struct {
	o       Options
	streams streams
	tracks  Tracks
	key     int  // index of the key that last succeeded
	opened  bool // the last frame was encrypted and was decrypted

	// Reused for each frame.
	parser   parser
	last     packet
	line     Line
	envelope Envelope // of the last frame
}

// New returns a decoder for the frames of one recording.
func New(o Options) *Decoder {
	d := &Decoder{o: o}
	d.streams = newStreams(o.Limits.withDefaults(), o.Scratch)
	return d
}

// Close releases the scratch file.
func (d *Decoder) Close() error { return d.streams.store.close() }

// Decrypted reports whether the last frame was an encrypted packet that was decrypted.
func (d *Decoder) Decrypted() bool { return d.opened }

// Envelope returns the result of [Inspect] for the last frame, which must be a packet, without
// parsing it again. For a packet of a data track it includes the sender, if the events so far
// contain it.
func (d *Decoder) Envelope() Envelope { return d.envelope }

// Late returns the number of packets of streams that are in no line because they arrived after the
// end of their stream.
func (d *Decoder) Late() int64 { return d.streams.late }

// Frame decodes the next frame of the recording and passes the lines that it completes to emit.
// There may be none: the packets of a stream form one line together. A line is valid until emit
// returns. The data that it points to does not change and does not alias the frame's payload. Frame
// returns only errors from emit and from the scratch file, never errors caused by packet content.
func (d *Decoder) Frame(f segment.Frame, emit func(*Line) error) error {
	d.opened = false
	switch f.Type {
	case segment.FrameEvent:
		m, ok := Event(f)
		return d.Event(f, m, ok, emit)
	case segment.FramePacket:
	default: // a state, which only repeats earlier frames, or a type of a later version
		return nil
	}
	if err := d.streams.advance(f, emit); err != nil {
		return err
	}
	p, line := d.packet(f)
	if p != nil && p.isStream() {
		return d.streams.packet(p, emit)
	}
	if p != nil {
		d.streams.observe(p)
	}
	return emit(line)
}

// End ends the streams that are still open.
func (d *Decoder) End(emit func(*Line) error) error { return d.streams.end(emit) }

// Event is like Frame, for a frame of type FrameEvent that is already decoded. m and ok are the
// results of [Event].
func (d *Decoder) Event(f segment.Frame, m textegress.Message, ok bool,
	emit func(*Line) error,
) error {
	d.opened = false
	if m.Kind == textegress.KindClockStep {
		d.streams.clockStepped(m.Event) // the time of this frame is by the clock after the step
	}
	if err := d.streams.advance(f, emit); err != nil {
		return err
	}
	d.tracks.Event(f.Epoch, m.Event)
	switch m.Kind {
	case textegress.KindParticipantJoined:
		d.streams.people.joined(m.ParticipantSID, m.Identity, d.streams.now(f))
	case textegress.KindParticipantLeft:
		d.streams.people.left(m.ParticipantSID, d.streams.now(f))
	case textegress.KindRecordingEnded:
		if err := d.streams.end(emit); err != nil {
			return err
		}
	}
	return emit(&Line{Message: m, Undecodable: !ok})
}

// packet is a parsed DataPacket.
type packet struct {
	*livekit.DataPacket

	// borrowed reports that the packet belongs to the parser and aliases the frame. Copy data to
	// keep it.
	borrowed   bool
	frame      segment.Frame
	encryption *textegress.EncryptionInfo // nil if it was not encrypted
}

func (p *packet) isStream() bool {
	switch p.Value.(type) {
	case *livekit.DataPacket_StreamHeader, *livekit.DataPacket_StreamChunk,
		*livekit.DataPacket_StreamTrailer:
		return true
	}
	return false
}

// packet decodes a frame of type FramePacket. It returns the line, or nil for a packet of a stream.
// p is nil if the frame is not a DataPacket.
func (d *Decoder) packet(f segment.Frame) (p *packet, line *Line) {
	// One malformed packet must not affect the others.
	defer func() {
		if recover() != nil {
			p, line = nil, &Line{Message: raw(f), Undecodable: true}
		}
	}()
	d.envelope = unreadable(f)
	if f.Channel == segment.ChannelDataTrack {
		d.envelope = Inspect(f)
		t, _ := d.tracks.Of(f)
		d.envelope.Identity, d.envelope.ParticipantSID = t.Identity, t.ParticipantSID
		return nil, d.track(f)
	}
	p = &d.last
	*p = packet{frame: f}
	if p.DataPacket, p.borrowed = d.parser.parse(f.Payload); !p.borrowed {
		p.DataPacket = new(livekit.DataPacket)
		if err := proto.Unmarshal(f.Payload, p.DataPacket); err != nil {
			return nil, &Line{Message: raw(f), Undecodable: true}
		}
	}
	d.envelope = envelopeOf(p.DataPacket, f.Channel)
	if e := p.GetEncryptedPacket(); e != nil {
		p.encryption = d.o.Keys.open(e, p.DataPacket, &d.key)
		d.opened = p.encryption.Decrypted
	}
	if p.isStream() {
		return p, nil
	}
	d.line = Line{}
	d.line.Undecodable = !p.message(&d.line.Message)
	return p, &d.line
}

// Package decode makes messages out of the frames of a recording.
//
// It runs only after a recording, on data that is safe on disk: an error here costs a view, never
// data. It is a pure function of the frames and the keys, so that the same recording always gives
// the same messages. What it holds in memory is bounded whatever participants sent, see [Limits].
package decode

import (
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

// Options of [New].
type Options struct {
	// Keys decrypt what came end-to-end encrypted; nil: there are none.
	Keys *Keys
	// Scratch makes the file that holds the content of streams until they end. It is asked for when
	// it is needed for the first time, and the file is closed by [Decoder.Close].
	Scratch func() (Scratch, error)
	Limits  Limits
}

// Limits bound what participants can make an export do. A field that is 0 has the default.
type Limits struct {
	// Memory is about how many bytes the streams that are open at one time may occupy: a header at
	// least 1 kB, each chunk in order 16 bytes, each one out of order 64. Content is not in memory.
	// Where it is exceeded, streams of the sender who occupies most are ended [64 MiB: 65,000 open
	// streams, or a stream of 60 GB in the chunks of LiveKit's SDKs].
	Memory int64
	// Inline is the greatest length of a text stream that stands in the line; longer ones are files
	// [1 MiB].
	Inline int64
	// Inflate is how many bytes the content of one stream may have when it is decompressed [1 GiB],
	// InflateAll those of all streams of the recording together [16 GiB].
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

// Line is a message, and what else is known about it. N is left to the caller.
type Line struct {
	textegress.Message
	// Undecodable: the frame is not what it should be; the message holds its bytes.
	Undecodable bool
	// Content is that of a stream which does not stand in the message: the caller puts it into a
	// file and names that in the message. It is valid until emit returns.
	Content *Content
}

// Decoder makes lines out of frames. Create it with [New].
type Decoder struct {
	o       Options
	streams streams
	tracks  Tracks
	key     int  // which of the keys fitted last
	opened  bool // the last frame was encrypted, and a key fitted

	// Used again for each frame.
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

// Decrypted reports whether the last frame was a packet that came encrypted and was decrypted.
func (d *Decoder) Decrypted() bool { return d.opened }

// Envelope returns what [Inspect] returns of the last frame, which was a packet, without reading it
// again. That of a data track names the sender where the recording has told whose track it is.
func (d *Decoder) Envelope() Envelope { return d.envelope }

// Late returns how many packets of streams are in no line, because their stream had ended before
// they came.
func (d *Decoder) Late() int64 { return d.streams.late }

// Frame takes the next frame of the recording and passes to emit the lines that it makes, of which
// there may be none: the packets of a stream make one line together. A line is valid until emit
// returns; what it points to stays as it is, and keeps no reference to the frame's payload. An
// error is one of emit or of the scratch file; whatever participants sent is no reason for one.
func (d *Decoder) Frame(f segment.Frame, emit func(*Line) error) error {
	d.opened = false
	switch f.Type {
	case segment.FrameEvent:
		m, ok := Event(f)
		return d.Event(f, m, ok, emit)
	case segment.FramePacket:
	default: // a state, which repeats what the frames before it say, or a type of a later version
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

// Event is Frame for a frame of type FrameEvent that was decoded already: m and ok are what [Event]
// returned of it.
func (d *Decoder) Event(f segment.Frame, m textegress.Message, ok bool,
	emit func(*Line) error,
) error {
	d.opened = false
	if m.Kind == textegress.KindClockStep {
		d.streams.clockStepped(m.Event) // the time of this frame is by the clock as it is now
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

// packet is a DataPacket that parses.
type packet struct {
	*livekit.DataPacket

	// borrowed: it is the parser's and shares its bytes with the frame; what is kept must be
	// copied.
	borrowed   bool
	frame      segment.Frame
	encryption *textegress.EncryptionInfo // nil: it came in clear
}

func (p *packet) isStream() bool {
	switch p.Value.(type) {
	case *livekit.DataPacket_StreamHeader, *livekit.DataPacket_StreamChunk,
		*livekit.DataPacket_StreamTrailer:
		return true
	}
	return false
}

// packet decodes a frame of type FramePacket. It returns the line, except for the packets of
// streams. p is nil where the frame is no DataPacket.
func (d *Decoder) packet(f segment.Frame) (p *packet, line *Line) {
	// A hostile packet must not cost the other packets of the recording their views.
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

package decode

import (
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress/segment"
)

// Envelope describes a packet apart from its content: enough to account for the packet and to
// recognise it.
type Envelope struct {
	// Identity and ParticipantSID are empty in the result of [Inspect] for a frame of a data track.
	// [Tracks] has them if the recording contains them.
	Identity, ParticipantSID string
	// Sequence is the sender's sequence number on the reliable channel, or 0 if there is none.
	// Numbers on other channels have no meaning.
	Sequence uint32
	// Reliable reports whether the packet was sent on the reliable channel.
	Reliable bool
	// Decodable is false if the bytes are not a DataPacket, or are a DataPacket without content.
	Decodable bool
	Encrypted bool
	// Part is set for packets of a stream.
	Part *StreamPart
}

// StreamPart identifies a packet within its stream.
type StreamPart struct {
	StreamID string
	Kind     StreamPartKind
	Chunk    uint64 // of PartChunk: its index in the stream, 0, 1, 2 …
}

// StreamPartKind is one of the three kinds of packet of a stream.
type StreamPartKind uint8

// The kinds of a StreamPart.
const (
	PartHeader StreamPartKind = iota + 1
	PartChunk
	PartTrailer
)

// Inspect reads the envelope of a frame of type FramePacket. It never fails.
func Inspect(f segment.Frame) (e Envelope) {
	// As in packet: one malformed packet must not affect the others.
	defer func() {
		if recover() != nil {
			e = unreadable(f)
		}
	}()
	if f.Channel == segment.ChannelDataTrack {
		p, ok := parseTrack(f.Payload)
		return Envelope{Decodable: ok, Encrypted: ok && p.iv != nil}
	}
	var p livekit.DataPacket
	if err := proto.Unmarshal(f.Payload, &p); err != nil {
		return unreadable(f)
	}
	return envelopeOf(&p, f.Channel)
}

// unreadable returns the envelope of a frame that is not a DataPacket.
func unreadable(f segment.Frame) Envelope {
	return Envelope{Reliable: f.Channel == segment.ChannelReliable}
}

func envelopeOf(p *livekit.DataPacket, c segment.Channel) Envelope {
	r := reliable(p, c)
	e := Envelope{
		Reliable: r == nil || *r, Decodable: p.Value != nil ||
			unknownField(p.ProtoReflect().GetUnknown()) != 0,
		Encrypted: p.GetEncryptedPacket() != nil,
	}
	e.Identity, e.ParticipantSID = senderOf(p)
	if e.Reliable {
		e.Sequence = p.Sequence
	}
	switch v := p.Value.(type) {
	case *livekit.DataPacket_StreamHeader:
		e.Part = &StreamPart{StreamID: v.StreamHeader.GetStreamId(), Kind: PartHeader}
	case *livekit.DataPacket_StreamChunk:
		e.Part = &StreamPart{
			StreamID: v.StreamChunk.GetStreamId(), Kind: PartChunk,
			Chunk: v.StreamChunk.GetChunkIndex(),
		}
	case *livekit.DataPacket_StreamTrailer:
		e.Part = &StreamPart{StreamID: v.StreamTrailer.GetStreamId(), Kind: PartTrailer}
	}
	return e
}

package filter

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/syncflow/textegress/internal/wire"
)

// peeked holds the fields that the rules need. The slices alias the packet.
type peeked struct {
	identity, sid []byte // set by the server
	// inner is a second identity in the packet: that of a user packet, or the speaker in a
	// transcription.
	inner  []byte
	topic  []byte
	stream []byte
	value  protowire.Number // the packet's case of the oneof; 0: none
}

// peek reads the few fields that the rules need and allocates nothing. It returns false if this
// part of the packet is malformed or ambiguous: a singular field occurs twice or with another type.
// The server re-encodes packets and sends none like that, and the filter must not guess which
// occurrence another reader would use. A field unknown to this program counts as a case of the
// oneof if it contains bytes, as every new kind of packet has so far.
func peek(b []byte) (p peeked, ok bool) {
	var seen wire.Set
	for len(b) > 0 {
		var f wire.Field
		if f, b, ok = wire.Next(b); !ok {
			return p, false
		}
		isNumber := f.Number == wire.Kind || f.Number == wire.Sequence
		if f.Type != protowire.BytesType {
			if f.Number < wire.FirstUnknown && !isNumber {
				return p, false
			}
			continue
		}
		switch f.Number {
		case wire.Identity:
			p.identity = f.Bytes
			ok = seen.Add(f.Number)
		case wire.SID:
			p.sid = f.Bytes
			ok = seen.Add(f.Number)
		case wire.Destinations:
		default:
			ok = !isNumber && p.value == 0 && p.inside(f.Number, f.Bytes)
			p.value = f.Number
		}
		if !ok {
			return p, false
		}
	}
	return p, true
}

// inside reads the needed fields of the value.
func (p *peeked) inside(kind protowire.Number, b []byte) bool {
	switch kind {
	case wire.User, wire.Transcription, wire.StreamHeader, wire.StreamChunk,
		wire.StreamTrailer:
	default:
		return true
	}
	var seen wire.Set
	for len(b) > 0 {
		f, rest, ok := wire.Next(b)
		if !ok {
			return false
		}
		b = rest
		into := p.field(kind, f.Number)
		if into == nil {
			continue
		}
		if f.Type != protowire.BytesType || !seen.Add(f.Number) {
			return false
		}
		*into = f.Bytes
	}
	return true
}

func (p *peeked) field(kind, number protowire.Number) *[]byte {
	switch {
	case kind == wire.User && number == wire.UserIdentity,
		kind == wire.Transcription && number == wire.TranscribedIdentity:
		return &p.inner
	case kind == wire.User && number == wire.UserTopic,
		kind == wire.StreamHeader && number == wire.HeaderTopic:
		return &p.topic
	case number == wire.StreamID && (kind == wire.StreamHeader ||
		kind == wire.StreamChunk || kind == wire.StreamTrailer):
		return &p.stream
	}
	return nil
}

// Sender returns the identity and the participant sid that the server set in a raw
// livekit.DataPacket. about is a second identity in it: the speaker in a transcription, or the
// sender as named inside a user packet. ok is false if they cannot be determined.
func Sender(b []byte) (identity, sid, about string, ok bool) {
	p, ok := peek(b)
	return string(p.identity), string(p.sid), string(p.inner), ok
}

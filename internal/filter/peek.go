package filter

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/syncflow/textegress/internal/wire"
)

// peeked is what the rules look at. The slices are parts of the packet.
type peeked struct {
	identity, sid []byte // stamped by the server
	// inner is a second identity that the packet is about: that of the user packet, or of whom a
	// transcription quotes.
	inner  []byte
	topic  []byte
	stream []byte
	value  protowire.Number // the packet's case of the oneof; 0: none
}

// peek reads the few fields that the rules need and allocates nothing. It returns false if the part
// of the packet that it reads does not parse, or is ambiguous: a field that may occur once occurs
// twice, or with another type. The server, which re-encodes packets, sends none like that, and we
// must not guess which of the two another reader would take. A field unknown to this program counts
// as a case of the oneof if it contains bytes, as has every new kind of packet so far.
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

// inside reads what is needed of the value.
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

// Sender returns who a raw livekit.DataPacket is from: the identity and participant sid that the
// server stamped on it, and about whom else it is (whom a transcription quotes; the second place
// where a user packet names its sender). ok is false where that cannot be told.
func Sender(b []byte) (identity, sid, about string, ok bool) {
	p, ok := peek(b)
	return string(p.identity), string(p.sid), string(p.inner), ok
}

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

// BeginsMessage reports whether a raw livekit.DataPacket begins a message that a participant sent:
// it is neither a further part of a stream nor sent by a client on its own account. identity is the
// sender's as far as the packet names it, and aliases b. An encrypted packet counts as a message,
// because its kind is not known.
//
// It decides nothing but counts, so it takes the last of several fields where [Filter.Packet] would
// refuse the packet.
func BeginsMessage(b []byte) (identity []byte, begins bool) {
	var user []byte
	for len(b) > 0 {
		f, rest, ok := wire.Next(b)
		if !ok {
			return nil, false
		}
		b = rest
		if f.Type != protowire.BytesType {
			continue
		}
		switch f.Number {
		case wire.Identity:
			identity = f.Bytes
		case wire.SID, wire.Destinations:
		case wire.StreamChunk, wire.StreamTrailer, wire.RPCAck, wire.Metrics, wire.Speaker:
			return nil, false
		case wire.User:
			user, begins = f.Bytes, true
		default:
			begins = true
		}
	}
	if begins && len(identity) == 0 && user != nil { // of an older server
		identity = field(user, wire.UserIdentity)
	}
	return identity, begins
}

// field returns a field of a message that contains bytes, nil if there is none.
func field(b []byte, number protowire.Number) (found []byte) {
	for len(b) > 0 {
		f, rest, ok := wire.Next(b)
		if !ok {
			return nil
		}
		if f.Number == number {
			found = f.Bytes
		}
		b = rest
	}
	return found
}

// BeginsFrame reports whether a packet of a data track begins a frame, and returns the handle of
// the track, 0 if the packet is malformed.
func BeginsFrame(b []byte) (handle uint16, begins bool) {
	const start = 1 << 4
	if len(b) < 4 {
		return 0, false
	}
	return uint16(b[2])<<8 | uint16(b[3]), b[0]&start != 0
}

// Sender returns the identity and the participant sid that the server set in a raw
// livekit.DataPacket. about is a second identity in it: the speaker in a transcription, or the
// sender as named inside a user packet. ok is false if they cannot be determined.
func Sender(b []byte) (identity, sid, about string, ok bool) {
	p, ok := peek(b)
	return string(p.identity), string(p.sid), string(p.inner), ok
}

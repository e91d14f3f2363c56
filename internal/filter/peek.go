package filter

import "google.golang.org/protobuf/encoding/protowire"

// Field numbers of livekit.DataPacket and of what it holds
// (github.com/livekit/protocol, protobufs/livekit_models.proto).
const (
	fieldKind          = 1
	fieldUser          = 2
	fieldIdentity      = 4
	fieldDestination   = 5
	fieldTranscription = 7
	fieldChat          = 9
	fieldRPCRequest    = 10
	fieldRPCAck        = 11
	fieldRPCResponse   = 12
	fieldHeader        = 13
	fieldChunk         = 14
	fieldTrailer       = 15
	fieldSequence      = 16
	fieldSID           = 17
	fieldEncrypted     = 18

	firstUnknown = 19

	userIdentity        = 5 // deprecated, servers fill it in all the same
	userTopic           = 4
	transcribedIdentity = 2
	streamID            = 1 // of header, chunk and trailer
	headerTopic         = 3
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

// peek reads the few fields that the rules need and allocates nothing. It returns false where the
// packet does not parse as far as it looks, and where it is ambiguous: a field that may stand once
// stands twice, or with another type. The server, which writes packets anew, sends no such one, and
// which of the two another reader would take is not for us to guess. A field that this program does
// not know counts as a case of the oneof where it holds bytes, as every new kind of packet so far
// did.
func peek(b []byte) (p peeked, ok bool) {
	var seen uint32
	once := func(n protowire.Number) bool {
		first := seen&(1<<n) == 0
		seen |= 1 << n
		return first
	}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return p, false
		}
		b = b[n:]
		if typ != protowire.BytesType {
			if num < firstUnknown && num != fieldKind && num != fieldSequence {
				return p, false
			}
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return p, false
			}
			b = b[n:]
			continue
		}
		if num == fieldKind || num == fieldSequence {
			return p, false
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return p, false
		}
		b = b[n:]
		switch num {
		case fieldIdentity:
			p.identity = v
			ok = once(num)
		case fieldSID:
			p.sid = v
			ok = once(num)
		case fieldDestination:
			ok = true
		default:
			ok = p.value == 0 && p.inside(num, v)
			p.value = num
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
	case fieldUser, fieldTranscription, fieldHeader, fieldChunk, fieldTrailer:
	default:
		return true
	}
	var seen [8]bool
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		into := p.field(kind, num)
		if into == nil {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return false
			}
			b = b[n:]
			continue
		}
		if typ != protowire.BytesType || seen[num] {
			return false
		}
		seen[num] = true
		if *into, n = protowire.ConsumeBytes(b); n < 0 {
			return false
		}
		b = b[n:]
	}
	return true
}

func (p *peeked) field(kind, num protowire.Number) *[]byte {
	switch {
	case kind == fieldUser && num == userIdentity, kind == fieldTranscription &&
		num == transcribedIdentity:
		return &p.inner
	case kind == fieldUser && num == userTopic, kind == fieldHeader && num == headerTopic:
		return &p.topic
	case num == streamID && (kind == fieldHeader || kind == fieldChunk || kind == fieldTrailer):
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

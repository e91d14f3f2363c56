// Package wire reads the wire form of a livekit.DataPacket field by field, without copies. It
// serves where [proto.Unmarshal] costs too much: the filter reads every packet on arrival, and an
// export reads millions of packets.
package wire

import "google.golang.org/protobuf/encoding/protowire"

// Numbers of the fields of livekit.DataPacket (github.com/livekit/protocol,
// protobufs/livekit_models.proto). FirstUnknown is the lowest number that this program does not
// support.
const (
	Kind          protowire.Number = 1
	User          protowire.Number = 2
	Speaker       protowire.Number = 3
	Identity      protowire.Number = 4
	Destinations  protowire.Number = 5
	Transcription protowire.Number = 7
	Metrics       protowire.Number = 8
	Chat          protowire.Number = 9
	RPCRequest    protowire.Number = 10
	RPCAck        protowire.Number = 11
	RPCResponse   protowire.Number = 12
	StreamHeader  protowire.Number = 13
	StreamChunk   protowire.Number = 14
	StreamTrailer protowire.Number = 15
	Sequence      protowire.Number = 16
	SID           protowire.Number = 17
	Encrypted     protowire.Number = 18

	FirstUnknown protowire.Number = 19
)

// Numbers of the fields of livekit.UserPacket. Servers still fill in the two deprecated fields that
// name the sender.
const (
	UserSID      protowire.Number = 1
	UserPayload  protowire.Number = 2
	UserTopic    protowire.Number = 4
	UserIdentity protowire.Number = 5
)

// Numbers of the fields of livekit.Transcription, livekit.ChatMessage and the parts of a
// livekit.DataStream. StreamID is the same field in all three parts.
const (
	TranscribedIdentity protowire.Number = 2

	ChatID        protowire.Number = 1
	ChatTimestamp protowire.Number = 2
	ChatMessage   protowire.Number = 4

	StreamID      protowire.Number = 1
	HeaderTopic   protowire.Number = 3
	ChunkIndex    protowire.Number = 2
	ChunkContent  protowire.Number = 3
	TrailerReason protowire.Number = 2
)

// Field is a field of a message.
type Field struct {
	Number protowire.Number
	Type   protowire.Type
	Value  uint64 // of a field of type VarintType
	Bytes  []byte // of a field of type BytesType; aliases the message
}

// Next returns the first field of b and the bytes after it. ok is false if b is malformed.
func Next(b []byte) (f Field, rest []byte, ok bool) {
	number, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return f, nil, false
	}
	f.Number, f.Type, b = number, typ, b[n:]
	switch typ {
	case protowire.VarintType:
		f.Value, n = protowire.ConsumeVarint(b)
	case protowire.BytesType:
		f.Bytes, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(number, typ, b)
	}
	if n < 0 {
		return f, nil, false
	}
	return f, b[n:], true
}

// Set is a set of field numbers up to 31. The zero value is empty.
type Set uint32

// Add adds n and reports whether it was absent. Numbers above 31 are always absent.
func (s *Set) Add(n protowire.Number) bool {
	bit := Set(1) << n
	if *s&bit != 0 {
		return false
	}
	*s |= bit
	return true
}

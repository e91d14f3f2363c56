package decode

import (
	"unicode/utf8"

	"github.com/livekit/protocol/livekit"
)

// parser reads the packets that make up nearly all of a recording: user packets, chat, and the
// chunks and trailers of streams, in the form in which a server writes them. With proto.Unmarshal,
// reading packets took a third of the time of an export.
//
// It accepts only what it understands as a whole, and for that gives exactly what proto.Unmarshal
// gives; a test and a fuzz target hold the two together. Whatever is less common (another kind of
// packet, a field that it does not know or that stands twice, a wrong type, invalid UTF-8) it
// leaves to proto.Unmarshal.
type parser struct {
	packet  livekit.DataPacket
	user    livekit.UserPacket
	chat    livekit.ChatMessage
	chunk   livekit.DataStream_Chunk
	trailer livekit.DataStream_Trailer

	asUser    livekit.DataPacket_User
	asChat    livekit.DataPacket_ChatMessage
	asChunk   livekit.DataPacket_StreamChunk
	asTrailer livekit.DataPacket_StreamTrailer

	topic string
	names names
}

// Field numbers of livekit.DataPacket and of what it holds (github.com/livekit/protocol,
// protobufs/livekit_models.proto).
const (
	fieldKind     = 1
	fieldUser     = 2
	fieldIdentity = 4
	fieldChat     = 9
	fieldChunk    = 14
	fieldTrailer  = 15
	fieldSequence = 16
	fieldSID      = 17
)

// parse returns the packet, or false where it is for proto.Unmarshal. What it returns is valid
// until the next call, and shares its bytes (not its strings) with b.
func (p *parser) parse(b []byte) (*livekit.DataPacket, bool) {
	d := &p.packet
	d.Kind, d.ParticipantIdentity, d.ParticipantSid, d.Sequence, d.Value = 0, "", "", 0,
		nil //nolint:staticcheck // deprecated, see reliable
	var seen fieldSet
	for len(b) > 0 {
		var f wireField
		var ok bool
		if f, b, ok = nextField(b); !ok || !seen.add(f.number) {
			return nil, false
		}
		switch f.number {
		case fieldKind:
			ok = f.isNumber && f.value <= 1
			d.Kind = livekit.DataPacket_Kind(
				f.value) //nolint:staticcheck // deprecated, see reliable
		case fieldSequence:
			ok = f.isNumber && f.value < 1<<32
			d.Sequence = uint32(f.value)
		case fieldIdentity:
			d.ParticipantIdentity, ok = p.names.text(f)
		case fieldSID:
			d.ParticipantSid, ok = p.names.text(f)
		case fieldUser, fieldChat, fieldChunk, fieldTrailer:
			ok = !f.isNumber && d.Value == nil && p.value(f)
		default:
			ok = false
		}
		if !ok {
			return nil, false
		}
	}
	return d, d.Value != nil
}

// value reads the packet's case of the oneof.
func (p *parser) value(f wireField) bool {
	switch f.number {
	case fieldUser:
		p.asUser.User = &p.user
		p.packet.Value = &p.asUser
		return p.readUser(f.bytes)
	case fieldChat:
		p.asChat.ChatMessage = &p.chat
		p.packet.Value = &p.asChat
		return p.readChat(f.bytes)
	case fieldChunk:
		p.asChunk.StreamChunk = &p.chunk
		p.packet.Value = &p.asChunk
		return p.readChunk(f.bytes)
	default:
		p.asTrailer.StreamTrailer = &p.trailer
		p.packet.Value = &p.asTrailer
		return p.readTrailer(f.bytes)
	}
}

func (p *parser) readUser(b []byte) bool {
	u := &p.user
	u.ParticipantSid, u.ParticipantIdentity, u.Payload, u.Topic = "", "", nil,
		nil //nolint:staticcheck // deprecated, see senderOf
	var seen fieldSet
	for len(b) > 0 {
		f, rest, ok := nextField(b)
		if !ok || f.isNumber || !seen.add(f.number) {
			return false
		}
		b = rest
		switch f.number {
		case 1:
			u.ParticipantSid, ok = p.names.text(f) //nolint:staticcheck // deprecated, see senderOf
		case 5:
			u.ParticipantIdentity, ok = p.names.text(
				f) //nolint:staticcheck // deprecated, see senderOf
		case 4:
			p.topic, ok = p.names.text(f)
			u.Topic = &p.topic
		case 2:
			u.Payload = f.bytes
		default:
			return false
		}
		if !ok {
			return false
		}
	}
	return true
}

func (p *parser) readChat(b []byte) bool {
	c := &p.chat
	c.Id, c.Message, c.Timestamp, c.EditTimestamp, c.Deleted, c.Generated = "", "", 0, nil, false,
		false
	var seen fieldSet
	for len(b) > 0 {
		f, rest, ok := nextField(b)
		if !ok || !seen.add(f.number) {
			return false
		}
		b = rest
		switch f.number {
		case 1:
			c.Id, ok = f.text()
		case 4:
			c.Message, ok = f.text()
		case 2:
			c.Timestamp, ok = int64(f.value), f.isNumber
		default:
			return false
		}
		if !ok {
			return false
		}
	}
	return true
}

func (p *parser) readChunk(b []byte) bool {
	c := &p.chunk
	c.StreamId, c.ChunkIndex, c.Content = "", 0, nil
	var seen fieldSet
	for len(b) > 0 {
		f, rest, ok := nextField(b)
		if !ok || !seen.add(f.number) {
			return false
		}
		b = rest
		switch f.number {
		case 1:
			c.StreamId, ok = f.text()
		case 2:
			c.ChunkIndex, ok = f.value, f.isNumber
		case 3:
			c.Content, ok = f.bytes, !f.isNumber
		default:
			return false
		}
		if !ok {
			return false
		}
	}
	return true
}

func (p *parser) readTrailer(b []byte) bool {
	t := &p.trailer
	t.StreamId, t.Reason = "", ""
	var seen fieldSet
	for len(b) > 0 {
		f, rest, ok := nextField(b)
		if !ok || !seen.add(f.number) {
			return false
		}
		b = rest
		switch f.number {
		case 1:
			t.StreamId, ok = f.text()
		case 2:
			t.Reason, ok = f.text()
		default:
			return false
		}
		if !ok {
			return false
		}
	}
	return true
}

// wireField is a field of a message: a number or a sequence of bytes.
type wireField struct {
	number   uint32
	isNumber bool
	value    uint64
	bytes    []byte
}

func (f wireField) text() (string, bool) {
	if f.isNumber || !utf8.Valid(f.bytes) {
		return "", false
	}
	return string(f.bytes), true
}

// nextField takes the first field of b. ok is false also for the types that it leaves to
// proto.Unmarshal.
func nextField(b []byte) (f wireField, rest []byte, ok bool) {
	tag, b, ok := varint(b)
	if !ok || tag>>3 == 0 || tag>>3 > 31 {
		return f, nil, false
	}
	f.number = uint32(tag >> 3)
	v, b, ok := varint(b)
	switch tag & 7 {
	case 0:
		f.isNumber, f.value = true, v
		return f, b, ok
	case 2:
		if !ok || v > uint64(len(b)) {
			return f, nil, false
		}
		f.bytes = b[:v:v]
		return f, b[v:], true
	}
	return f, nil, false
}

// varint takes a number of at most nine bytes; the few that have ten are left to proto.Unmarshal.
func varint(b []byte) (v uint64, rest []byte, ok bool) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), b[1:], true
	}
	for i := 0; i < len(b) && i < 9; i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, b[i+1:], true
		}
	}
	return 0, nil, false
}

// fieldSet is a set of field numbers up to 31.
type fieldSet uint32

// add returns false for a number that is in the set already.
func (s *fieldSet) add(n uint32) bool {
	bit := fieldSet(1) << n
	if *s&bit != 0 {
		return false
	}
	*s |= bit
	return true
}

// names keeps one string for each of the names that come again with every packet.
type names map[string]string

const (
	maxNames = 4096 // then it begins anew
	maxName  = 256  // longer ones are not kept
)

func (n *names) text(f wireField) (string, bool) {
	if f.isNumber {
		return "", false
	}
	if s, ok := (*n)[string(f.bytes)]; ok {
		return s, true
	}
	s, ok := f.text()
	if ok && len(s) <= maxName {
		if *n == nil {
			*n = names{}
		}
		if len(*n) >= maxNames {
			clear(*n)
		}
		(*n)[s] = s
	}
	return s, ok
}

package decode

import (
	"unicode/utf8"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/syncflow/textegress/internal/wire"
)

// parser parses the packets that make up nearly all of a recording: user packets, chat, and the
// chunks and trailers of streams, in the form that a server writes. With proto.Unmarshal, parsing
// took a third of the time of an export.
//
// It accepts only packets that it supports entirely, and returns the same result as
// proto.Unmarshal; a test and a fuzz target compare the two. It leaves everything less common
// (another kind of packet, an unknown or repeated field, a wrong type, invalid UTF-8) to
// proto.Unmarshal.
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

// parse returns the packet, or false if proto.Unmarshal must parse it. The packet is valid until
// the next call. Its byte slices (not its strings) alias b.
func (p *parser) parse(b []byte) (*livekit.DataPacket, bool) {
	d := &p.packet
	d.Kind, d.Value = 0, nil
	d.ParticipantIdentity, d.ParticipantSid, d.Sequence = "", "", 0
	ok := eachField(b, func(f wire.Field) (ok bool) {
		switch f.Number {
		case wire.Kind:
			d.Kind = livekit.DataPacket_Kind(f.Value)
			return f.Type == protowire.VarintType && f.Value <= 1
		case wire.Sequence:
			d.Sequence = uint32(f.Value)
			return f.Type == protowire.VarintType && f.Value < 1<<32
		case wire.Identity:
			d.ParticipantIdentity, ok = p.names.text(f)
		case wire.SID:
			d.ParticipantSid, ok = p.names.text(f)
		case wire.User, wire.Chat, wire.StreamChunk, wire.StreamTrailer:
			return f.Type == protowire.BytesType && d.Value == nil && p.value(f)
		}
		return ok
	})
	return d, ok && d.Value != nil
}

// value reads the packet's case of the oneof.
func (p *parser) value(f wire.Field) bool {
	switch f.Number {
	case wire.User:
		p.asUser.User = &p.user
		p.packet.Value = &p.asUser
		return p.readUser(f.Bytes)
	case wire.Chat:
		p.asChat.ChatMessage = &p.chat
		p.packet.Value = &p.asChat
		return p.readChat(f.Bytes)
	case wire.StreamChunk:
		p.asChunk.StreamChunk = &p.chunk
		p.packet.Value = &p.asChunk
		return p.readChunk(f.Bytes)
	default:
		p.asTrailer.StreamTrailer = &p.trailer
		p.packet.Value = &p.asTrailer
		return p.readTrailer(f.Bytes)
	}
}

func (p *parser) readUser(b []byte) bool {
	u := &p.user
	u.ParticipantSid, u.ParticipantIdentity, u.Payload, u.Topic = "", "", nil, nil
	return eachField(b, func(f wire.Field) (ok bool) {
		switch f.Number {
		case wire.UserSID:
			u.ParticipantSid, ok = p.names.text(f)
		case wire.UserIdentity:
			u.ParticipantIdentity, ok = p.names.text(f)
		case wire.UserTopic:
			p.topic, ok = p.names.text(f)
			u.Topic = &p.topic
		case wire.UserPayload:
			u.Payload, ok = f.Bytes, f.Type == protowire.BytesType
		}
		return ok
	})
}

func (p *parser) readChat(b []byte) bool {
	c := &p.chat
	c.Id, c.Message, c.Timestamp = "", "", 0
	c.EditTimestamp, c.Deleted, c.Generated = nil, false, false
	return eachField(b, func(f wire.Field) (ok bool) {
		switch f.Number {
		case wire.ChatID:
			c.Id, ok = text(f)
		case wire.ChatMessage:
			c.Message, ok = text(f)
		case wire.ChatTimestamp:
			c.Timestamp, ok = int64(f.Value), f.Type == protowire.VarintType
		}
		return ok
	})
}

func (p *parser) readChunk(b []byte) bool {
	c := &p.chunk
	c.StreamId, c.ChunkIndex, c.Content = "", 0, nil
	return eachField(b, func(f wire.Field) (ok bool) {
		switch f.Number {
		case wire.StreamID:
			c.StreamId, ok = text(f)
		case wire.ChunkIndex:
			c.ChunkIndex, ok = f.Value, f.Type == protowire.VarintType
		case wire.ChunkContent:
			c.Content, ok = f.Bytes, f.Type == protowire.BytesType
		}
		return ok
	})
}

func (p *parser) readTrailer(b []byte) bool {
	t := &p.trailer
	t.StreamId, t.Reason = "", ""
	return eachField(b, func(f wire.Field) (ok bool) {
		switch f.Number {
		case wire.StreamID:
			t.StreamId, ok = text(f)
		case wire.TrailerReason:
			t.Reason, ok = text(f)
		}
		return ok
	})
}

// eachField calls read for every field of a message. It returns false if the message is malformed,
// a field occurs twice, or read returns false.
func eachField(b []byte, read func(wire.Field) bool) bool {
	var seen wire.Set
	for len(b) > 0 {
		f, rest, ok := wire.Next(b)
		if !ok || !seen.Add(f.Number) || !read(f) {
			return false
		}
		b = rest
	}
	return true
}

func text(f wire.Field) (string, bool) {
	if f.Type != protowire.BytesType || !utf8.Valid(f.Bytes) {
		return "", false
	}
	return string(f.Bytes), true
}

// names interns the names that recur in every packet.
type names map[string]string

const (
	maxNames = 4096 // the map is cleared when full
	maxName  = 256  // longer names are not interned
)

func (n *names) text(f wire.Field) (string, bool) {
	if f.Type != protowire.BytesType {
		return "", false
	}
	if s, ok := (*n)[string(f.Bytes)]; ok {
		return s, true
	}
	s, ok := text(f)
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

// Package decode makes messages out of the frames of a recording.
//
// It runs only after a recording, on data that is safe on disk: an error here costs a view, never data. It is pure, so
// that the same frames always give the same messages.
package decode

import (
	"encoding/json"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/spool"
)

// Packet makes a message out of a frame of type FramePacket. N is left to the caller. The message keeps no reference to
// the frame's payload.
//
// It never fails: of a packet that cannot be decoded, the message is of kind "unknown" with the raw bytes, and ok is
// false. User and chat packets are decoded. Every other case of the packet's oneof, also one that this version does not
// know yet, is of kind "unknown" (an encrypted packet: "encrypted", a frame of a data track: "data_track") with the
// number and, if known, the name of its protobuf field and the raw bytes; that is not an error, ok is true.
func Packet(f spool.Frame) (m textegress.Message, ok bool) {
	// A hostile packet must not cost the other packets of the recording their views.
	defer func() {
		if recover() != nil {
			m, ok = raw(f, textegress.KindUnknown), false
		}
	}()
	if f.Channel == spool.ChannelDataTrack {
		m = raw(f, textegress.KindDataTrack)
		m.Reliable = new(false) // the publisher's leg never is, whatever ours is
		return m, true
	}
	var p livekit.DataPacket
	if err := proto.Unmarshal(f.Payload, &p); err != nil {
		return raw(f, textegress.KindUnknown), false
	}
	switch v := p.Value.(type) {
	case *livekit.DataPacket_User:
		m = base(f, textegress.KindData)
		user(&m, v.User)
		ok = true
	case *livekit.DataPacket_ChatMessage:
		m = base(f, textegress.KindChat)
		chat(&m, v.ChatMessage)
		ok = true
	default:
		m = raw(f, textegress.KindUnknown)
		m.Field, m.FieldName = field(&p)
		if m.FieldName == encryptedField {
			m.Kind = textegress.KindEncrypted
		}
		ok = m.Field != 0
	}
	envelope(&m, &p, f.Channel)
	return m, ok
}

// encryptedField is the name of the case of the oneof for end-to-end encrypted packets, number 18.
const encryptedField = "encrypted_packet"

func base(f spool.Frame, k textegress.Kind) textegress.Message {
	return textegress.Message{Kind: k, Time: time.Unix(0, f.UnixNS).UTC(), UnixNS: f.UnixNS, Epoch: int(f.Epoch)}
}

func raw(f spool.Frame, k textegress.Kind) textegress.Message {
	m := base(f, k)
	m.Base64 = append([]byte{}, f.Payload...)
	return m
}

// envelope fills in what the server states about the packet as a whole.
func envelope(m *textegress.Message, p *livekit.DataPacket, c spool.Channel) {
	// The server stamps both on the packet. Servers before that did so on the user packet only, whose fields are
	// deprecated since (livekit_models.proto, DataPacket.participant_identity and UserPacket.participant_sid).
	m.Identity, m.ParticipantSID = p.ParticipantIdentity, p.ParticipantSid
	if u := p.GetUser(); u != nil {
		if m.Identity == "" {
			m.Identity = u.ParticipantIdentity //nolint:staticcheck // deprecated, see above
		}
		if m.ParticipantSID == "" {
			m.ParticipantSID = u.ParticipantSid //nolint:staticcheck // deprecated, see above
		}
	}
	m.Sequence = p.Sequence
	// The kind's zero value is RELIABLE, which is the same as absent; then the channel tells.
	switch {
	case p.Kind == livekit.DataPacket_LOSSY: //nolint:staticcheck // deprecated, but the server fills it in
		m.Reliable = new(false)
	case c == spool.ChannelReliable:
		m.Reliable = new(true)
	case c == spool.ChannelLossy:
		m.Reliable = new(false)
	}
}

func user(m *textegress.Message, u *livekit.UserPacket) {
	m.Topic = u.GetTopic()
	payload(m, u.GetPayload())
	if u.GetId() != "" || len(u.GetNonce()) > 0 || u.StartTime != nil || u.EndTime != nil {
		m.User = &textegress.UserInfo{ID: u.GetId(), Nonce: u.GetNonce(), StartTime: u.StartTime, EndTime: u.EndTime}
	}
}

func chat(m *textegress.Message, c *livekit.ChatMessage) {
	m.Text = new(c.GetMessage())
	m.Chat = &textegress.ChatInfo{
		ID: c.GetId(), TimestampMS: c.GetTimestamp(), EditTimestampMS: c.GetEditTimestamp(),
		Deleted: c.GetDeleted(), Generated: c.GetGenerated(),
	}
}

func payload(m *textegress.Message, b []byte) {
	if utf8.Valid(b) {
		m.Text = new(string(b))
		return
	}
	m.Base64 = b // proto.Unmarshal copied it
}

var oneof = (*livekit.DataPacket)(nil).ProtoReflect().Descriptor().Oneofs().ByName("value")

// field returns number and name of the case of the packet's oneof. A case that is newer than our protocol module is
// found among the unknown fields: the first one with a message as its value. Its name is unknown then.
func field(p *livekit.DataPacket) (int, string) {
	r := p.ProtoReflect()
	if fd := r.WhichOneof(oneof); fd != nil {
		return int(fd.Number()), string(fd.Name())
	}
	return unknownField(r.GetUnknown()), ""
}

func unknownField(b protoreflect.RawFields) int {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0
		}
		if typ == protowire.BytesType {
			return int(num)
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return 0
		}
		b = b[n+m:]
	}
	return 0
}

// Event makes a message out of a frame of type FrameEvent. ok is false, and the message of kind "unknown" with the raw
// bytes, if the payload is no event. Identity and participant sid are those of the participant whom the event is about;
// they stand in the details as well. An event without details has none.
func Event(f spool.Frame) (m textegress.Message, ok bool) {
	var e textegress.Event
	if err := json.Unmarshal(f.Payload, &e); err != nil || !e.Kind.IsEvent() {
		return raw(f, textegress.KindUnknown), false
	}
	m = base(f, e.Kind)
	if m.Kind != textegress.KindJoined { // there it is the recorder itself
		m.Identity, m.ParticipantSID = e.Identity, e.ParticipantSID
	}
	if !isEmpty(e) {
		m.Event = &e
	}
	return m, true
}

// isEmpty reports whether an event has no details.
func isEmpty(e textegress.Event) bool {
	e.Kind = ""
	return reflect.ValueOf(e).IsZero()
}

package decode

import (
	"bytes"
	"encoding/json"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

// message decodes a packet that belongs to no stream into m, which must be empty. An unknown case
// of the oneof becomes kind "unknown" with its protobuf field number and the raw bytes; that is not
// an error. ok is false if the packet has no case at all.
func (p *packet) message(m *textegress.Message) (ok bool) {
	setBase(m, p.frame, textegress.KindUnknown)
	ok = true
	switch v := p.Value.(type) {
	case *livekit.DataPacket_User:
		m.Kind = textegress.KindData
		user(m, v.User)
		if p.borrowed {
			m.Base64 = bytes.Clone(m.Base64)
		}
	case *livekit.DataPacket_ChatMessage:
		m.Kind = textegress.KindChat
		chat(m, v.ChatMessage)
	case *livekit.DataPacket_Transcription:
		m.Kind = textegress.KindTranscription
		transcription(m, v.Transcription)
	case *livekit.DataPacket_SipDtmf:
		m.Kind = textegress.KindSIPDTMF
		m.SIPDTMF = &textegress.SIPDTMFInfo{Code: v.SipDtmf.GetCode(), Digit: v.SipDtmf.GetDigit()}
	case *livekit.DataPacket_RpcRequest:
		m.Kind = textegress.KindRPC
		rpcRequest(m, v.RpcRequest)
	case *livekit.DataPacket_RpcAck:
		m.Kind = textegress.KindRPC
		m.RPC = &textegress.RPCInfo{Type: "ack", ID: v.RpcAck.GetRequestId()}
	case *livekit.DataPacket_RpcResponse:
		m.Kind = textegress.KindRPC
		rpcResponse(m, v.RpcResponse)
	default:
		m.Base64 = append([]byte{}, p.frame.Payload...)
		m.Field, m.FieldName = field(p.DataPacket)
		if m.FieldName == encryptedField {
			m.Kind = textegress.KindEncrypted
		}
		ok = m.Field != 0
	}
	p.envelope(m)
	return ok
}

// encryptedField is the name of the case of the oneof for end-to-end encrypted packets, number 18.
const encryptedField = "encrypted_packet"

func base(f segment.Frame, k textegress.Kind) (m textegress.Message) {
	setBase(&m, f, k)
	return m
}

func setBase(m *textegress.Message, f segment.Frame, k textegress.Kind) {
	m.Kind, m.Time, m.UnixNS, m.Epoch, m.PossibleDuplicate = k, time.Unix(0, f.UnixNS).UTC(),
		f.UnixNS, int(f.Epoch), f.PossibleDuplicate
}

// raw returns a message with the raw bytes of an undecoded frame.
func raw(f segment.Frame) textegress.Message {
	m := base(f, textegress.KindUnknown)
	m.Base64 = append([]byte{}, f.Payload...)
	return m
}

// envelope fills in the server's statements about the whole packet.
func (p *packet) envelope(m *textegress.Message) {
	envelope(m, p.DataPacket, p.frame.Channel)
	m.Identity, m.ParticipantSID = p.sender()
	m.DestinationIdentities = p.GetDestinationIdentities()
	m.Encryption = p.encryption
}

// sender returns the sender of the packet. It does not use encrypted content: the server cannot
// check it, so a sender could write any name there.
func (p *packet) sender() (identity, sid string) {
	if p.encryption != nil {
		return p.ParticipantIdentity, p.ParticipantSid
	}
	return senderOf(p.DataPacket)
}

// seq returns the sender's sequence number on the reliable channel, or 0 if there is none. Numbers
// on other channels have no meaning.
func (p *packet) seq() uint32 {
	if r := reliable(p.DataPacket, p.frame.Channel); r != nil && !*r {
		return 0
	}
	return p.Sequence
}

func envelope(m *textegress.Message, p *livekit.DataPacket, c segment.Channel) {
	m.Identity, m.ParticipantSID = senderOf(p)
	m.Sequence = p.Sequence
	m.Reliable = reliable(p, c)
}

// senderOf returns the sender of a packet. The server sets both fields in the packet. Older servers
// set them only in the user packet, whose fields are now deprecated (livekit_models.proto,
// DataPacket.participant_identity and UserPacket.participant_sid).
func senderOf(p *livekit.DataPacket) (identity, sid string) {
	identity, sid = p.ParticipantIdentity, p.ParticipantSid
	if u := p.GetUser(); u != nil {
		if identity == "" {
			identity = u.ParticipantIdentity //nolint:staticcheck // deprecated, see above
		}
		if sid == "" {
			sid = u.ParticipantSid //nolint:staticcheck // deprecated, see above
		}
	}
	return identity, sid
}

// reliable reports whether a packet was sent on the reliable channel; nil means unknown. The zero
// value of the kind, RELIABLE, cannot be distinguished from an absent kind. In this case the
// channel of the frame decides.
func reliable(p *livekit.DataPacket, c segment.Channel) *bool {
	switch {
	case p.Kind == livekit.DataPacket_LOSSY: //nolint:staticcheck // deprecated, but the server fills it in
		return &no
	case c == segment.ChannelReliable:
		return &yes
	case c == segment.ChannelLossy:
		return &no
	}
	return nil
}

// Read-only values shared by all messages.
var yes, no = true, false

func user(m *textegress.Message, u *livekit.UserPacket) {
	m.Topic = u.GetTopic()
	payload(m, u.GetPayload())
	if u != nil && (u.GetId() != "" || len(u.GetNonce()) > 0 || u.StartTime != nil ||
		u.EndTime != nil) {
		m.User = &textegress.UserInfo{
			ID: u.GetId(), Nonce: u.GetNonce(), StartTime: u.StartTime,
			EndTime: u.EndTime,
		}
	}
}

func chat(m *textegress.Message, c *livekit.ChatMessage) {
	m.Text = new(c.GetMessage())
	m.Chat = &textegress.ChatInfo{
		ID: c.GetId(), TimestampMS: c.GetTimestamp(), EditTimestampMS: c.GetEditTimestamp(),
		Deleted: c.GetDeleted(), Generated: c.GetGenerated(),
	}
}

func transcription(m *textegress.Message, t *livekit.Transcription) {
	m.Transcription = &textegress.TranscriptionInfo{
		ParticipantIdentity: t.GetTranscribedParticipantIdentity(), TrackID: t.GetTrackId(),
	}
	for _, s := range t.GetSegments() {
		m.Transcription.Segments = append(m.Transcription.Segments, textegress.TranscriptionSegment{
			ID: s.GetId(), Text: s.GetText(), StartTime: s.GetStartTime(), EndTime: s.GetEndTime(),
			Final: s.GetFinal(), Language: s.GetLanguage(),
		})
	}
}

func rpcRequest(m *textegress.Message, r *livekit.RpcRequest) {
	m.RPC = &textegress.RPCInfo{
		Type: "request", ID: r.GetId(), Method: r.GetMethod(),
		TimeoutMS: r.GetResponseTimeoutMs(), Version: r.GetVersion(),
	}
	// livekit_models.proto: "When set, this field is used instead of payload". The method of
	// compression is not specified.
	if c := r.GetCompressedPayload(); len(c) > 0 {
		m.RPC.Compressed = true
		payload(m, c)
		return
	}
	m.Text = new(r.GetPayload())
}

func rpcResponse(m *textegress.Message, r *livekit.RpcResponse) {
	m.RPC = &textegress.RPCInfo{Type: "response", ID: r.GetRequestId()}
	switch v := r.GetValue().(type) {
	case *livekit.RpcResponse_Payload:
		m.Text = new(v.Payload)
	case *livekit.RpcResponse_CompressedPayload:
		m.RPC.Compressed = true
		payload(m, v.CompressedPayload)
	case *livekit.RpcResponse_Error:
		m.RPC.Error = &textegress.RPCError{
			Code: v.Error.GetCode(), Message: v.Error.GetMessage(),
			Data: v.Error.GetData(),
		}
	}
}

// payload sets the payload of m to b. The caller must not change b afterwards.
func payload(m *textegress.Message, b []byte) {
	if utf8.Valid(b) {
		m.Text = new(string(b))
		return
	}
	m.Base64 = b
}

var oneof = (*livekit.DataPacket)(nil).ProtoReflect().Descriptor().Oneofs().ByName("value")

// field returns the number and name of the packet's case of the oneof. A case newer than this
// program's protocol module is the first unknown field with a message as its value. Its name is
// unknown.
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

// Event returns the message of a frame of type FrameEvent. If the payload is not an event, ok is
// false and the message is of kind "unknown" with the raw bytes. Identity and ParticipantSID are
// those of the participant that the event is about; the details repeat them. m.Event is nil if the
// event has no details.
func Event(f segment.Frame) (m textegress.Message, ok bool) {
	var e textegress.Event
	if f.Event != nil { // the reader has already decoded it
		e = *f.Event
	} else if err := json.Unmarshal(f.Payload, &e); err != nil {
		return raw(f), false
	}
	if !e.Kind.IsEvent() {
		return raw(f), false
	}
	m = base(f, e.Kind)
	if m.Kind != textegress.KindJoined { // the participant of a joined event is the recorder itself
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

package textegress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/syncflow/textegress/segment"
)

// FormatVersion is the version of the delivered objects that this package writes. Readers accept
// any version up to it and ignore unknown keys.
const FormatVersion = 1

// Kind is the kind of a [Message].
type Kind = segment.Kind

// Event holds the details of the recorder's own events.
type Event = segment.Event

// LateLines counts lines of a participant who was removed from the recording.
type LateLines = segment.LateLines

// Kinds of messages that participants, or the server on their behalf, sent. The names in the
// comments are the cases of the oneof "value" of livekit.DataPacket (github.com/livekit/protocol,
// protobufs/livekit_models.proto).
const (
	KindData          Kind = "data"          // user: publishData of any client
	KindChat          Kind = "chat"          // chat_message
	KindTranscription Kind = "transcription" // transcription
	KindTextStream    Kind = "text_stream"   // stream_header … stream_trailer with a text header
	KindByteStream    Kind = "byte_stream"   // stream_header … stream_trailer with a byte header
	KindDataTrack     Kind = "data_track"    // frames of a data track, which are not DataPackets
	KindRPC           Kind = "rpc"           // rpc_request, rpc_ack, rpc_response
	KindSIPDTMF       Kind = "sip_dtmf"      // sip_dtmf
	KindEncrypted     Kind = "encrypted"     // encrypted_packet that could not be decrypted
	KindUnknown       Kind = "unknown"       // anything else, including packets that do not parse
)

// Kinds of the recorder's own events, see package segment.
const (
	KindRecordingStarted    = segment.KindRecordingStarted
	KindJoined              = segment.KindJoined
	KindParticipantJoined   = segment.KindParticipantJoined
	KindParticipantLeft     = segment.KindParticipantLeft
	KindParticipantUpdated  = segment.KindParticipantUpdated
	KindRoomUpdated         = segment.KindRoomUpdated
	KindDataTrackSubscribed = segment.KindDataTrackSubscribed
	KindOutageStarted       = segment.KindOutageStarted
	KindOutageEnded         = segment.KindOutageEnded
	KindRecordingEnded      = segment.KindRecordingEnded
	KindCorrupt             = segment.KindCorrupt
	KindRecorderAway        = segment.KindRecorderAway
	KindRecorderBack        = segment.KindRecorderBack
	KindClockStep           = segment.KindClockStep
	KindSelection           = segment.KindSelection
	KindDropped             = segment.KindDropped
	KindForgotten           = segment.KindForgotten
)

// Message is one line of events.jsonl: a received message, or an event of the recorder. A field
// with its zero value is unknown or does not apply; the JSON omits it.
type Message struct {
	// N numbers the lines 1, 2, 3 … without gaps.
	N    int64 `json:"n"`
	Kind Kind  `json:"kind"`
	// Time is the time of reception at the recorder, in UTC. In JSON it is RFC
	// 3339 with exactly nine fractional digits. Encoding derives it from UnixNS,
	// so that the two cannot disagree (or UnixNS from it where that is 0).
	Time time.Time `json:"time"`
	// UnixNS is the same instant in nanoseconds since 1970-01-01T00:00:00Z.
	UnixNS int64 `json:"unix_ns"`

	// Identity and ParticipantSID name the sender as the server stated it.
	Identity       string `json:"identity,omitempty"`
	ParticipantSID string `json:"participant_sid,omitempty"`
	// Topic is the topic of the message; for a data track, the name of the track.
	Topic string `json:"topic,omitempty"`
	// Reliable states over which of the two data channels the message came.
	Reliable *bool `json:"reliable,omitempty"`
	// Sequence is the sender's DataPacket.sequence; 0 means unsequenced.
	Sequence uint32 `json:"sequence,omitempty"`
	// Epoch counts the recorder's connections to the room: 1, 2, 3 …
	Epoch int `json:"epoch,omitempty"`
	// PossibleDuplicate marks a packet of a merged recording that may duplicate one received by the
	// other recorder.
	PossibleDuplicate bool `json:"possible_duplicate,omitempty"`

	// Text is the payload if it is valid UTF-8 (an empty payload is ""), otherwise Base64 is the
	// payload. At most one of them is set.
	Text   *string `json:"text,omitempty"`
	Base64 []byte  `json:"base64,omitempty"`
	// Withheld is the number of payload bytes left out of a recording delivered under pseudonyms: a
	// packet that was not decoded may name its sender.
	Withheld int64 `json:"withheld,omitempty"`

	// Field and FieldName are the protobuf field of the DataPacket's oneof, for
	// kinds that are not decoded; Base64 is then the raw DataPacket.
	Field     int    `json:"field,omitempty"`
	FieldName string `json:"field_name,omitempty"`

	User          *UserInfo          `json:"user,omitempty"`
	Chat          *ChatInfo          `json:"chat,omitempty"`
	Transcription *TranscriptionInfo `json:"transcription,omitempty"`
	RPC           *RPCInfo           `json:"rpc,omitempty"`
	SIPDTMF       *SIPDTMFInfo       `json:"sip_dtmf,omitempty"`
	Stream        *StreamInfo        `json:"stream,omitempty"`
	Track         *TrackInfo         `json:"track,omitempty"`
	Event         *Event             `json:"event,omitempty"`

	// DestinationIdentities lists the participants that the message was addressed to, including the
	// recorder; absent if it was sent to all.
	DestinationIdentities []string `json:"destination_identities,omitempty"`
	// Encryption is present if the packet was end-to-end encrypted.
	Encryption *EncryptionInfo `json:"encryption,omitempty"`
	// CopyOf is the N of the line whose message this one repeats for old
	// clients: LiveKit's chat components send every message twice.
	CopyOf int64 `json:"copy_of,omitempty"`
}

// UserInfo holds the fields of a livekit.UserPacket other than payload and topic, as sent and
// unchecked.
type UserInfo struct {
	ID    string `json:"id,omitempty"`
	Nonce []byte `json:"nonce,omitempty"`
	// StartTime and EndTime have no unit in the protocol; nil if not sent.
	StartTime *uint64 `json:"start_time,omitempty"`
	EndTime   *uint64 `json:"end_time,omitempty"`
}

// ChatInfo holds the fields of a livekit.ChatMessage other than its text, as sent.
type ChatInfo struct {
	ID string `json:"id,omitempty"`
	// TimestampMS and EditTimestampMS are times of the sender's clock, in milliseconds.
	TimestampMS     int64 `json:"timestamp_ms,omitempty"`
	EditTimestampMS int64 `json:"edit_timestamp_ms,omitempty"`
	Deleted         bool  `json:"deleted,omitempty"`
	Generated       bool  `json:"generated,omitempty"`
}

// TranscriptionInfo describes transcribed speech: all of a livekit.Transcription, or the attributes
// of a text stream on lk.transcription.
type TranscriptionInfo struct {
	// ParticipantIdentity names the speaker, TrackID the track.
	ParticipantIdentity string `json:"participant_identity,omitempty"`
	TrackID             string `json:"track_id,omitempty"`
	// Segments lists the segments. A stream has one, without text, because its text is the payload
	// of the line. Its id is that of the stream if the sender names no segment.
	Segments []TranscriptionSegment `json:"segments,omitempty"`
}

// TranscriptionSegment is one version of a part of transcribed speech. A later version from the
// same sender with the same ID replaces it; none should follow a Final one. The last version
// counts, even if the sender marks none as Final.
type TranscriptionSegment struct {
	ID   string `json:"id,omitempty"`
	Text string `json:"text,omitempty"`
	// StartTime and EndTime have no unit in the protocol.
	StartTime uint64 `json:"start_time,omitempty"`
	EndTime   uint64 `json:"end_time,omitempty"`
	Final     bool   `json:"final"`
	Language  string `json:"language,omitempty"`
}

// RPCInfo is a part of a remote procedure call; its payload is that of the line.
type RPCInfo struct {
	Type string `json:"type"` // "request", "ack" or "response"
	ID   string `json:"id,omitempty"`
	// Method, TimeoutMS and Version are those of a request.
	Method    string `json:"method,omitempty"`
	TimeoutMS uint32 `json:"timeout_ms,omitempty"`
	Version   uint32 `json:"version,omitempty"`
	// Compressed is true if the payload is still compressed, as it was sent.
	Compressed bool      `json:"compressed,omitempty"`
	Error      *RPCError `json:"error,omitempty"`
}

// RPCError is the error response of a remote procedure.
type RPCError struct {
	Code    uint32 `json:"code"`
	Message string `json:"message,omitempty"`
	Data    string `json:"data,omitempty"`
}

// SIPDTMFInfo is a key that was pressed on a telephone.
type SIPDTMFInfo struct {
	Code  uint32 `json:"code"`
	Digit string `json:"digit,omitempty"`
}

// EncryptionInfo states how a packet was encrypted and whether it was decrypted.
type EncryptionInfo struct {
	Type     string `json:"type"` // "none", "gcm" or "custom"
	KeyIndex uint32 `json:"key_index"`
	// Decrypted is true if the line shows the content. Otherwise the line is of kind "encrypted",
	// or of kind "data_track" with the ciphertext, and Reason states why.
	Decrypted bool   `json:"decrypted"`
	Reason    string `json:"reason,omitempty"`
}

// Values of [EncryptionInfo].Reason.
const (
	EncryptedNoKey     = "no_key"    // there was no key when the recording was exported
	EncryptedWrongKey  = "wrong_key" // no key matches, or the ciphertext is damaged
	EncryptedMalformed = "malformed" // it could not have been decrypted with any key
	// one of several packets of a data track's frame, which is encrypted as a whole
	EncryptedPart = "part"
)

// StreamInfo describes a reassembled text or byte stream. Its line has the position at which the
// last packet arrived, or at which the stream was found to be incomplete. The content is the
// payload of the line or the object File.
type StreamInfo struct {
	ID       string `json:"id"`
	MIMEType string `json:"mime_type,omitempty"`
	Name     string `json:"name,omitempty"`
	// as announced by the sender, see LengthUnit
	TotalLength *uint64 `json:"total_length,omitempty"`
	// LengthUnit is present if the stream is complete and TotalLength is not its size in bytes, see
	// LengthUTF16.
	LengthUnit string `json:"length_unit,omitempty"`
	// Attributes are those of the header, overridden by those of the trailer.
	Attributes map[string]string `json:"attributes,omitempty"`
	// Complete is true if the content is proved to be exactly what was sent. Otherwise Incomplete
	// gives the reason, one of the constants below.
	Complete   bool   `json:"complete"`
	Incomplete string `json:"incomplete,omitempty"`
	SentMS     int64  `json:"sent_ms,omitempty"` // sender's clock, milliseconds
	// StartedUnixNS is the reception time of the stream's first packet.
	StartedUnixNS int64 `json:"started_unix_ns,omitempty"`
	// Size is the number of content bytes received, after decompression.
	Size int64 `json:"size"`
	// File is the key of the received bytes, relative to the prefix.
	File string `json:"file,omitempty"`

	// Operation ("update", "delete", "reaction"; absent: "create"), Version, ReplyTo,
	// AttachedStreamIDs and Generated come from the header of a text stream.
	Operation         string   `json:"operation,omitempty"`
	Version           int32    `json:"version,omitempty"`
	ReplyTo           string   `json:"reply_to,omitempty"`
	AttachedStreamIDs []string `json:"attached_stream_ids,omitempty"`
	Generated         bool     `json:"generated,omitempty"`

	// TrailerReason is the reason that the sender gave for closing the stream; absent if it closed
	// normally.
	TrailerReason string `json:"trailer_reason,omitempty"`
	// Inline is true if the content came in the header. Compression is the compression that the
	// sender used. Encoding has the same value if the content here is still compressed.
	Inline      bool   `json:"inline,omitempty"`
	Compression string `json:"compression,omitempty"`
	Encoding    string `json:"encoding,omitempty"`
	// Chunks is the number of chunks received, ChunksMissing that of the missing ones below the
	// highest index, ChunksIgnored that of chunk packets without effect: repetitions and earlier
	// versions.
	Chunks        uint64 `json:"chunks,omitempty"`
	ChunksMissing uint64 `json:"chunks_missing,omitempty"`
	ChunksIgnored uint64 `json:"chunks_ignored,omitempty"`
	// FirstChunk is the index of the first chunk of a complete stream whose sender did not count
	// from 0.
	FirstChunk uint64 `json:"first_chunk,omitempty"`
	// ContinuedBy are the participant sids of the sender's later connections, after it rejoined,
	// that carried the rest of the stream.
	ContinuedBy []string `json:"continued_by,omitempty"`
}

// Values of [StreamInfo].LengthUnit.
const (
	LengthUTF16   = "utf16"   // UTF-16 code units: some senders count the length of a string
	LengthUnknown = "unknown" // neither bytes nor UTF-16 code units
)

// Values of [StreamInfo].Incomplete. If several apply, the first in this list is used.
const (
	// StreamNoHeader: the start was not received, for example because the recorder joined later.
	// The stream's name and whether it is text are unknown.
	StreamNoHeader = "no_header"
	// StreamMemoryLimit: too many streams were open at the same time; later packets were not
	// reassembled. StreamFileLimit: the recording has too many files.
	StreamMemoryLimit = "memory_limit"
	StreamFileLimit   = "file_limit"
	// StreamIDReused: the sender reused the id before the stream had ended, or it is unknown which
	// packets belong to which stream.
	StreamIDReused = "id_reused"
	// StreamConflict: the sender sent different contents as the same chunk.
	StreamConflict = "conflicting_chunks"
	// StreamEncryptionMixed: only part of the stream was encrypted.
	StreamEncryptionMixed = "encryption_mixed"
	// StreamSenderLeft, StreamRecordingEnded: the sender left, or the recording ended, before a
	// trailer arrived.
	StreamSenderLeft     = "sender_left"
	StreamRecordingEnded = "recording_ended"
	// StreamAborted: the trailer gives a reason.
	StreamAborted       = "aborted"
	StreamMissingChunks = "missing_chunks"
	// StreamCompressionUnknown, StreamUndecodable, StreamInflateLimit: the content could not be
	// decompressed, or would become too large. It is kept as received.
	StreamCompressionUnknown = "compression_unknown"
	StreamUndecodable        = "undecodable"
	StreamInflateLimit       = "decompression_limit"
	// StreamLengthDiffers: the length is not the one that the header announced.
	StreamLengthDiffers = "length_differs"
	// StreamUnproved: nothing is known to be missing, but neither the announced length nor the
	// sender's sequence proves that nothing more was sent.
	StreamUnproved = "unproved"
)

// TrackInfo is the header of a packet of a data track. An application's frame is one packet, or
// several consecutive ones. Each packet is a line with the packet's payload.
type TrackInfo struct {
	// SID is the server's name of the track; absent if the packet arrived before the server
	// announced the track.
	SID string `json:"sid,omitempty"`
	// Handle is the server's name of the track within one epoch.
	Handle uint16 `json:"handle"`
	// Sequence counts the packets of the track, Frame its frames; both wrap from 65535 to 0.
	Sequence uint16 `json:"sequence"`
	Frame    uint16 `json:"frame"`
	// Start and Final mark the first and the last packet of a frame; a frame in one packet has
	// both.
	Start bool `json:"start"`
	Final bool `json:"final"`
	// Timestamp is the time of the sender's clock: 90000 ticks per second, from a random start,
	// wrapping from 4294967295 to 0.
	Timestamp uint32 `json:"timestamp"`
	// UserTimestamp is the application's timestamp of the frame, in its own unit.
	UserTimestamp *uint64 `json:"user_timestamp,omitempty"`
	// ParticipantSID is taken unchecked from the packet. No LiveKit server or SDK writes it so far.
	ParticipantSID string `json:"participant_sid,omitempty"`
	// Extensions are the extensions of the header, not decoded.
	Extensions []TrackExtension `json:"extensions,omitempty"`
}

// TrackExtension is an extension of the header of a data track's packet.
type TrackExtension struct {
	ID   uint8  `json:"id"`
	Data []byte `json:"base64"`
}

// Payload returns the bytes of the payload, nil if the message has none. An empty payload is not
// nil.
func (m Message) Payload() []byte {
	if m.Text != nil {
		return []byte(*m.Text)
	}
	return m.Base64
}

// Timestamp is a time encoded in JSON as RFC 3339 in UTC with exactly nine fractional digits, so
// that the strings sort by time.
type Timestamp struct{ time.Time }

// UnixTimestamp returns the Timestamp of ns nanoseconds since 1970 (UTC).
func UnixTimestamp(ns int64) Timestamp { return Timestamp{time.Unix(0, ns).UTC()} }

const timestampLayout = "2006-01-02T15:04:05.000000000Z"

// MarshalJSON implements [json.Marshaler].
func (t Timestamp) MarshalJSON() ([]byte, error) {
	return t.UTC().AppendFormat(nil, `"`+timestampLayout+`"`), nil
}

// UnmarshalJSON implements [json.Unmarshaler]. It accepts any RFC 3339 time.
func (t *Timestamp) UnmarshalJSON(b []byte) error {
	if err := t.Time.UnmarshalJSON(b); err != nil {
		return fmt.Errorf("timestamp: %w", err)
	}
	t.Time = t.UTC()
	return nil
}

// AppendJSON appends m as one line of events.jsonl, without the newline, to b.
// Strings are not HTML-escaped.
func (m Message) AppendJSON(b []byte) []byte {
	if m.UnixNS == 0 && !m.Time.IsZero() {
		m.UnixNS = m.Time.UnixNano()
	}
	m.Time = time.Unix(0, m.UnixNS)
	if m.Event != nil && m.Event.Kind != "" { // it is that of the line
		event := *m.Event
		event.Kind = ""
		m.Event = &event
	}
	return appendMessage(b, &m)
}

// MarshalJSON implements [json.Marshaler] through AppendJSON.
func (m Message) MarshalJSON() ([]byte, error) { return m.AppendJSON(nil), nil }

// UnmarshalJSON implements [json.Unmarshaler] with the rules of [DecodeJSON].
// Unknown keys are ignored.
func (m *Message) UnmarshalJSON(b []byte) error {
	type fields Message // without the methods
	var f fields
	if err := DecodeJSON(b, &f); err != nil {
		return err
	}
	*m = Message(f)
	m.Time = m.Time.UTC()
	if m.Event != nil {
		m.Event.Kind = m.Kind
	}
	return nil
}

// encodeJSON writes v and a newline to buf, without HTML escaping.
func encodeJSON(buf *bytes.Buffer, indent string, v any) error {
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	return enc.Encode(v)
}

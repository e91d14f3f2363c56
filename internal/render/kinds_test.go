package render_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"strings"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode/decodetest"
	"github.com/syncflow/textegress/segment"
)

const passphrase = "a shared secret"

// from appends a packet of a sender with the next number.
func (r *recording) from(identity, sid string, p *livekit.DataPacket) {
	r.t.Helper()
	r.seq[sid]++
	p.ParticipantIdentity, p.ParticipantSid, p.Sequence = identity, sid, r.seq[sid]
	r.packet(p)
}

// track appends a packet of a data track: its flags, and what stands behind the fixed part of the
// header.
func (r *recording) track(handle, sequence byte, flags byte, rest string) {
	r.t.Helper()
	header := []byte{flags, 0, 0, handle, 0, sequence, 0, sequence, 0, 0, sequence, 0}
	r.append(segment.Frame{
		Type: segment.FramePacket, Channel: segment.ChannelDataTrack, Epoch: 1,
		Payload: append(header, rest...),
	})
}

func streamHeader(h *livekit.DataStream_Header) *livekit.DataPacket {
	return &livekit.DataPacket{Value: &livekit.DataPacket_StreamHeader{StreamHeader: h}}
}

func textHeader(id, topic string, total int, attributes ...string) *livekit.DataStream_Header {
	h := &livekit.DataStream_Header{
		StreamId: id, Topic: topic, MimeType: "text/plain", Timestamp: 1749673840000,
		ContentHeader: &livekit.DataStream_Header_TextHeader{
			TextHeader: &livekit.DataStream_TextHeader{},
		},
	}
	if total >= 0 {
		h.TotalLength = new(uint64(total))
	}
	for i := 0; i < len(attributes); i += 2 {
		if h.Attributes == nil {
			h.Attributes = map[string]string{}
		}
		h.Attributes[attributes[i]] = attributes[i+1]
	}
	return h
}

func byteHeader(id, name, mime string, total int) *livekit.DataStream_Header {
	return &livekit.DataStream_Header{
		StreamId: id, Topic: "files", MimeType: mime, Timestamp: 1749673840000,
		TotalLength: new(uint64(total)),
		ContentHeader: &livekit.DataStream_Header_ByteHeader{
			ByteHeader: &livekit.DataStream_ByteHeader{Name: name},
		},
	}
}

func streamChunk(id string, index uint64, content string) *livekit.DataPacket {
	return &livekit.DataPacket{
		Value: &livekit.DataPacket_StreamChunk{StreamChunk: &livekit.DataStream_Chunk{
			StreamId: id, ChunkIndex: index, Content: []byte(content),
		}},
	}
}

func streamTrailer(id, reason string, attributes map[string]string) *livekit.DataPacket {
	return &livekit.DataPacket{Value: &livekit.DataPacket_StreamTrailer{
		StreamTrailer: &livekit.DataStream_Trailer{
			StreamId: id, Reason: reason, Attributes: attributes,
		},
	}}
}

// stream appends header, chunks of 4 bytes and trailer.
func (r *recording) stream(identity, sid string, h *livekit.DataStream_Header, wire string) {
	r.t.Helper()
	r.from(identity, sid, streamHeader(h))
	for i := uint64(0); len(wire) > 0; i++ {
		n := min(4, len(wire))
		r.from(identity, sid, streamChunk(h.StreamId, i, wire[:n]))
		wire = wire[n:]
	}
	r.from(identity, sid, streamTrailer(h.StreamId, "", nil))
}

func deflated(s string) string {
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.BestCompression)
	if err == nil {
		_, err = w.Write([]byte(s))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return buf.String()
}

// writeKinds records everything that LiveKit can carry, as its SDKs send it and as nobody should.
func writeKinds(r *recording) {
	const alice, a, bot, b = "alice", "PA_a", "agent-1", "PA_agent"
	r.joined(1, "RM_1")
	r.event(1, segment.Event{
		Kind: textegress.KindParticipantJoined, Identity: alice, ParticipantSID: a,
		Name: "Alice A.", Metadata: "{}",
		Attributes: map[string]string{"group": "2"}, ParticipantKind: "standard",
	})
	r.event(1, segment.Event{
		Kind: textegress.KindParticipantJoined, Identity: bot, ParticipantSID: b,
		ParticipantKind: "agent",
	})
	r.from("early", "PA_e", streamChunk("running", 7, "the end of something"))
	r.from("early", "PA_e", streamTrailer("running", "", nil))

	// User packets, chat in its three generations.
	r.from(alice, a, &livekit.DataPacket{Value: &livekit.DataPacket_User{User: &livekit.UserPacket{
		Payload: []byte("everything"), Topic: new("log"), Id: new("u1"), Nonce: []byte{1, 2},
		StartTime: new(uint64(10)), EndTime: new(uint64(20)),
	}}})
	r.packet(&livekit.DataPacket{
		Kind: livekit.DataPacket_LOSSY,
		//nolint:staticcheck // deprecated, but the server fills it in
		ParticipantIdentity: alice, ParticipantSid: a,
		Value: &livekit.DataPacket_User{User: &livekit.UserPacket{
			Payload: []byte("lossy"),
			Topic:   new("cursor"),
		}},
	})
	r.say(alice, a, "sensor", "\x00\x01\x02\xff\xfe")
	r.say(alice, a, "latin-1", "caf\xe9 au lait")
	chat := func(c *livekit.ChatMessage) {
		c.Timestamp = 1749673840000
		r.from(alice, a, &livekit.DataPacket{
			Value: &livekit.DataPacket_ChatMessage{ChatMessage: c},
		})
	}
	chat(&livekit.ChatMessage{Id: "m1", Message: "helo"})
	r.say(alice, a, "lk-chat-topic",
		`{"id":"m1","timestamp":1749673840000,"message":"helo","ignore":true}`)
	chat(&livekit.ChatMessage{Id: "m1", Message: "hello", EditTimestamp: new(int64(1749673841000))})
	chat(&livekit.ChatMessage{Id: "m1", Deleted: true})
	h := textHeader("m2", "lk.chat", 12)
	h.GetTextHeader().ReplyToStreamId, h.GetTextHeader().AttachedStreamIds = "m1", []string{"pic"}
	r.stream(alice, a, h, "look at 👀")
	r.stream(alice, a, byteHeader("pic", "../pic\n.png", "image/png", 6), "\x89PNG\xff\x00")
	r.say(alice, a, "lk-chat-topic",
		`{"id":"m2","timestamp":1749673840000,"message":"look at 👀","ignoreLegacy":true}`)
	r.say(alice, a, "lk-chat-topic",
		`{"id":"m3","timestamp":1749673840000,"message":"its original was lost","ignoreLegacy":true}`)

	// Streams, version 1 and 2.
	r.from(alice, a, streamHeader(textHeader("live", "notes", -1)))
	r.from(alice, a, streamChunk("live", 0, "as I "))
	r.from(alice, a, streamChunk("live", 1, "type"))
	r.from(alice, a, streamTrailer("live", "", map[string]string{"words": "3"}))
	inline := textHeader("inline", "notes", 5)
	inline.InlineContent = []byte("short")
	r.from(alice, a, streamHeader(inline))
	packed := textHeader("packed", "notes", 300)
	packed.InlineContent, packed.Compression = []byte(deflated(strings.Repeat("abc", 100))),
		livekit.DataStream_DEFLATE_RAW
	r.from(alice, a, streamHeader(packed))
	zipped := byteHeader("zipped", "log.txt", "text/plain; charset=utf-8", 200)
	zipped.Compression = livekit.DataStream_DEFLATE_RAW
	r.stream(alice, a, zipped, deflated(strings.Repeat("0123456789\n---------", 10)))
	r.stream(alice, a, byteHeader("twice", "same.bin", "nonsense", 1), "1")
	r.stream(alice, a, byteHeader("twice", "same.bin", "", 1), "2")
	// and most of it is missing
	r.stream(alice, a, textHeader("long", "essay", 1<<20+1), strings.Repeat("x", 4))

	// What goes wrong.
	r.from(alice, a, streamHeader(textHeader("holes", "notes", 6)))
	r.from(alice, a, streamChunk("holes", 0, "ab"))
	r.from(alice, a, streamChunk("holes", 2, "ef"))
	r.from(alice, a, streamTrailer("holes", "", nil))
	r.from(alice, a, streamHeader(textHeader("aborted", "notes", -1)))
	r.from(alice, a, streamChunk("aborted", 0, "never mi"))
	r.from(alice, a, streamTrailer("aborted", "interrupted", nil))
	broken := byteHeader("broken", "x.gz", "application/gzip", 100)
	broken.Compression = livekit.DataStream_DEFLATE_RAW
	r.stream(alice, a, broken, "\xff\xff\xff\xff")

	// Speech, telephone, procedures.
	r.from(bot, b, &livekit.DataPacket{Value: &livekit.DataPacket_Transcription{
		Transcription: &livekit.Transcription{
			TranscribedParticipantIdentity: alice, TrackId: "TR_1",
			Segments: []*livekit.TranscriptionSegment{
				{Id: "SG_1", Text: "good mor", Language: "en"}, {
					Id: "SG_1", Text: "Good morning.",
					Final: true, Language: "en", StartTime: 1, EndTime: 2,
				},
			},
		},
	}})
	r.stream(bot, b, textHeader("t1", "lk.transcription", 8,
		"lk.segment_id", "SG_1", "lk.transcription_final", "false", "lk.transcribed_track_id",
		"TR_1"), "good mor")
	r.stream(bot, b, textHeader("t2", "lk.transcription", 13,
		"lk.segment_id", "SG_1", "lk.transcription_final", "true", "lk.transcribed_track_id",
		"TR_1"), "Good morning.")
	r.from("phone", "PA_p", &livekit.DataPacket{
		Value: &livekit.DataPacket_SipDtmf{SipDtmf: &livekit.SipDTMF{Code: 11, Digit: "#"}},
	})
	r.from(alice, a, &livekit.DataPacket{
		DestinationIdentities: []string{bot, "text-egress-1"},
		Value: &livekit.DataPacket_RpcRequest{
			RpcRequest: &livekit.RpcRequest{
				Id: "r1", Method: "greet", Payload: `{"to":"bob"}`,
				ResponseTimeoutMs: 10000, Version: 1,
			},
		},
	})
	r.from(bot, b, &livekit.DataPacket{
		Value: &livekit.DataPacket_RpcAck{RpcAck: &livekit.RpcAck{RequestId: "r1"}},
	})
	r.from(bot, b, &livekit.DataPacket{
		Value: &livekit.DataPacket_RpcResponse{RpcResponse: &livekit.RpcResponse{
			RequestId: "r1", Value: &livekit.RpcResponse_Error{Error: &livekit.RpcError{
				Code:    1400,
				Message: "unsupported method",
			}},
		}},
	})
	r.stream(alice, a, textHeader("q", "lk.rpc_request", 2, "lk.rpc_request_id", "r2",
		"lk.rpc_request_method", "add",
		"lk.rpc_request_response_timeout_ms", "8000", "lk.rpc_request_version", "2"), "{}")
	r.stream(bot, b, textHeader("p", "lk.rpc_response", 1, "lk.rpc_request_id", "r2"), "5")
	r.from(alice, a, &livekit.DataPacket{
		Value: &livekit.DataPacket_Metrics{Metrics: &livekit.MetricsBatch{TimestampMs: 1}},
	})
	later, err := proto.Marshal(&livekit.DataPacket{ParticipantIdentity: alice, ParticipantSid: a})
	if err != nil {
		r.t.Fatal(err)
	}
	r.raw(protowire.AppendBytes(protowire.AppendTag(later, 99, protowire.BytesType),
		[]byte("of a later version")))

	// Encrypted: with the right key, with another one, and a stream.
	r.from(alice, a, decodetest.Encrypt(passphrase, 1,
		&livekit.EncryptedPacketPayload{Value: &livekit.EncryptedPacketPayload_User{
			User: &livekit.UserPacket{Payload: []byte("between us"), Topic: new("secret")},
		}}))
	r.from(alice, a, decodetest.Encrypt("another secret", 2,
		&livekit.EncryptedPacketPayload{Value: &livekit.EncryptedPacketPayload_User{
			User: &livekit.UserPacket{Payload: []byte("for others")},
		}}))
	r.from(alice, a, decodetest.Encrypt(passphrase, 3,
		&livekit.EncryptedPacketPayload{Value: &livekit.EncryptedPacketPayload_StreamHeader{
			StreamHeader: byteHeader("e", "secret.txt", "text/plain", 6),
		}}))
	r.from(alice, a, decodetest.Encrypt(passphrase, 4,
		&livekit.EncryptedPacketPayload{Value: &livekit.EncryptedPacketPayload_StreamChunk{
			StreamChunk: streamChunk("e", 0, "secret").GetStreamChunk(),
		}}))
	r.from(alice, a, decodetest.Encrypt(passphrase, 5,
		&livekit.EncryptedPacketPayload{Value: &livekit.EncryptedPacketPayload_StreamTrailer{
			StreamTrailer: &livekit.DataStream_Trailer{StreamId: "e"},
		}}))

	// Data tracks: a packet before the server told whose it is, a frame in one packet and one in
	// two, and what is none.
	r.track(7, 0, 0x18, "early")
	r.event(1, segment.Event{
		Kind: textegress.KindDataTrackSubscribed, Identity: alice, ParticipantSID: a,
		TrackSID: "DTR_1", Name: "positions", Handle: 7,
	})
	r.track(7, 1, 0x18, `{"x":1}`)
	r.track(7, 2, 0x10, "\xff\x00\x01")
	r.track(7, 3, 0x08, "the rest")
	r.track(7, 4, 0x1c, "\x00\x02\x02\x08\x00\x00\x00\x00\x00\x00\x00\x2awith a time")
	iv := strings.Repeat("\x06", 12)
	sealed := decodetest.Encrypt(passphrase, 6,
		&livekit.EncryptedPacketPayload{Value: &livekit.EncryptedPacketPayload_User{
			User: &livekit.UserPacket{Payload: []byte("between us")},
		}}).GetEncryptedPacket().GetEncryptedValue()
	r.track(7, 5, 0x1c, "\x00\x04\x01\x0d\x00"+iv+"\x00\x00\x00"+string(sealed))
	r.track(7, 6, 0x1c, "\xff")

	// Those that are under way when something ends.
	r.event(1, segment.Event{
		Kind: textegress.KindParticipantUpdated, Identity: alice,
		ParticipantSID: a, Metadata: `{"hand":"up"}`, Attributes: map[string]string{"group": "3"},
	})
	r.event(1, segment.Event{Kind: textegress.KindRoomUpdated, RoomMetadata: "phase 2"})
	r.from("phone", "PA_p", streamHeader(textHeader("call", "notes", -1)))
	r.from("phone", "PA_p", streamChunk("call", 0, "hung "))
	r.from(bot, b, streamHeader(textHeader("forever", "notes", -1)))
	r.from(bot, b, streamChunk("forever", 0, "and so on"))
	r.event(1, segment.Event{
		Kind: textegress.KindParticipantLeft, Identity: "phone",
		ParticipantSID: "PA_p",
	})
	r.ns += 6e9
	for i := range 3 {
		r.say(alice, a, "log", fmt.Sprint("after that ", i))
	}
	r.seal(textegress.StatusComplete, "room_deleted")
}

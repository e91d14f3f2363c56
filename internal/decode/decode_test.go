package decode_test

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/segment"
)

const at = 1_749_674_440_123_456_789

func frame(t testing.TB, c segment.Channel, p *livekit.DataPacket) segment.Frame {
	t.Helper()
	b, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return segment.Frame{Type: segment.FramePacket, Channel: c, Epoch: 2, UnixNS: at, Payload: b}
}

// lines decodes frames.
func lines(t testing.TB, o decode.Options, frames ...segment.Frame) []*decode.Line {
	t.Helper()
	if o.Scratch == nil {
		o.Scratch = func() (decode.Scratch, error) { return &scratch{}, nil }
	}
	d := decode.New(o)
	defer d.Close()
	var got []*decode.Line
	emit := func(l *decode.Line) error {
		if l.Content != nil { // keep it, as a file would
			b, err := io.ReadAll(l.Content.Open())
			if err != nil {
				return err
			}
			l.Base64 = b
		}
		kept := *l // it is valid until emit returns
		got = append(got, &kept)
		return nil
	}
	for _, f := range frames {
		f.Payload = bytes.Clone(f.Payload)
		if err := d.Frame(f, emit); err != nil {
			t.Fatal(err)
		}
		for i := range f.Payload {
			f.Payload[i] = 0xa5 // the buffer is the reader's, who uses it again
		}
	}
	if err := d.End(emit); err != nil {
		t.Fatal(err)
	}
	return got
}

// packetMessage decodes a packet that makes one line.
func packetMessage(t testing.TB, f segment.Frame) (textegress.Message, bool) {
	t.Helper()
	got := lines(t, decode.Options{}, f)
	if len(got) != 1 {
		t.Fatalf("%d lines", len(got))
	}
	return got[0].Message, !got[0].Undecodable
}

// scratch is a scratch file in memory.
type scratch struct{ data []byte }

func (s *scratch) WriteAt(p []byte, off int64) (int, error) {
	if end := int(off) + len(p); end > len(s.data) {
		s.data = append(s.data, make([]byte, end-len(s.data))...)
	}
	return copy(s.data[off:], p), nil
}

func (s *scratch) ReadAt(p []byte, off int64) (int, error) {
	if int(off)+len(p) > len(s.data) {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(p, s.data[off:]), nil
}

func (s *scratch) Close() error { return nil }

func userPacket(u *livekit.UserPacket) *livekit.DataPacket {
	return &livekit.DataPacket{
		ParticipantIdentity: "alice", ParticipantSid: "PA_alice", Sequence: 7,
		Value: &livekit.DataPacket_User{User: u},
	}
}

func TestPacket(t *testing.T) {
	want := func(change func(*textegress.Message)) textegress.Message {
		m := textegress.Message{
			Kind: textegress.KindData, Time: time.Unix(0, at).UTC(), UnixNS: at, Epoch: 2,
			Identity: "alice", ParticipantSID: "PA_alice", Sequence: 7, Reliable: new(true),
		}
		change(&m)
		return m
	}
	raw := func(p *livekit.DataPacket) []byte { return frame(t, 0, p).Payload }
	alice := func(p *livekit.DataPacket) *livekit.DataPacket {
		p.ParticipantIdentity, p.ParticipantSid, p.Sequence = "alice", "PA_alice", 7
		return p
	}
	metrics := alice(&livekit.DataPacket{
		Value: &livekit.DataPacket_Metrics{Metrics: &livekit.MetricsBatch{TimestampMs: 1}},
	})
	encrypted := &livekit.DataPacket{
		ParticipantIdentity: "alice", ParticipantSid: "PA_alice", Sequence: 7,
		Value: &livekit.DataPacket_EncryptedPacket{EncryptedPacket: &livekit.EncryptedPacket{
			EncryptedValue: []byte{1, 2},
		}},
	}
	for name, tc := range map[string]struct {
		channel segment.Channel
		packet  *livekit.DataPacket
		want    textegress.Message
	}{
		"text": {
			1, userPacket(&livekit.UserPacket{Payload: []byte("hi"), Topic: new("chat")}),
			want(func(m *textegress.Message) {
				m.Topic, m.Text = "chat", new("hi")
			}),
		},
		"empty payload": {
			1, userPacket(&livekit.UserPacket{}),
			want(func(m *textegress.Message) { m.Text = new("") }),
		},
		"binary payload": {
			1, userPacket(&livekit.UserPacket{Payload: []byte{0xff, 0}}),
			want(func(m *textegress.Message) {
				m.Base64 = []byte{0xff, 0}
			}),
		},
		"NUL is text": {
			1, userPacket(&livekit.UserPacket{Payload: []byte{0}}),
			want(func(m *textegress.Message) { m.Text = new("\x00") }),
		},
		"everything a user packet has": {1, userPacket(&livekit.UserPacket{
			Payload: []byte("x"), Id: new("id"), Nonce: []byte{9}, StartTime: new(uint64(0)),
			EndTime: new(uint64(5)),
		}), want(func(m *textegress.Message) {
			m.Text = new("x")
			m.User = &textegress.UserInfo{
				ID: "id", Nonce: []byte{9}, StartTime: new(uint64(0)),
				EndTime: new(uint64(5)),
			}
		})},
		"lossy by channel": {
			2, userPacket(&livekit.UserPacket{}),
			want(func(m *textegress.Message) { m.Text, m.Reliable = new(""), new(false) }),
		},
		"lossy by the packet's own word": {1, &livekit.DataPacket{
			Kind:  livekit.DataPacket_LOSSY,
			Value: &livekit.DataPacket_User{User: &livekit.UserPacket{}},
		}, want(func(m *textegress.Message) {
			*m = textegress.Message{
				Kind: m.Kind, Time: m.Time, UnixNS: at, Epoch: 2, Text: new(""),
				Reliable: new(false),
			}
		})},
		"sender only on the user packet": {
			1,
			&livekit.DataPacket{Sequence: 7, Value: &livekit.DataPacket_User{
				User: &livekit.UserPacket{ParticipantIdentity: "alice", ParticipantSid: "PA_alice"},
			}}, want(func(m *textegress.Message) { m.Text = new("") }),
		},
		"the packet's sender goes before the user packet's": {1, func() *livekit.DataPacket {
			p := userPacket(&livekit.UserPacket{
				ParticipantIdentity: "mallory",
				ParticipantSid:      "PA_mallory",
			})
			return p
		}(), want(func(m *textegress.Message) { m.Text = new("") })},
		"unknown sender": {1, &livekit.DataPacket{Value: &livekit.DataPacket_User{
			User: &livekit.UserPacket{},
		}}, want(func(m *textegress.Message) {
			m.Identity, m.ParticipantSID, m.Sequence, m.Text = "", "", 0, new("")
		})},
		"chat": {1, &livekit.DataPacket{
			ParticipantIdentity: "alice", ParticipantSid: "PA_alice",
			Sequence: 7, Value: &livekit.DataPacket_ChatMessage{
				ChatMessage: &livekit.ChatMessage{
					Id: "c", Timestamp: 5,
					EditTimestamp: new(int64(6)),
					Message:       "hello", Deleted: true, Generated: true,
				},
			},
		}, want(func(m *textegress.Message) {
			m.Kind, m.Text = textegress.KindChat, new("hello")
			m.Chat = &textegress.ChatInfo{
				ID: "c", TimestampMS: 5, EditTimestampMS: 6,
				Deleted: true, Generated: true,
			}
		})},
		"known, not decoded": {1, metrics, want(func(m *textegress.Message) {
			m.Kind, m.Field, m.FieldName, m.Base64 = textegress.KindUnknown, 8, "metrics",
				raw(metrics)
		})},
		"addressed to us too": {1, &livekit.DataPacket{
			ParticipantIdentity: "alice", ParticipantSid: "PA_alice", Sequence: 7,
			DestinationIdentities: []string{"recorder", "bob"},
			Value:                 &livekit.DataPacket_User{User: &livekit.UserPacket{}},
		}, want(func(m *textegress.Message) {
			m.Text, m.DestinationIdentities = new(""), []string{"recorder", "bob"}
		})},
		"transcription": {1, alice(&livekit.DataPacket{Value: &livekit.DataPacket_Transcription{
			Transcription: &livekit.Transcription{
				TranscribedParticipantIdentity: "bob", TrackId: "TR_1",
				Segments: []*livekit.TranscriptionSegment{
					{Id: "s1", Text: "hel", StartTime: 1, EndTime: 2, Language: "en"},
					{Id: "s2", Text: "hello", Final: true},
				},
			},
		}}), want(func(m *textegress.Message) {
			m.Kind = textegress.KindTranscription
			m.Transcription = &textegress.TranscriptionInfo{
				ParticipantIdentity: "bob",
				TrackID:             "TR_1", Segments: []textegress.TranscriptionSegment{
					{ID: "s1", Text: "hel", StartTime: 1, EndTime: 2, Language: "en"},
					{ID: "s2", Text: "hello", Final: true},
				},
			}
		})},
		"telephone key": {
			1, alice(&livekit.DataPacket{Value: &livekit.DataPacket_SipDtmf{
				SipDtmf: &livekit.SipDTMF{Code: 11, Digit: "#"},
			}}),
			want(func(m *textegress.Message) {
				m.Kind, m.SIPDTMF = textegress.KindSIPDTMF,
					&textegress.SIPDTMFInfo{Code: 11, Digit: "#"}
			}),
		},
		"procedure call": {1, alice(&livekit.DataPacket{
			Value: &livekit.DataPacket_RpcRequest{RpcRequest: &livekit.RpcRequest{
				Id: "r", Method: "greet", Payload: "hi", ResponseTimeoutMs: 100, Version: 1,
			}},
		}), want(func(m *textegress.Message) {
			m.Kind, m.Text = textegress.KindRPC, new("hi")
			m.RPC = &textegress.RPCInfo{
				Type: "request", ID: "r", Method: "greet", TimeoutMS: 100,
				Version: 1,
			}
		})},
		"procedure call, compressed": {
			1,
			alice(&livekit.DataPacket{
				Value: &livekit.DataPacket_RpcRequest{RpcRequest: &livekit.RpcRequest{
					Id: "r", CompressedPayload: []byte{0xff, 1},
				}},
			}), want(func(m *textegress.Message) {
				m.Kind, m.Base64, m.RPC = textegress.KindRPC, []byte{0xff, 1},
					&textegress.RPCInfo{Type: "request", ID: "r", Compressed: true}
			}),
		},
		"procedure call acknowledged": {
			1, alice(&livekit.DataPacket{
				Value: &livekit.DataPacket_RpcAck{RpcAck: &livekit.RpcAck{RequestId: "r"}},
			}),
			want(func(m *textegress.Message) {
				m.Kind, m.RPC = textegress.KindRPC, &textegress.RPCInfo{Type: "ack", ID: "r"}
			}),
		},
		"procedure call answered": {
			1,
			alice(&livekit.DataPacket{Value: &livekit.DataPacket_RpcResponse{
				RpcResponse: &livekit.RpcResponse{
					RequestId: "r", Value: &livekit.RpcResponse_Payload{Payload: "hello"},
				},
			}}), want(func(m *textegress.Message) {
				m.Kind, m.Text, m.RPC = textegress.KindRPC, new("hello"),
					&textegress.RPCInfo{Type: "response", ID: "r"}
			}),
		},
		"procedure call answered, compressed": {
			1,
			alice(&livekit.DataPacket{Value: &livekit.DataPacket_RpcResponse{
				RpcResponse: &livekit.RpcResponse{
					RequestId: "r", Value: &livekit.RpcResponse_CompressedPayload{
						CompressedPayload: []byte{0xfe},
					},
				},
			}}), want(func(m *textegress.Message) {
				m.Kind, m.Base64, m.RPC = textegress.KindRPC, []byte{0xfe},
					&textegress.RPCInfo{Type: "response", ID: "r", Compressed: true}
			}),
		},
		"procedure call failed": {
			1,
			alice(&livekit.DataPacket{Value: &livekit.DataPacket_RpcResponse{
				RpcResponse: &livekit.RpcResponse{
					RequestId: "r", Value: &livekit.RpcResponse_Error{
						Error: &livekit.RpcError{
							Code:    1400,
							Message: "no", Data: "d",
						},
					},
				},
			}}), want(func(m *textegress.Message) {
				m.Kind = textegress.KindRPC
				m.RPC = &textegress.RPCInfo{
					Type: "response", ID: "r",
					Error: &textegress.RPCError{Code: 1400, Message: "no", Data: "d"},
				}
			}),
		},
		"encrypted": {1, encrypted, want(func(m *textegress.Message) {
			m.Kind, m.Field, m.FieldName, m.Base64 = textegress.KindEncrypted, 18,
				"encrypted_packet", raw(encrypted)
			m.Encryption = &textegress.EncryptionInfo{
				Type:   "none",
				Reason: textegress.EncryptedNoKey,
			}
		})},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := packetMessage(t, frame(t, tc.channel, tc.packet))
			if !ok {
				t.Error("called undecodable")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCaseOfALaterProtocol(t *testing.T) {
	b, err := proto.Marshal(&livekit.DataPacket{ParticipantIdentity: "alice", Sequence: 3})
	if err != nil {
		t.Fatal(err)
	}
	b = protowire.AppendTag(b, 900, protowire.VarintType) // a field that is no case of the oneof
	b = protowire.AppendVarint(b, 1)
	b = protowire.AppendTag(b, 901, protowire.BytesType)
	b = protowire.AppendBytes(b, []byte("new"))
	got, ok := packetMessage(t, segment.Frame{
		Type: segment.FramePacket, Channel: segment.ChannelReliable,
		Payload: b,
	})
	if !ok || got.Kind != textegress.KindUnknown || got.Field != 901 || got.FieldName != "" ||
		!bytes.Equal(got.Base64, b) {
		t.Errorf("got %+v, ok %v", got, ok)
	}
	if got.Identity != "alice" || got.Sequence != 3 {
		t.Errorf("the sender is lost: %+v", got)
	}
}

func TestUndecodable(t *testing.T) {
	for name, payload := range map[string][]byte{
		"nothing":         {},
		"no protobuf":     {0xff, 0xff, 0xff},
		"truncated":       {0x12, 0x7f, 'x'},
		"invalid UTF-8":   append([]byte{0x22, 1}, 0xff), // participant_identity
		"no case at all":  {0x80, 0x01, 0x05},            // sequence only
		"unknown numbers": {0x98, 0x38, 0x01},            // a number, so no case of the oneof
	} {
		got, ok := packetMessage(t, segment.Frame{
			Type:    segment.FramePacket,
			Channel: segment.ChannelReliable, UnixNS: at, Payload: payload,
		})
		if ok || got.Kind != textegress.KindUnknown || !bytes.Equal(got.Base64, payload) ||
			got.Base64 == nil || got.UnixNS != at {
			t.Errorf("%s: %+v, ok %v; want the raw bytes, undecodable", name, got, ok)
		}
	}
}

func TestEvent(t *testing.T) {
	f := segment.Frame{
		Type: segment.FrameEvent, UnixNS: at, Epoch: 1,
		Payload: []byte(
			`{"kind":"participant_joined","identity":"bob","participant_sid":"PA_b","attributes":{"a":"b"}}`),
	}
	got, ok := decode.Event(f)
	want := textegress.Message{
		Kind: textegress.KindParticipantJoined, Time: time.Unix(0, at).UTC(), UnixNS: at, Epoch: 1,
		Identity: "bob", ParticipantSID: "PA_b",
		Event: &textegress.Event{
			Kind: textegress.KindParticipantJoined, Identity: "bob",
			ParticipantSID: "PA_b", Attributes: map[string]string{"a": "b"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("ok %v, message (-want +got):\n%s", ok, diff)
	}
	f.Payload = []byte(`{"kind":"joined","identity":"text-egress-1","participant_sid":"PA_us"}`)
	if m, ok := decode.Event(f); !ok || m.Identity != "" || m.ParticipantSID != "" {
		t.Errorf("we are no participant: %+v, ok %v", m, ok)
	}
	f.Payload = []byte(`{"kind":"outage_ended"}`)
	if m, ok := decode.Event(f); !ok || m.Event != nil {
		t.Errorf("no details: %+v, ok %v", m, ok)
	}
	for _, bad := range []string{
		"", "null", "{}", "[1]", `{"kind":"data"}`,
		`{"kind":"of a later version"}`, "\xff",
	} {
		f.Payload = []byte(bad)
		if m, ok := decode.Event(f); ok || m.Kind != textegress.KindUnknown ||
			string(m.Base64) != bad {
			t.Errorf("%q: %+v, ok %v", bad, m, ok)
		}
	}
}

// Whatever the bytes are: no panic, a message that can be encoded, and nothing lost: the payload or
// the raw packet.
func FuzzPacket(f *testing.F) {
	for _, p := range []*livekit.DataPacket{
		userPacket(&livekit.UserPacket{
			Payload: []byte("hello\n|\x00"), Topic: new("t"),
			Nonce: []byte{1},
		}),
		{Value: &livekit.DataPacket_ChatMessage{ChatMessage: &livekit.ChatMessage{Message: "m"}}},
		{Value: &livekit.DataPacket_RpcRequest{RpcRequest: &livekit.RpcRequest{Id: "r"}}},
	} {
		f.Add(uint8(1), frame(f, 1, p).Payload)
	}
	f.Add(uint8(2), []byte{0xff})
	f.Add(uint8(3), []byte{})
	f.Fuzz(func(t *testing.T, channel uint8, b []byte) {
		fr := segment.Frame{
			Type: segment.FramePacket, Channel: segment.Channel(channel), UnixNS: at,
			Payload: bytes.Clone(b),
		}
		got := lines(t, decode.Options{}, fr)
		if len(got) != 1 {
			t.Fatalf("%d lines", len(got))
		}
		m, ok := got[0].Message, !got[0].Undecodable
		line, err := json.Marshal(m)
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		var back textegress.Message
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatalf("decode %s: %v", line, err)
		}
		switch m.Kind {
		case textegress.KindData, textegress.KindChat:
			var p livekit.DataPacket
			if err := proto.Unmarshal(b, &p); err != nil || !ok {
				t.Fatalf("decoded though %v", err)
			}
			want := p.GetUser().GetPayload()
			if c := p.GetChatMessage(); c != nil {
				want = []byte(c.Message)
			}
			if !bytes.Equal(back.Payload(), want) || (m.Text != nil) != utf8.Valid(want) {
				t.Fatalf("payload %q became %q", want, back.Payload())
			}
		case textegress.KindUnknown, textegress.KindEncrypted:
			if !bytes.Equal(back.Base64, b) {
				t.Fatalf("raw packet %x became %x", b, back.Base64)
			}
		}
	})
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"kind":"joined","room_sid":"RM_x"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := decode.Event(segment.Frame{Type: segment.FrameEvent, Payload: b})
		if _, err := json.Marshal(m); err != nil {
			t.Fatalf("encode: %v", err)
		}
		if !ok && !bytes.Equal(m.Base64, b) {
			t.Fatalf("raw event %x became %x", b, m.Base64)
		}
	})
}

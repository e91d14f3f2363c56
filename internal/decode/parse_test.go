package decode

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress/internal/wire"
	"github.com/syncflow/textegress/segment"
)

// common are packets that the parser must read itself: for anything less, it would be of no use.
func common() []*livekit.DataPacket {
	user := &livekit.UserPacket{
		Payload: []byte("{\"a\":1}"), Topic: new("log"),
		ParticipantIdentity: "é", ParticipantSid: "PA_1",
	}
	return []*livekit.DataPacket{
		{
			ParticipantIdentity: "alice", ParticipantSid: "PA_1", Sequence: 1 << 31,
			Value: &livekit.DataPacket_User{User: user},
		},
		{
			Kind:  livekit.DataPacket_LOSSY,
			Value: &livekit.DataPacket_User{User: &livekit.UserPacket{Payload: []byte{0xff, 0}}},
		},
		{Value: &livekit.DataPacket_User{User: &livekit.UserPacket{}}},
		{Value: &livekit.DataPacket_User{User: &livekit.UserPacket{Topic: new("")}}},
		{Sequence: 300, Value: &livekit.DataPacket_ChatMessage{ChatMessage: &livekit.ChatMessage{
			Id: "c", Message: strings.Repeat("héllo ", 40), Timestamp: 1 << 50,
		}}},
		{Value: &livekit.DataPacket_StreamChunk{StreamChunk: &livekit.DataStream_Chunk{
			StreamId: "s", ChunkIndex: 1 << 40, Content: bytes.Repeat([]byte{0xfe}, 500),
		}}},
		{ParticipantSid: "PA_2", Value: &livekit.DataPacket_StreamTrailer{
			StreamTrailer: &livekit.DataStream_Trailer{StreamId: "s", Reason: "error"},
		}},
	}
}

// rare are packets of which the parser may read some.
func rare() []*livekit.DataPacket {
	return []*livekit.DataPacket{
		{},
		{Kind: 2, Value: &livekit.DataPacket_User{User: &livekit.UserPacket{Payload: []byte("x")}}},
		{
			DestinationIdentities: []string{"bob", ""},
			Value: &livekit.DataPacket_User{
				User: &livekit.UserPacket{Payload: []byte("x")},
			},
		},
		{Value: &livekit.DataPacket_User{User: &livekit.UserPacket{
			Id:        new("i"),
			StartTime: new(uint64(1)), Nonce: []byte{1}, DestinationSids: []string{"PA_3"},
		}}},
		{Value: &livekit.DataPacket_ChatMessage{ChatMessage: &livekit.ChatMessage{
			Timestamp:     -1,
			EditTimestamp: new(int64(5)), Deleted: true, Generated: true,
		}}},
		{Value: &livekit.DataPacket_StreamChunk{StreamChunk: &livekit.DataStream_Chunk{
			StreamId: "s", Version: -3, Iv: []byte{1},
		}}},
		{Value: &livekit.DataPacket_StreamTrailer{StreamTrailer: &livekit.DataStream_Trailer{
			StreamId: "s", Attributes: map[string]string{"a": "b"},
		}}},
		{Value: &livekit.DataPacket_StreamHeader{StreamHeader: &livekit.DataStream_Header{
			StreamId: "s", Topic: "t", TotalLength: new(uint64(3)),
		}}},
		{Value: &livekit.DataPacket_EncryptedPacket{EncryptedPacket: &livekit.EncryptedPacket{
			Iv: []byte{1}, EncryptedValue: []byte{2},
		}}},
		{Value: &livekit.DataPacket_RpcAck{RpcAck: &livekit.RpcAck{RequestId: "r"}}},
	}
}

// agree holds the parser against proto.Unmarshal, and the decoder's envelope against Inspect.
func agree(t *testing.T, d *Decoder, b []byte) (accepted bool) {
	t.Helper()
	var want livekit.DataPacket
	err := proto.Unmarshal(b, &want)
	got, ok := d.parser.parse(b)
	if ok && (err != nil || !proto.Equal(got, &want)) {
		t.Fatalf("%x\nis read as %v\nby proto.Unmarshal as %v, %v", b, got, &want, err)
	}
	for c := segment.ChannelNone; c <= segment.ChannelDataTrack; c++ {
		f := segment.Frame{Type: segment.FramePacket, Channel: c, Epoch: 1, UnixNS: 5, Payload: b}
		if err := d.Frame(f, func(*Line) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Inspect(f), d.Envelope()); diff != "" {
			t.Fatalf("channel %v, %x: the envelope differs:\n%s", c, b, diff)
		}
	}
	return ok
}

func newTestDecoder() *Decoder {
	return New(Options{Scratch: func() (Scratch, error) { return noScratch{}, nil }})
}

type noScratch struct{}

func (noScratch) ReadAt(p []byte, _ int64) (int, error)  { return len(p), nil }
func (noScratch) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (noScratch) Close() error                           { return nil }

func marshal(t testing.TB, p *livekit.DataPacket) []byte {
	t.Helper()
	b, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParser_Agrees(t *testing.T) {
	d := newTestDecoder()
	defer d.Close() //nolint:errcheck // of no consequence
	var all [][]byte
	for _, p := range common() {
		b := marshal(t, p)
		if all = append(all, b); !agree(t, d, b) {
			t.Errorf("%v is left to proto.Unmarshal", p)
		}
	}
	for _, p := range rare() {
		all = append(all, marshal(t, p))
	}
	// Each of them, each two of them one behind the other (fields and cases of the oneof that stand
	// twice), cut and altered.
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, a := range all {
		agree(t, d, a)
		for _, b := range all {
			agree(t, d, append(bytes.Clone(a), b...))
		}
		for n := range min(len(a), 80) {
			agree(t, d, a[:n])
			for range 20 {
				b := bytes.Clone(a)
				b[n] = byte(rnd.Uint32())
				agree(t, d, b)
			}
			agree(t, d, append(append(bytes.Clone(a[:n]), 0x80), a[n:]...)) // longer numbers
		}
	}
}

// Many names do not make the decoder grow.
func TestParser_NamesAreBounded(t *testing.T) {
	var n names
	for i := range 3 * maxNames {
		name := []byte(strings.Repeat("x", i%300) + "é")
		s, ok := n.text(wire.Field{Type: protowire.BytesType, Bytes: name})
		if !ok || len(s) != len(name) {
			t.Fatalf("%q", s)
		}
		b := []byte{byte(i), byte(i >> 8), 'x'}
		b[0] &= 0x7f
		b[1] &= 0x7f
		n.text(wire.Field{Type: protowire.BytesType, Bytes: append(b, byte(i>>7)&0x7f)})
	}
	if len(n) > maxNames {
		t.Errorf("%d names are kept", len(n))
	}
	for s := range n {
		if len(s) > maxName {
			t.Errorf("a name of %d bytes is kept", len(s))
		}
	}
}

func FuzzParser(f *testing.F) {
	for _, p := range append(common(), rare()...) {
		f.Add(marshal(f, p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newTestDecoder()
		defer d.Close() //nolint:errcheck // of no consequence
		agree(t, d, b)
	})
}

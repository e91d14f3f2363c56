package decode_test

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/segment"
)

// choices is a source of decisions: random ones, or those of the fuzzer.
type choices interface{ below(n int) int }

type random struct{ *rand.Rand }

func (r random) below(n int) int { return r.IntN(n) }

// script makes decisions of bytes; when they are used up, it always takes the first possibility.
type script struct{ b []byte }

func (s *script) below(n int) int {
	if len(s.b) == 0 {
		return 0
	}
	c := int(s.b[0])
	s.b = s.b[1:]
	return c % n
}

// network is what happens to the packets on their way.
type network struct{ sequenced, loses, repeats, reorders, rejoins bool }

// sentStream is a stream as its sender meant it.
type sentStream struct {
	content []byte
	lost    bool // at least one of its packets did not arrive
}

// room makes the traffic of a few senders, and sends it through a network.
type room struct {
	c     choices
	n     network
	sent  []sentStream            // the header's attribute "nth" is the position in here
	queue [][]*livekit.DataPacket // of each sender
	owner map[*livekit.DataPacket]int
}

func (r *room) content() []byte {
	b := make([]byte, r.c.below(40))
	for i := range b {
		b[i] = "abc"[r.c.below(3)] // few letters: other chunks are easily taken for the right ones
	}
	if r.c.below(3) == 0 { // of one byte, two and four, of one UTF-16 unit and two
		b = []byte(strings.NewReplacer("b", "é", "c", "😀").Replace(string(b)))
	}
	return b
}

// total is the length that the header announces. A sender without numbers counts bytes: else what
// is missing at the end could make up for the difference, and nothing would tell.
func (r *room) total(h *livekit.DataStream_Header, content []byte) uint64 {
	if h.GetTextHeader() != nil && r.n.sequenced {
		switch r.c.below(4) {
		case 1:
			return uint64(len(utf16.Encode([]rune(string(content)))))
		case 2:
			if !r.n.loses {
				return uint64(r.c.below(50)) // anything
			}
		}
	}
	return uint64(len(content))
}

// stream adds the packets of one stream of a sender.
func (r *room) stream(sender int, id string) {
	nth := len(r.sent)
	content := r.content()
	wire := content
	h := &livekit.DataStream_Header{
		StreamId: id, Topic: "t",
		Attributes: map[string]string{"nth": strconv.Itoa(nth)},
	}
	if r.c.below(2) == 0 {
		h.ContentHeader = &livekit.DataStream_Header_TextHeader{
			TextHeader: &livekit.DataStream_TextHeader{},
		}
	} else {
		h.ContentHeader = &livekit.DataStream_Header_ByteHeader{
			ByteHeader: &livekit.DataStream_ByteHeader{Name: "f"},
		}
	}
	announced := r.c.below(2) == 0
	if r.c.below(4) == 0 {
		h.Compression = livekit.DataStream_DEFLATE_RAW
		wire = deflate(content)
	}
	add := func(p *livekit.DataPacket) {
		p.ParticipantIdentity, p.ParticipantSid = fmt.Sprint("p", sender), fmt.Sprint("PA_", sender)
		r.queue[sender] = append(r.queue[sender], p)
		r.owner[p] = nth
	}
	var chunks []*livekit.DataStream_Chunk
	first := uint64(r.c.below(2)) // old clients count from 1
	for rest := wire; len(rest) > 0; {
		n := min(1+r.c.below(6), len(rest))
		chunks = append(chunks, &livekit.DataStream_Chunk{StreamId: id, ChunkIndex: first +
			uint64(len(chunks)), Content: rest[:n]})
		rest = rest[n:]
	}
	rewrites := !announced && r.c.below(3) == 0 && len(chunks) > 0
	if announced {
		h.TotalLength = new(r.total(h, content))
	}
	if r.c.below(5) == 0 {
		h.InlineContent = append([]byte{}, wire...)
		add(&livekit.DataPacket{Value: &livekit.DataPacket_StreamHeader{StreamHeader: h}})
		r.sent = append(r.sent, sentStream{content: content})
		return
	}
	add(&livekit.DataPacket{Value: &livekit.DataPacket_StreamHeader{StreamHeader: h}})
	if rewrites { // an earlier version of one chunk goes before all others
		i := r.c.below(len(chunks))
		wrong := proto.Clone(chunks[i]).(*livekit.DataStream_Chunk)
		wrong.Content = bytes.ToUpper(wrong.Content)
		chunks[i].Version = int32(1 + r.c.below(3))
		chunks = append([]*livekit.DataStream_Chunk{wrong}, chunks...)
	}
	for _, c := range chunks {
		add(&livekit.DataPacket{Value: &livekit.DataPacket_StreamChunk{StreamChunk: c}})
	}
	add(&livekit.DataPacket{Value: &livekit.DataPacket_StreamTrailer{
		StreamTrailer: &livekit.DataStream_Trailer{StreamId: id},
	}})
	r.sent = append(r.sent, sentStream{content: content})
}

// compressor is expensive to make. Tests of this package do not run in parallel.
var compressor, _ = flate.NewWriter(io.Discard, flate.BestCompression)

func deflate(b []byte) []byte {
	var buf bytes.Buffer
	compressor.Reset(&buf)
	if _, err := compressor.Write(b); err != nil {
		panic(err)
	}
	if err := compressor.Close(); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// mix puts two streams of one sender, and packets that are none of a stream, between each other.
func (r *room) mix(sender, from int) {
	q := r.queue[sender]
	a, b := q[:from], q[from:]
	var out []*livekit.DataPacket
	for len(a) > 0 || len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && r.c.below(2) == 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	r.queue[sender] = out
}

// arrive returns the frames as the recorder receives them.
func (r *room) arrive(t testing.TB) []segment.Frame {
	var order []*livekit.DataPacket
	for _, q := range r.queue {
		stay := q
		if r.n.rejoins { // with another sid, and numbers from 1
			n := r.c.below(len(q) + 1)
			stay = q[n:]
			for i, p := range q[:n] {
				p.ParticipantSid += "-"
				if r.n.sequenced {
					p.Sequence = uint32(i + 1)
				}
			}
		}
		for i, p := range stay {
			if r.n.sequenced {
				p.Sequence = uint32(i + 1)
			}
		}
	}
	queues := slices.Clone(r.queue)
	for {
		i := r.c.below(len(queues))
		for n := 0; n < len(queues) && len(queues[i]) == 0; n++ {
			i = (i + 1) % len(queues)
		}
		if len(queues[i]) == 0 {
			break
		}
		p := queues[i][0]
		queues[i] = queues[i][1:]
		if r.n.loses && r.c.below(12) == 1 {
			if n, ok := r.owner[p]; ok {
				r.sent[n].lost = true
			}
			continue
		}
		order = append(order, p)
	}
	if r.n.repeats {
		for range r.c.below(6) {
			if len(order) > 0 {
				p := order[r.c.below(len(order))]
				after := slices.Index(order, p) + 1
				order = slices.Insert(order, after+r.c.below(len(order)-after+1), p)
			}
		}
	}
	if r.n.reorders {
		for range r.c.below(6) {
			if len(order) > 0 {
				i, j := r.c.below(len(order)), r.c.below(len(order))
				order[i], order[j] = order[j], order[i]
			}
		}
	}
	var frames []segment.Frame
	for i, p := range order {
		f := frame(t, segment.ChannelReliable, p)
		f.UnixNS = at + int64(i)
		frames = append(frames, f)
	}
	return frames
}

// play makes a room, and checks what the decoder says of its streams.
func play(t testing.TB, c choices, n network) {
	r := &room{
		c: c, n: n, queue: make([][]*livekit.DataPacket, 1+c.below(2)),
		owner: map[*livekit.DataPacket]int{},
	}
	for sender := range r.queue {
		for i := range 1 + c.below(3) {
			from := len(r.queue[sender])
			id := fmt.Sprint("s", i) // both senders use the same ids
			// A stream id is unique. Where packets have numbers, or keep their order, that is not
			// even needed.
			again := i > 0 && (n.sequenced || !n.reorders) && !n.rejoins && c.below(3) == 0
			if again {
				id = fmt.Sprint("s", i-1)
			}
			r.stream(sender, id)
			if from > 0 && !again && c.below(2) == 0 {
				r.mix(sender, from)
			}
		}
	}
	frames := r.arrive(t)
	complete := map[int]bool{}
	packets := 0
	got := lines(t, decode.Options{Limits: decode.Limits{Inline: 20}}, frames...)
	for _, l := range got {
		if l.Stream == nil {
			t.Fatalf("a line that is no stream: %+v", l.Message)
		}
		packets += int(l.Stream.Chunks)
		if l.Stream.Complete != (l.Stream.Incomplete == "") {
			t.Fatalf("complete %v, incomplete %q", l.Stream.Complete, l.Stream.Incomplete)
		}
		if !l.Stream.Complete {
			continue
		}
		nth, err := strconv.Atoi(l.Stream.Attributes["nth"])
		if err != nil {
			t.Fatalf("a complete stream without its header: %+v", l.Stream)
		}
		if !bytes.Equal(l.Payload(), r.sent[nth].content) {
			t.Fatalf("stream %d is said to be complete with %q, sent was %q; %+v, network %+v", nth,
				l.Payload(), r.sent[nth].content, l.Stream, n)
		}
		if l.Identity == "" || strings.TrimSuffix(l.ParticipantSID, "-") != "PA_"+l.Identity[1:] {
			t.Fatalf("sender %q, %q", l.Identity, l.ParticipantSID)
		}
		complete[nth] = true
	}
	if n.loses || n.reorders || n.rejoins || !n.sequenced {
		return
	}
	for i := range r.sent {
		if !complete[i] {
			for _, l := range got {
				t.Logf("%+v", l.Stream)
			}
			t.Fatalf("stream %d of %d arrived as it was sent, and is not complete", i, len(r.sent))
		}
	}
}

// TestNeverWrongAndComplete: whatever is lost, repeated or reordered, a stream that is called
// complete is exactly what was sent, and a stream that arrived in full is called complete.
func TestNeverWrongAndComplete(t *testing.T) {
	const rounds = 300
	for i := range 32 {
		n := network{
			sequenced: i&1 == 0, loses: i&2 != 0, repeats: i&4 != 0, reorders: i&8 != 0,
			rejoins: i&16 != 0,
		}
		t.Run(fmt.Sprintf("%+v", n), func(t *testing.T) {
			for seed := range uint64(rounds) {
				play(t, random{rand.New(rand.NewPCG(seed, uint64(i)))}, n)
			}
		})
	}
}

// FuzzStreams is the same, driven by the fuzzer.
func FuzzStreams(f *testing.F) {
	for i := range uint8(32) {
		f.Add(i, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 250, 240, 230, 1, 1, 1, 0, 0, 0, 99})
	}
	f.Fuzz(func(t *testing.T, n uint8, b []byte) {
		play(t, &script{b}, network{
			sequenced: n&1 == 0, loses: n&2 != 0, repeats: n&4 != 0,
			reorders: n&8 != 0, rejoins: n&16 != 0,
		})
	})
}

// FuzzFrames feeds whole recordings of any bytes: no panic, no error, no line that cannot be
// encoded.
func FuzzFrames(f *testing.F) {
	var seed []byte
	for _, p := range []*livekit.DataPacket{
		{Value: &livekit.DataPacket_StreamHeader{StreamHeader: &livekit.DataStream_Header{
			StreamId: "a", TotalLength: new(uint64(1)),
		}}},
		{Value: &livekit.DataPacket_StreamChunk{StreamChunk: &livekit.DataStream_Chunk{
			StreamId: "a", ChunkIndex: 1 << 63, Content: []byte("x"),
		}}},
		{Value: &livekit.DataPacket_StreamTrailer{StreamTrailer: &livekit.DataStream_Trailer{
			StreamId: "a",
		}}},
	} {
		b := frame(f, 1, p).Payload
		seed = append(append(seed, byte(len(b))), b...)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		var frames []segment.Frame
		for len(b) > 0 {
			n := min(int(b[0]), len(b)-1)
			fr := segment.Frame{
				Type: segment.FramePacket, Channel: segment.ChannelReliable, UnixNS: at,
				Payload: b[1 : 1+n],
			}
			if n == 0 {
				fr = segment.Frame{
					Type:    segment.FrameEvent,
					Payload: []byte(`{"kind":"participant_left","participant_sid":"PA_1"}`),
				}
			}
			frames, b = append(frames, fr), b[1+n:]
		}
		for _, l := range lines(t, decode.Options{Limits: decode.Limits{
			Memory: 8 << 10, Inline: 10,
			Inflate: 1000,
		}}, frames...) {
			if l.Stream != nil && l.Kind != textegress.KindTextStream &&
				l.Kind != textegress.KindByteStream {
				t.Fatalf("a stream of kind %s", l.Kind)
			}
			if b := l.AppendJSON(nil); !json.Valid(b) {
				t.Fatalf("not JSON: %s", b)
			}
		}
	})
}

// TestEveryLossOfEveryText goes over all short texts, in both units of length, counted from 0 and
// from 1, over everything that can be lost of them, and over every place where the sender may join
// again: what is said to be complete is the text. Without a loss it is complete, but where the
// sender joined again and its units cannot be told apart.
func TestEveryLossOfEveryText(t *testing.T) {
	texts := []string{""}
	for i := 0; utf8.RuneCountInString(texts[i]) < 3; i++ {
		for _, c := range []string{"a", "é", "😀"} {
			texts = append(texts, texts[i]+c)
		}
	}
	for _, content := range texts {
		runes := []rune(content)
		for _, total := range []int{len(content), len(utf16.Encode(runes))} {
			for first := range uint64(2) {
				for lost := range 1 << len(runes) {
					for again := range len(runes) + 2 { // 0: not
						everyLoss(t, runes, total, first, lost, again)
					}
				}
			}
		}
	}
}

func everyLoss(t *testing.T, runes []rune, total int, first uint64, lost, again int) {
	t.Helper()
	r := newTape(t).from("alice", text("s", uint64(total)))
	for i := 0; ; i++ {
		if i+1 == again {
			r.again("alice")
		}
		if i == len(runes) {
			break
		}
		if lost&(1<<i) != 0 {
			r.skip("alice")
			continue
		}
		r.from("alice", part("s", first+uint64(i), string(runes[i])))
	}
	s := lines(t, decode.Options{}, r.from("alice", trailer("s", "")).frames...)[0]
	switch ascii := len(runes) == len(string(runes)); {
	case s.Stream.Complete && lost == 0 && string(s.Payload()) == string(runes):
	case !s.Stream.Complete && (lost != 0 || again != 0 && (!ascii || total == 0)):
	default:
		t.Fatalf("%q, length %d, counted from %d, lost %b, joined again %d: %q, %+v",
			string(runes), total, first, lost, again, s.Payload(), s.Stream)
	}
}

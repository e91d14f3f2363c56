package decode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/segment"
)

// tape makes the frames of a recording, a second apart.
type tape struct {
	t      testing.TB
	frames []segment.Frame
	seq    map[string]uint32
	stays  map[string]string // what is behind the sid of who joined again
	ns     int64
}

func newTape(t testing.TB) *tape {
	return &tape{t: t, seq: map[string]uint32{}, stays: map[string]string{}, ns: at}
}

// wait lets time pass.
func (r *tape) wait(seconds int64) *tape { r.ns += seconds * 1e9; return r }

func (r *tape) sid(who string) string { return "PA_" + who + r.stays[who] }

func (r *tape) left(who string) *tape {
	return r.event(fmt.Sprintf(`{"kind":"participant_left","participant_sid":%q,"identity":%q}`,
		r.sid(who), who))
}

func (r *tape) joined(who string) *tape {
	return r.event(fmt.Sprintf(`{"kind":"participant_joined","participant_sid":%q,"identity":%q}`,
		r.sid(who), who))
}

// again gives a sender another sid, and lets it number its packets anew.
func (r *tape) again(who string) *tape {
	r.stays[who] += "+"
	r.seq[who] = 0
	return r
}

func (r *tape) add(f segment.Frame) *tape {
	f.UnixNS = r.ns
	r.ns += 1e9
	r.frames = append(r.frames, f)
	return r
}

// from adds the next packet of a sender.
func (r *tape) from(who string, p *livekit.DataPacket) *tape {
	r.seq[who]++
	p.ParticipantIdentity, p.ParticipantSid, p.Sequence = who, r.sid(who), r.seq[who]
	return r.add(frame(r.t, segment.ChannelReliable, p))
}

// skip leaves out the next number of a sender: a packet that was lost, or was not for us.
func (r *tape) skip(who string) *tape { r.seq[who]++; return r }

// unnumbered takes the numbers off all packets so far, as of a client that has none.
func (r *tape) unnumbered() *tape {
	for i, f := range r.frames {
		var p livekit.DataPacket
		if err := proto.Unmarshal(f.Payload, &p); err != nil {
			r.t.Fatal(err)
		}
		p.Sequence = 0
		r.frames[i].Payload = frame(r.t, segment.ChannelReliable, &p).Payload
	}
	return r
}

func (r *tape) event(json string) *tape {
	return r.add(segment.Frame{Type: segment.FrameEvent, Payload: []byte(json)})
}

func header(h *livekit.DataStream_Header) *livekit.DataPacket {
	return &livekit.DataPacket{Value: &livekit.DataPacket_StreamHeader{StreamHeader: h}}
}

func text(id string, total ...uint64) *livekit.DataPacket {
	h := &livekit.DataStream_Header{
		StreamId: id, Topic: "t", ContentHeader: &livekit.DataStream_Header_TextHeader{
			TextHeader: &livekit.DataStream_TextHeader{},
		},
	}
	if len(total) > 0 {
		h.TotalLength = &total[0]
	}
	return header(h)
}

func file(id, name string, total uint64) *livekit.DataPacket {
	return header(&livekit.DataStream_Header{
		StreamId: id, MimeType: "image/png", TotalLength: &total,
		ContentHeader: &livekit.DataStream_Header_ByteHeader{
			ByteHeader: &livekit.DataStream_ByteHeader{Name: name},
		},
	})
}

func part(id string, index uint64, content string, version ...int32) *livekit.DataPacket {
	c := &livekit.DataStream_Chunk{StreamId: id, ChunkIndex: index, Content: []byte(content)}
	if len(version) > 0 {
		c.Version = version[0]
	}
	return &livekit.DataPacket{Value: &livekit.DataPacket_StreamChunk{StreamChunk: c}}
}

func trailer(id, reason string, attributes ...string) *livekit.DataPacket {
	t := &livekit.DataStream_Trailer{StreamId: id, Reason: reason}
	for i := 0; i < len(attributes); i += 2 {
		if t.Attributes == nil {
			t.Attributes = map[string]string{}
		}
		t.Attributes[attributes[i]] = attributes[i+1]
	}
	return &livekit.DataPacket{Value: &livekit.DataPacket_StreamTrailer{StreamTrailer: t}}
}

const aliceLeft = `{"kind":"participant_left","participant_sid":"PA_alice","identity":"alice"}`

// TestStreams: a line for each stream that is expected, as "kind id content", with what is not
// complete and why.
func TestStreams(t *testing.T) {
	compressed := func(id string, h livekit.DataStream_CompressionType,
		total uint64,
	) *livekit.DataPacket {
		p := text(id, total)
		p.GetStreamHeader().Compression = h
		return p
	}
	for name, tc := range map[string]struct {
		tape func(r *tape)
		want []string
	}{
		"text in two chunks": {func(r *tape) {
			r.from("alice", text("s", 5)).from("alice", part("s", 0, "hel")).from("alice",
				part("s", 1, "lo")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "hello"`}},
		"a file": {func(r *tape) {
			r.from("alice", file("s", "a.png", 2)).from("alice",
				part("s", 0, "\xff\x00")).from("alice", trailer("s", ""))
		}, []string{`byte_stream s "\xff\x00" in a file`}},
		"an empty file": {func(r *tape) {
			r.from("alice", file("s", "a.png", 0)).from("alice", trailer("s", ""))
		}, []string{`byte_stream s "" in a file`}},
		"an empty text": {func(r *tape) {
			r.from("alice", text("s")).from("alice",
				trailer("s", ""))
		}, []string{`text_stream s ""`}},
		"text that is none": {func(r *tape) {
			r.from("alice", text("s", 1)).from("alice", part("s", 0, "\xff")).from("alice",
				trailer("s", ""))
		}, []string{`text_stream s "\xff"`}},
		"a long text": {func(r *tape) {
			r.from("alice", text("s", 200)).from("alice",
				part("s", 0, strings.Repeat("x", 200))).from("alice", trailer("s", ""))
		}, []string{`text_stream s "` + strings.Repeat("x", 200) + `" in a file`}},
		"unknown length, nothing missing": {func(r *tape) {
			r.from("alice", text("s")).from("alice", part("s", 0, "hel")).from("alice",
				userPacket(&livekit.UserPacket{})).
				from("bob", part("x", 0, "no")).from("alice", part("s", 1, "lo")).from("alice",
				trailer("s", ""))
		}, []string{`text_stream s "hello"`, `byte_stream x "no" in a file; no_header`}},
		"unknown length, a number missing": {func(r *tape) {
			r.from("alice", text("s")).from("alice", part("s", 0, "hello")).skip("alice").from(
				"alice", trailer("s", ""))
		}, []string{`text_stream s "hello"; unproved`}},
		"known length, a number missing": {func(r *tape) {
			r.from("alice", text("s", 5)).from("alice", part("s", 0, "hello")).skip("alice").from(
				"alice", trailer("s", ""))
		}, []string{`text_stream s "hello"`}},
		"the last chunk missing": {func(r *tape) {
			r.from("alice", text("s", 5)).from("alice", part("s", 0, "hel")).skip("alice").from(
				"alice", trailer("s", ""))
		}, []string{`text_stream s "hel"; length_differs`}},
		"more than was announced, nothing missing": {func(r *tape) {
			r.from("alice", text("s", 2)).from("alice", part("s", 0, "hel")).from("alice",
				trailer("s", ""))
		}, []string{`text_stream s "hel" of unknown length`}},
		"more than was announced, a number missing": {func(r *tape) {
			r.from("alice", text("s", 2)).skip("alice").from("alice",
				part("s", 0, "hel")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "hel"; length_differs`}},
		"less than was announced, nothing missing": {func(r *tape) {
			r.from("alice", file("s", "f", 6)).from("alice", part("s", 0, "hel")).from("alice",
				trailer("s", ""))
		}, []string{`byte_stream s "hel" in a file of unknown length`}},
		"less than was announced, a number missing": {func(r *tape) {
			r.from("alice", file("s", "f", 6)).from("alice",
				part("s", 0, "hel")).skip("alice").from("alice", trailer("s", ""))
		}, []string{`byte_stream s "hel" in a file; length_differs`}},
		"length in UTF-16 units": {func(r *tape) {
			r.from("alice", text("s", 6)).from("alice", part("s", 0, "😀😀😀")).from("alice",
				trailer("s", ""))
		}, []string{`text_stream s "😀😀😀" of utf16 length`}},
		"length in UTF-16 units, a character in two chunks": {func(r *tape) {
			r.from("alice", text("s", 3)).from("alice", part("s", 0, "a\xf0\x9f")).from("alice",
				part("s", 1, "\x98\x80")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "a😀" of utf16 length`}},
		"length in UTF-16 units, a number missing before the last chunk": {func(r *tape) {
			r.from("alice", text("s", 6)).skip("alice").from("alice",
				part("s", 0, "😀😀😀")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "😀😀😀" of utf16 length`}},
		"length in UTF-16 units, a number missing after the last chunk": {func(r *tape) {
			r.from("alice", text("s", 6)).from("alice", part("s", 0, "😀😀😀")).skip("alice").from(
				"alice", trailer("s", ""))
		}, []string{`text_stream s "😀😀😀"; unproved`}},
		"length in UTF-16 units, chunks rewritten, a number missing": {func(r *tape) {
			r.from("alice", text("s", 2)).from("alice", part("s", 0, "x")).skip("alice").from(
				"alice", part("s", 0, "😀", 1)).from("alice", trailer("s", ""))
		}, []string{`text_stream s "😀"; unproved`}},
		"length in UTF-16 units, a chunk missing": {func(r *tape) {
			r.from("alice", text("s", 6)).from("alice", part("s", 0, "😀")).skip("alice").from(
				"alice", part("s", 2, "😀")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "😀😀"; missing_chunks 1`}},
		"as many bytes as there are UTF-16 units, the last chunk missing": {func(r *tape) {
			r.from("alice", text("s", 3)).from("alice", part("s", 0, "aé")).skip("alice").from(
				"alice", trailer("s", ""))
		}, []string{`text_stream s "aé"; unproved`}},
		"length in bytes of a text that is not ASCII, a number missing before " +
			"the last chunk": {func(r *tape) {
			r.from("alice", text("s", 3)).from("alice", part("s", 0, "a")).skip("alice").from(
				"alice", part("s", 1, "é")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "aé"`}},
		"length in bytes, a number missing after the last chunk": {func(r *tape) {
			r.from("alice", text("s", 3)).from("alice", part("s", 0, "abc")).skip("alice").from(
				"alice", trailer("s", ""))
		}, []string{`text_stream s "abc"`}},
		"length in UTF-16 units of a sender without numbers": {func(r *tape) {
			r.from("alice", text("s", 6)).from("alice", part("s", 0, "😀😀😀")).from("alice",
				trailer("s", "")).unnumbered()
		}, []string{`text_stream s "😀😀😀" of utf16 length`}},
		"length in UTF-16 units of what is no text": {func(r *tape) {
			r.from("alice", file("s", "f", 6)).from("alice", part("s", 0, "😀😀😀")).from("alice",
				trailer("s", "")).unnumbered()
		}, []string{`byte_stream s "😀😀😀" in a file; length_differs`}},
		"length in UTF-16 units of what is no UTF-8": {func(r *tape) {
			r.from("alice", text("s", 3)).from("alice", part("s", 0, "\xff😀")).from("alice",
				trailer("s", "")).unnumbered()
		}, []string{`text_stream s "\xff😀"; length_differs`}},
		"length in UTF-16 units, in one packet": {func(r *tape) {
			p := text("s", 2)
			p.GetStreamHeader().InlineContent = []byte("😀")
			r.from("alice", p)
		}, []string{`text_stream s "😀" of utf16 length`}},
		"length in UTF-16 units, compressed": {func(r *tape) {
			z := string(deflate([]byte("😀😀😀")))
			r.from("alice", compressed("s", livekit.DataStream_DEFLATE_RAW, 6)).skip("alice").from(
				"alice", part("s", 0, z)).from("alice", trailer("s", ""))
		}, []string{`text_stream s "😀😀😀" of utf16 length`}},
		"counted from 1": {func(r *tape) {
			r.from("alice", file("s", "f", 6)).from("alice", part("s", 1, "abc")).from("alice",
				part("s", 2, "def")).from("alice", trailer("s", ""))
		}, []string{`byte_stream s "abcdef" in a file from 1`}},
		"counted from 1, text": {func(r *tape) {
			r.from("alice", text("s", 6)).from("alice", part("s", 1, "abc")).from("alice",
				part("s", 2, "def")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "abcdef" from 1`}},
		"counted from 1, a number missing": {func(r *tape) {
			r.from("alice", file("s", "f", 6)).skip("alice").from("alice",
				part("s", 1, "abc")).skip("alice").from("alice", part("s", 2, "def")).from("alice",
				trailer("s", ""))
		}, []string{`byte_stream s "abcdef" in a file from 1`}},
		"counted from 1, by a sender without numbers": {func(r *tape) {
			r.from("alice", file("s", "f", 6)).from("alice", part("s", 1, "abc")).from("alice",
				part("s", 2, "def")).from("alice", trailer("s", "")).unnumbered()
		}, []string{`byte_stream s "abcdef" in a file from 1`}},
		"counted from 1, unknown length, nothing missing": {func(r *tape) {
			r.from("alice", file("s", "f", 0)).from("alice", part("s", 1, "abc")).from("alice",
				trailer("s", ""))
		}, []string{`byte_stream s "abc" in a file from 1`}},
		"counted from 1, compressed, nothing missing": {func(r *tape) {
			z := string(deflate([]byte("hello, hello, hello")))
			r.from("alice", compressed("s", livekit.DataStream_DEFLATE_RAW, 0)).from("alice",
				part("s", 1, z)).from("alice", trailer("s", ""))
		}, []string{`text_stream s "hello, hello, hello" from 1`}},
		"counted from 1, a chunk missing": {func(r *tape) {
			r.from("alice", file("s", "f", 6)).from("alice", part("s", 1, "ab")).skip("alice").from(
				"alice", part("s", 3, "ef")).from("alice", trailer("s", ""))
		}, []string{`byte_stream s "abef" in a file; missing_chunks 2`}},
		"the first chunk missing, unknown length": {func(r *tape) {
			r.from("alice", text("s")).skip("alice").from("alice", part("s", 1, "lo")).from("alice",
				trailer("s", ""))
		}, []string{`text_stream s "lo"; missing_chunks 1`}},
		"the first chunk missing, unknown length, by a sender without numbers": {func(r *tape) {
			r.from("alice", text("s")).from("alice", part("s", 1, "lo")).from("alice",
				trailer("s", "")).unnumbered()
		}, []string{`text_stream s "lo"; missing_chunks 1`}},
		"the first chunk missing, known length": {func(r *tape) {
			r.from("alice", text("s", 5)).skip("alice").from("alice",
				part("s", 1, "lo")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "lo"; missing_chunks 1`}},
		"the first chunk missing, as many UTF-16 units as there should be bytes": {func(r *tape) {
			r.from("alice", text("s", 2)).skip("alice").from("alice",
				part("s", 1, "😀")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "😀"; missing_chunks 1`}},
		"the first chunk missing, as many bytes as there should be UTF-16 units": {func(r *tape) {
			r.from("alice", text("s", 2)).skip("alice").from("alice",
				part("s", 1, "é")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "é"; missing_chunks 1`}},
		"the first chunk missing, compressed": {func(r *tape) {
			z := string(deflate([]byte("hello")))
			r.from("alice", compressed("s", livekit.DataStream_DEFLATE_RAW, 5)).skip("alice").from(
				"alice", part("s", 1, z)).from("alice", trailer("s", ""))
		}, []string{`text_stream s ; missing_chunks 1`}},
		"a chunk missing": {func(r *tape) {
			r.from("alice", text("s", 3)).from("alice", part("s", 0, "a")).skip("alice").from(
				"alice", part("s", 2, "c")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "ac"; missing_chunks 1`}},
		"chunks in any order": {func(r *tape) {
			r.from("alice", text("s", 5))
			for _, i := range []uint64{3, 1, 4, 0, 2} {
				r.from("alice", part("s", i, string(rune('a'+i))))
			}
			r.from("alice", trailer("s", ""))
		}, []string{`text_stream s "abcde"`}},
		"repeated chunks": {func(r *tape) {
			r.from("alice", text("s", 2)).from("alice", part("s", 0, "a")).from("alice",
				part("s", 0, "a")).from("alice", part("s", 1, "b")).
				from("alice", part("s", 0, "a")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "ab"`}},
		"one chunk with two contents": {func(r *tape) {
			r.from("alice", text("s", 1)).from("alice", part("s", 0, "a")).from("alice",
				part("s", 0, "b")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "a"; conflicting_chunks`}},
		"a rewritten chunk": {func(r *tape) {
			r.from("alice", text("s")).from("alice", part("s", 0, "a")).from("alice",
				part("s", 1, "b")).from("alice", part("s", 0, "longer", 2)).
				from("alice", part("s", 0, "older", 1)).from("alice", trailer("s", ""))
		}, []string{`text_stream s "longerb"`}},
		"a rewritten chunk, a number missing": {func(r *tape) {
			r.from("alice", text("s", 1)).from("alice", part("s", 0, "a")).skip("alice").from(
				"alice", part("s", 0, "b", 1)).from("alice", trailer("s", ""))
		}, []string{`text_stream s "b"; unproved`}},
		"closed with a reason": {func(r *tape) {
			r.from("alice", text("s")).from("alice", part("s", 0, "hel")).from("alice",
				trailer("s", "error"))
		}, []string{`text_stream s "hel"; aborted`}},
		"the sender leaves": {func(r *tape) {
			r.from("alice", text("s")).from("alice", part("s", 0, "hel")).from("bob",
				text("s")).event(aliceLeft).
				wait(60).from("bob", part("s", 0, "x")).from("bob", trailer("s", ""))
		}, []string{`text_stream s "hel"; sender_left`, `text_stream s "x"`}},
		"the news of the leaving is faster than the data": {func(r *tape) {
			r.from("alice", text("s")).event(aliceLeft).from("alice",
				part("s", 0, "hel")).from("alice", trailer("s", "")).from("alice", text("later"))
		}, []string{`text_stream s "hel"`, `text_stream later ; sender_left`}},
		"running when we joined": {func(r *tape) {
			r.skip("alice").from("alice", part("s", 4, "o")).from("alice",
				part("s", 5, "!")).from("alice", trailer("s", "", "k", "v"))
		}, []string{`byte_stream s "o!" in a file; no_header 4`}},
		"only the trailer": {
			func(r *tape) { r.from("alice", trailer("s", "")) },
			[]string{`byte_stream s ; no_header`},
		},
		"the sender joins again": {func(r *tape) {
			r.joined("alice").from("alice", file("s", "f", 12)).from("alice",
				part("s", 0, "first ")).
				left("alice").again("alice").joined("alice").from("alice",
				part("s", 1, "second")).from("alice", trailer("s", ""))
		}, []string{`byte_stream s "first second" in a file over PA_alice[PA_alice+]`}},
		"the sender joins again, news and data in another order": {func(r *tape) {
			r.joined("alice").from("alice", file("s", "f", 12)).from("alice",
				part("s", 0, "first ")).
				again("alice").from("alice", part("s", 1, "second")).joined("alice").event(
				aliceLeft).wait(6).from("alice", trailer("s", ""))
		}, []string{`byte_stream s "first second" in a file over PA_alice[PA_alice+]`}},
		"the sender joins again, of which there is no news": {func(r *tape) {
			r.from("alice", text("s", 12)).from("alice", part("s", 0, "first ")).
				again("alice").from("alice", part("s", 1, "second")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "first second" over PA_alice[PA_alice+]`}},
		"the sender joins again after most of a minute": {func(r *tape) {
			r.joined("alice").from("alice", file("s", "f", 12)).from("alice",
				part("s", 0, "first ")).
				left("alice").wait(50).again("alice").joined("alice").from("alice",
				part("s", 1, "second")).from("alice", trailer("s", ""))
		}, []string{`byte_stream s "first second" in a file over PA_alice[PA_alice+]`}},
		"the sender joins again after more than a minute": {func(r *tape) {
			r.joined("alice").from("alice", file("s", "f", 12)).from("alice",
				part("s", 0, "first ")).
				left("alice").wait(60).again("alice").joined("alice").from("alice",
				part("s", 1, "second")).from("alice", trailer("s", ""))
		}, []string{
			`byte_stream s "first " in a file; sender_left`,
			`byte_stream s "second" in a file; no_header 1`,
		}},
		"the sender joins again and does not go on": {func(r *tape) {
			r.joined("alice").from("alice", text("s", 12)).from("alice",
				part("s", 0, "first ")).left("alice").again("alice").joined("alice").
				wait(5).from("alice", text("new", 2)).from("alice",
				part("new", 0, "hi")).from("alice", trailer("new", ""))
		}, []string{`text_stream s "first "; sender_left`, `text_stream new "hi"`}},
		"the sender joins again while our clock is set": {func(r *tape) {
			r.joined("alice").from("alice", file("s", "f", 12)).from("alice",
				part("s", 0, "first ")).left("alice").
				wait(3600).event(`{"kind":"clock_step","offset_ns":3600000000000}`).again(
				"alice").joined("alice").
				wait(-7200).event(`{"kind":"clock_step","offset_ns":-7200000000000}`).
				from("alice", part("s", 1, "second")).from("alice", trailer("s", ""))
		}, []string{`byte_stream s "first second" in a file over PA_alice[PA_alice+]`}},
		"the sender joins twice again": {func(r *tape) {
			r.from("alice", text("s", 3)).from("alice", part("s", 0, "a")).again("alice").from(
				"alice", part("s", 1, "b")).
				again("alice").from("alice", part("s", 2, "c")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "abc" over PA_alice[PA_alice+ PA_alice++]`}},
		"the sender joins again, length in UTF-16 units": {func(r *tape) {
			r.from("alice", text("s", 4)).from("alice", part("s", 0, "😀")).again("alice").from(
				"alice", part("s", 1, "😀")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "😀😀" over PA_alice[PA_alice+] of utf16 length`}},
		"the sender joins again, unknown length": {func(r *tape) {
			r.from("alice", text("s")).from("alice", part("s", 0, "first ")).again("alice").from(
				"alice", part("s", 1, "second")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "first second" over PA_alice[PA_alice+]; unproved`}},
		"the sender joins again, a chunk lost": {func(r *tape) {
			r.from("alice", text("s", 3)).from("alice", part("s", 0, "a")).again("alice").from(
				"alice", part("s", 2, "c")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "ac" over PA_alice[PA_alice+]; missing_chunks 1`}},
		"the sender joins again, the last chunk lost": {func(r *tape) {
			r.from("alice", text("s", 3)).from("alice", part("s", 0, "ab")).again("alice").from(
				"alice", trailer("s", ""))
		}, []string{`text_stream s "ab" over PA_alice[PA_alice+]; length_differs`}},
		"the sender joins again, as many bytes as there should be UTF-16 units, the " +
			"last chunk lost": {func(r *tape) {
			r.from("alice", text("s", 3)).from("alice", part("s", 0, "aé")).again("alice").from(
				"alice", trailer("s", ""))
		}, []string{`text_stream s "aé" over PA_alice[PA_alice+]; unproved`}},
		"the sender joins again, a chunk twice": {func(r *tape) {
			r.from("alice", text("s", 2)).from("alice", part("s", 0, "a")).from("alice",
				part("s", 1, "b")).
				again("alice").from("alice", part("s", 1, "b")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "ab" over PA_alice[PA_alice+]`}},
		"the sender joins again, a late chunk of before": {func(r *tape) {
			r.from("alice", text("s", 2)).from("alice", part("s", 0, "a")).again("alice").from(
				"alice", part("s", 1, "b"))
			r.stays["alice"], r.seq["alice"] = "", 1
			r.from("alice", part("s", 0, "a"))
			r.stays["alice"], r.seq["alice"] = "+", 1
			r.from("alice", trailer("s", ""))
		}, []string{`text_stream s "ab" over PA_alice[PA_alice+]`}},
		"the recording ends after the sender has left": {func(r *tape) {
			r.from("alice", text("s", 12)).from("alice",
				part("s", 0, "first ")).event(aliceLeft).from("bob", text("x"))
		}, []string{`text_stream s "first "; sender_left`, `text_stream x ; recording_ended`}},
		"the sender joins again with a new stream of the same id": {func(r *tape) {
			r.joined("alice").from("alice", text("s", 12)).from("alice",
				part("s", 0, "first ")).left("alice").again("alice").joined("alice").
				from("alice", text("s", 6)).from("alice", part("s", 0, "second")).from("alice",
				trailer("s", "")).wait(5).from("bob", text("x", 0))
		}, []string{
			`text_stream s "second"`, `text_stream s "first "; sender_left`,
			`text_stream x ; recording_ended`,
		}},
		"somebody else goes on": {func(r *tape) {
			r.joined("alice").from("alice", file("s", "f", 12)).from("alice",
				part("s", 0, "first ")).left("alice").
				joined("mallory").from("mallory", part("s", 1, "second")).from("mallory",
				trailer("s", "")).from("alice", trailer("s", ""))
		}, []string{
			`byte_stream s "second" in a file; no_header 1`,
			`byte_stream s "first " in a file of unknown length`,
		}},
		"somebody who names another one goes on": {func(r *tape) {
			r.joined("alice").from("alice", file("s", "f", 12)).from("alice",
				part("s", 0, "first ")).
				event(`{"kind":"participant_joined","participant_sid":"PA_alice+","identity":"mallory"}`).
				again("alice").from("alice", part("s", 1, "second")).from("alice", trailer("s", ""))
		}, []string{
			`byte_stream s "second" in a file; no_header 1`,
			`byte_stream s "first " in a file; recording_ended`,
		}},
		"an agent that sends for another one joins again": {func(r *tape) {
			r.event(`{"kind":"participant_joined","participant_sid":"PA_alice","identity":"agent"}`).
				from("alice", text("s", 12)).from("alice", part("s", 0, "first ")).
				event(`{"kind":"participant_joined","participant_sid":"PA_alice+","identity":"agent"}`).
				again("alice").from("alice", part("s", 1, "second")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "first second" over PA_alice[PA_alice+]`}},
		"nobody joins again": {func(r *tape) { // hidden participants have no identity
			for i, p := range []*livekit.DataPacket{
				text("s", 2), part("s", 0, "a"),
				part("s", 1, "b"), trailer("s", ""),
			} {
				p.ParticipantSid = []string{"PA_1", "PA_2"}[i/2]
				r.add(frame(r.t, segment.ChannelReliable, p))
			}
		}, []string{
			`byte_stream s "b" in a file; no_header 1`,
			`text_stream s "a"; recording_ended`,
		}},
		"the recording ends": {func(r *tape) {
			r.from("alice", text("b")).from("alice", text("a")).from("alice",
				part("a", 0, "x")).event(`{"kind":"recording_ended"}`)
		}, []string{`text_stream b ; recording_ended`, `text_stream a "x"; recording_ended`}},
		"two senders, one id": {func(r *tape) {
			r.from("alice", text("s", 1)).from("bob", text("s", 1)).from("bob",
				part("s", 0, "b")).from("alice", part("s", 0, "a")).
				from("alice", trailer("s", "")).from("bob", trailer("s", ""))
		}, []string{`text_stream s "a"`, `text_stream s "b"`}},
		"an id again, after the end": {func(r *tape) {
			for _, c := range []string{"a", "b"} {
				r.from("alice", text("s", 1)).from("alice", part("s", 0, c)).from("alice",
					trailer("s", ""))
			}
		}, []string{`text_stream s "a"`, `text_stream s "b"`}},
		"an id again, before the end": {func(r *tape) {
			r.from("alice", text("s", 1)).from("alice", part("s", 0, "a")).from("alice",
				text("s", 2)).from("alice", part("s", 0, "bc")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "a"; id_reused`, `text_stream s "bc"`}},
		"a header and its chunk exchanged": {func(r *tape) {
			r.seq["alice"] = 1
			r.from("alice", part("s", 0, "a"))
			r.seq["alice"] = 0
			r.from("alice", text("s", 1))
			r.seq["alice"] = 2
			r.from("alice", trailer("s", ""))
		}, []string{`text_stream s "a"`}},
		"in one packet": {func(r *tape) {
			p := text("s", 5)
			p.GetStreamHeader().InlineContent = []byte("hello")
			r.from("alice", p)
		}, []string{`text_stream s "hello"`}},
		"in one packet, empty": {func(r *tape) {
			p := text("s")
			p.GetStreamHeader().InlineContent = []byte{}
			r.from("alice", p)
		}, []string{`text_stream s ""`}},
		"in one packet, cut": {func(r *tape) {
			p := text("s", 6)
			p.GetStreamHeader().InlineContent = []byte("hello")
			r.from("alice", p)
		}, []string{`text_stream s "hello" of unknown length`}},
		"in one packet, compressed": {func(r *tape) {
			p := compressed("s", livekit.DataStream_DEFLATE_RAW, 100)
			p.GetStreamHeader().InlineContent = deflate([]byte(strings.Repeat("x", 100)))
			r.from("alice", p)
		}, []string{`text_stream s "` + strings.Repeat("x", 100) + `"`}},
		"compressed": {func(r *tape) {
			z := string(deflate([]byte("hello, hello, hello")))
			r.from("alice", compressed("s", livekit.DataStream_DEFLATE_RAW, 19)).from("alice",
				part("s", 0, z[:3])).from("alice", part("s", 1, z[3:])).
				from("alice", trailer("s", ""))
		}, []string{`text_stream s "hello, hello, hello"`}},
		"compressed, damaged": {func(r *tape) {
			r.from("alice", compressed("s", livekit.DataStream_DEFLATE_RAW, 19)).from("alice",
				part("s", 0, "\xff\xff")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "\xff\xff" in a file as deflate_raw; undecodable`}},
		"compressed, with something behind it": {func(r *tape) {
			z := string(deflate([]byte("hello")))
			r.from("alice", compressed("s", livekit.DataStream_DEFLATE_RAW, 5)).from("alice",
				part("s", 0, z+"x")).from("alice", trailer("s", ""))
		}, []string{fmt.Sprintf(`text_stream s %q in a file as deflate_raw; undecodable`,
			string(deflate([]byte("hello")))+"x")}},
		"compressed, the sender leaves": {func(r *tape) {
			z := deflate([]byte("hello, hello"))
			r.from("alice", compressed("s", livekit.DataStream_DEFLATE_RAW, 12)).from("alice",
				part("s", 0, string(z[:7])))
		}, []string{`text_stream s "hello,"; recording_ended`}},
		"compressed in an unknown way": {func(r *tape) {
			r.from("alice", compressed("s", 7, 1)).from("alice", part("s", 0, "x")).from("alice",
				trailer("s", ""))
		}, []string{`text_stream s "x" in a file as 7; compression_unknown`}},
		"a bomb": {func(r *tape) {
			r.from("alice", compressed("s", livekit.DataStream_DEFLATE_RAW, 0)).from("alice",
				part("s", 0, string(bomb(2000)))).from("alice", trailer("s", ""))
		}, []string{fmt.Sprintf(`text_stream s %q in a file as deflate_raw; decompression_limit`,
			bomb(2000))}},
		"more than was announced, compressed": {func(r *tape) {
			r.from("alice", compressed("s", livekit.DataStream_DEFLATE_RAW, 10)).from("alice",
				part("s", 0, string(bomb(2000)))).from("alice", trailer("s", ""))
		}, []string{fmt.Sprintf(`text_stream s %q in a file as deflate_raw; decompression_limit`,
			bomb(2000))}},
		"indexes at the limit": {func(r *tape) {
			r.from("alice", text("s", 2)).from("alice", part("s", 1<<63, "a")).from("alice",
				part("s", math.MaxUint64, "b")).
				from("alice", part("s", 0, "c")).from("alice", trailer("s", ""))
		}, []string{`text_stream s "cab"; missing_chunks 18446744073709551613`}},
		"neither text nor bytes": {func(r *tape) {
			r.from("alice", header(&livekit.DataStream_Header{
				StreamId:    "s",
				TotalLength: new(uint64(1)),
			})).from("alice", part("s", 0, "a")).from("alice",
				trailer("s", ""))
		}, []string{`byte_stream s "a" in a file`}},
		"no id": {func(r *tape) {
			r.from("alice", text("", 1)).from("alice", part("", 0, "a")).from("alice",
				trailer("", ""))
		}, []string{`text_stream  "a"`}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTape(t)
			tc.tape(r)
			var got []string
			for _, l := range lines(t,
				decode.Options{Limits: decode.Limits{Inline: 100, Inflate: 1000}}, r.frames...) {
				if l.Stream == nil {
					continue
				}
				s := fmt.Sprintf("%s %s ", l.Kind, l.Stream.ID)
				if l.Payload() != nil {
					s += fmt.Sprintf("%q", l.Payload())
				}
				if l.Content != nil {
					s += " in a file"
				}
				if l.Stream.Encoding != "" {
					s += " as " + l.Stream.Encoding
				}
				if len(l.Stream.ContinuedBy) > 0 {
					s += fmt.Sprint(" over ", l.ParticipantSID, l.Stream.ContinuedBy)
				}
				if l.Stream.FirstChunk > 0 {
					s += fmt.Sprint(" from ", l.Stream.FirstChunk)
				}
				if l.Stream.LengthUnit != "" {
					s += " of " + l.Stream.LengthUnit + " length"
				}
				if !l.Stream.Complete {
					s += "; " + l.Stream.Incomplete
				}
				if n := l.Stream.ChunksMissing; n > 0 {
					s += fmt.Sprint(" ", n)
				}
				got = append(got, s)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func bomb(n int) []byte { return deflate(make([]byte, n)) }

// TestStreamLine: what a line says besides the content.
func TestStreamLine(t *testing.T) {
	r := newTape(t)
	h := text("s", 2)
	head := h.GetStreamHeader()
	head.Timestamp, head.MimeType, head.Topic = 1749673840000, "text/plain", "lk.chat"
	head.Attributes = map[string]string{"a": "1", "b": "2"}
	head.ContentHeader = &livekit.DataStream_Header_TextHeader{
		TextHeader: &livekit.DataStream_TextHeader{
			OperationType: livekit.DataStream_UPDATE, Version: 3, ReplyToStreamId: "r",
			AttachedStreamIds: []string{"f1", "f2"}, Generated: true,
		},
	}
	r.from("alice", h).from("alice", part("s", 0, "hi")).from("alice",
		part("s", 0, "hi")).from("alice", trailer("s", "", "b", "3", "c", "4"))
	got := lines(t, decode.Options{}, r.frames...)
	if len(got) != 1 {
		t.Fatalf("%d lines", len(got))
	}
	b := got[0].AppendJSON(nil)
	want := `{"n":0,"kind":"text_stream","time":"2025-06-11T20:40:43.123456789Z","unix_ns":1749674443123456789,"identity":"alice",` +
		`"participant_sid":"PA_alice","topic":"lk.chat","reliable":true,"sequence":1,"epoch":2,"text":"hi",` +
		`"chat":{"id":"s","timestamp_ms":1749673840000,"edit_timestamp_ms":1749673840000,"generated":true},` +
		`"stream":{"id":"s","mime_type":"text/plain","total_length":2,"attributes":{"a":"1","b":"3","c":"4"},"complete":true,` +
		`"sent_ms":1749673840000,"started_unix_ns":1749674440123456789,"size":2,"operation":"update","version":3,"reply_to":"r",` +
		`"attached_stream_ids":["f1","f2"],"generated":true,"chunks":1,"chunks_ignored":1}}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var back textegress.Message
	if err := json.Unmarshal(b, &back); err != nil || cmp.Diff(got[0].Message, back) != "" {
		t.Errorf("%v: %s", err, cmp.Diff(got[0].Message, back))
	}
}

// TestMeaning: streams on LiveKit's own topics are shown as what they are.
func TestMeaning(t *testing.T) {
	stream := func(topic string, attributes map[string]string) textegress.Message {
		p := text("s", 2)
		p.GetStreamHeader().Topic, p.GetStreamHeader().Attributes = topic, attributes
		p.GetStreamHeader().InlineContent = []byte("hi")
		return lines(t, decode.Options{}, newTape(t).from("alice", p).frames...)[0].Message
	}
	m := stream("lk.transcription", map[string]string{
		"lk.segment_id":          "SG_1",
		"lk.transcription_final": "true", "lk.transcribed_track_id": "TR_1",
	})
	if diff := cmp.Diff(&textegress.TranscriptionInfo{
		TrackID:  "TR_1",
		Segments: []textegress.TranscriptionSegment{{ID: "SG_1", Final: true}},
	},
		m.Transcription); diff != "" {
		t.Error(diff)
	}
	// Without an id of its segment, a stream is one by itself.
	m = stream("lk.transcription", map[string]string{"lk.transcription_final": "true"})
	if diff := cmp.Diff(&textegress.TranscriptionInfo{Segments: []textegress.TranscriptionSegment{
		{ID: "s", Final: true},
	}}, m.Transcription); diff != "" {
		t.Error(diff)
	}
	m = stream("lk.rpc_request", map[string]string{
		"lk.rpc_request_id": "i", "lk.rpc_request_method": "m",
		"lk.rpc_request_response_timeout_ms": "5000", "lk.rpc_request_version": "2",
	})
	if diff := cmp.Diff(&textegress.RPCInfo{
		Type: "request", ID: "i", Method: "m", TimeoutMS: 5000,
		Version: 2,
	}, m.RPC); diff != "" {
		t.Error(diff)
	}
	m = stream("lk.rpc_response", map[string]string{"lk.rpc_request_id": "i"})
	if diff := cmp.Diff(&textegress.RPCInfo{Type: "response", ID: "i"}, m.RPC); diff != "" {
		t.Error(diff)
	}
}

// TestUndecryptablePacketProvesNothing: what could not be read may have been the last chunk.
func TestUndecryptablePacketProvesNothing(t *testing.T) {
	r := newTape(t)
	r.from("alice", text("s")).from("alice",
		&livekit.DataPacket{Value: &livekit.DataPacket_EncryptedPacket{
			EncryptedPacket: &livekit.EncryptedPacket{},
		}}).
		from("alice", trailer("s", ""))
	if got := lines(t, decode.Options{}, r.frames...); len(got) != 2 ||
		got[1].Stream.Incomplete != textegress.StreamUnproved {
		t.Errorf("%+v", got)
	}
}

// TestManyBlocks: content that is not in memory comes back as it was, while blocks are used again.
func TestManyBlocks(t *testing.T) {
	var s scratch
	r := newTape(t)
	var want []string
	for round := range 3 {
		for id := range 5 {
			r.from("alice", file(fmt.Sprint("s", id), "f", 60_000))
			want = append(want, strings.Repeat(fmt.Sprintf("%d%d", round, id), 30_000))
		}
		for i := range 6 {
			for id := range 5 {
				r.from("alice", part(fmt.Sprint("s", id), uint64(i),
					want[5*round+id][i*10_000:(i+1)*10_000]))
			}
		}
		for id := range 5 {
			r.from("alice", trailer(fmt.Sprint("s", id), ""))
		}
	}
	var got []string
	for _, l := range lines(t,
		decode.Options{Scratch: func() (decode.Scratch, error) { return &s, nil }}, r.frames...) {
		if !l.Stream.Complete {
			t.Errorf("%+v", l.Stream)
		}
		got = append(got, string(l.Payload()))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("contents differ")
	}
	if limit := 5 * 5 * 16 << 10; len(s.data) > limit {
		t.Errorf("the scratch file has %d bytes, %d were needed at one time", len(s.data), limit)
	}
}

// broken fails from an operation on.
type broken struct {
	scratch

	after int
}

var errFull = errors.New("no space left on device")

func (b *broken) WriteAt(p []byte, off int64) (int, error) {
	if b.after--; b.after < 0 {
		return 0, errFull
	}
	return b.scratch.WriteAt(p, off)
}

func (b *broken) ReadAt(p []byte, off int64) (int, error) {
	if b.after--; b.after < 0 {
		return 0, errFull
	}
	return b.scratch.ReadAt(p, off)
}

// TestScratchFileFails: a disk error is returned, and never makes a stream count as damaged.
func TestScratchFileFails(t *testing.T) {
	r := newTape(t)
	z := deflate(bytes.Repeat([]byte("0123456789"), 9000))
	p := text("z")
	p.GetStreamHeader().Compression = livekit.DataStream_DEFLATE_RAW
	r.from("alice", p).from("alice", file("f", "f", 9000)).from("alice",
		part("f", 0, strings.Repeat("f", 5000)))
	for i := range z {
		r.from("alice", part("z", uint64(i), string(z[i:i+1])))
	}
	r.from("alice", part("f", 0, strings.Repeat("f", 5000))).from("alice",
		part("f", 1, strings.Repeat("f", 4000)))
	r.from("alice", trailer("z", "")).from("alice", trailer("f", ""))
	for after := range 1000 {
		d := decode.New(decode.Options{Scratch: func() (decode.Scratch,
			error,
		) {
			return &broken{after: after}, nil
		}})
		var err error
		n := 0
		for _, f := range r.frames {
			if err = d.Frame(f, func(l *decode.Line) error {
				n++
				if !l.Stream.Complete {
					t.Fatalf("after %d operations: %+v", after, l.Stream)
				}
				if l.Content == nil {
					return nil
				}
				var b bytes.Buffer
				_, err := b.ReadFrom(l.Content.Open())
				return err
			}); err != nil {
				break
			}
		}
		d.Close()
		if err == nil {
			if n != 2 || after < 4 {
				t.Errorf("%d lines without an error after %d operations", n, after)
			}
			return
		}
		if !errors.Is(err, errFull) {
			t.Fatalf("after %d operations: %v", after, err)
		}
	}
	t.Error("it never succeeded")
}

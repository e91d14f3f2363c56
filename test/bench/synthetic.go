package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// synthetic describes a generated recording of a class: people and the programs that they use. The
// recording has the form that a recorder would have written.
type synthetic struct {
	egressID, instance string
	project            textegress.Project
	session            textegress.Session
	messages           int // lines of events.jsonl that are not events
	participants       int
}

// generated describes a written recording.
type generated struct {
	messages int
	packets  int
	bytes    int64 // of the segments
}

// write writes the recording through the spool of the data directory dir and seals it. Two
// recordings of the same session differ only in their ids, like those of two recorders that receive
// the same packets.
func (s synthetic) write(ctx context.Context, dir string) (out generated, err error) {
	// No caller waits for a sync.
	sp, err := spool.Open(dir, spool.Options{SyncInterval: time.Minute})
	if err != nil {
		return out, err
	}
	defer func() {
		if cerr := sp.Close(); err == nil {
			err = cerr
		}
	}()
	const began = 1_749_673_841e9
	rec, err := sp.Create(spool.Info{
		EgressID: s.egressID, SessionID: s.session.ID, RoomName: s.session.RoomName,
		ProjectID: s.project.ID, ProjectName: s.project.Name,
		KeyPrefix: textegress.Prefix(s.project.Name, s.project.ID, s.session.RoomName, "",
			s.egressID),
		Instance: s.instance, Part: 1, Source: "command", AnnouncedUnixNS: began - 1e9,
		CreatedUnixNS: began,
	})
	if err != nil {
		return out, err
	}
	w, err := rec.Writer()
	if err != nil {
		return out, err
	}
	g := &generator{synthetic: s, w: w, rnd: rand.New(rand.NewPCG(1, 2)), now: began}
	if err := g.class(ctx); err != nil {
		return out, err
	}
	if err := w.Seal(spool.Sealed{
		Status: textegress.StatusComplete, Reason: "room_ended",
		EndedUnixNS: g.now,
	}); err != nil {
		return out, err
	}
	segments, err := rec.Segments()
	for _, seg := range segments {
		out.bytes += seg.Size
	}
	out.messages, out.packets = g.messages, g.packets
	return out, err
}

// generator generates the packets. All its choices come from one source of random numbers, so that
// every run gives the same packets.
type generator struct {
	synthetic

	w        *spool.Writer
	rnd      *rand.Rand
	now      int64
	people   []*person
	packets  int
	messages int // so far
	buf      []byte
	text     []byte
}

type person struct {
	identity, sid string
	seq           uint32
	visits        int
	x, y          int
}

func (g *generator) class(ctx context.Context) error {
	want := g.synthetic.messages
	if err := g.event(segment.Event{
		Kind: textegress.KindRecordingStarted, Source: "command",
		Part: 1,
	}); err != nil {
		return err
	}
	if err := g.event(segment.Event{
		Kind: textegress.KindJoined, Identity: "textegress-" + g.instance, ParticipantSID: "PA_" +
			g.instance, RoomSID: "RM_synthetic", ServerVersion: "1.13.5",
		RoomCreatedUnixMS: g.now / 1e6,
	}); err != nil {
		return err
	}
	for i := range g.participants {
		p := &person{identity: fmt.Sprintf("student-%02d", i+1)}
		g.people = append(g.people, p)
		if err := g.arrive(p); err != nil {
			return err
		}
	}
	for g.messages < want {
		if err := ctx.Err(); err != nil { // generating takes a minute
			return err
		}
		g.now += int64(g.rnd.IntN(500_000))
		p := g.people[g.rnd.IntN(len(g.people))]
		var err error
		switch n := g.rnd.IntN(100_000); {
		case n < 55_000:
			err = g.log(p)
		case n < 82_000:
			err = g.cursor(p)
		case n < 90_000:
			err = g.chat(p)
		case n < 97_000:
			err = g.textStream(p)
		case n < 98_500:
			err = g.transcription(p)
		case n < 99_900:
			err = g.rpc(p)
		case n < 99_990:
			err = g.event(segment.Event{
				Kind: textegress.KindParticipantUpdated, Identity: p.identity,
				ParticipantSID: p.sid, Name: "Learner " + p.identity,
				Attributes: map[string]string{"hand": strconv.Itoa(n % 2)},
			})
		case n < 99_998:
			if err = g.event(segment.Event{
				Kind: textegress.KindParticipantLeft, Identity: p.identity,
				ParticipantSID: p.sid,
			}); err == nil {
				err = g.arrive(p)
			}
		default:
			err = g.file(p)
		}
		if err != nil {
			return err
		}
	}
	return g.event(segment.Event{
		Kind: textegress.KindRecordingEnded, Reason: "room_ended",
		Status: string(textegress.StatusComplete),
	})
}

// arrive starts a connection of a participant, whose packets are numbered from 1.
func (g *generator) arrive(p *person) error {
	p.visits++
	p.sid, p.seq = fmt.Sprintf("PA_%s_%02d", p.identity[len("student-"):], p.visits), 0
	return g.event(segment.Event{
		Kind: textegress.KindParticipantJoined, Identity: p.identity, ParticipantSID: p.sid,
		Name: "Learner " + p.identity, ParticipantKind: "standard",
	})
}

func (g *generator) event(e segment.Event) error {
	payload, err := segment.EncodeEvent(e)
	if err != nil {
		return err
	}
	return g.w.Append(segment.Frame{
		Type: segment.FrameEvent, Epoch: 1, UnixNS: g.now,
		Payload: payload,
	})
}

func (g *generator) reliable(p *person, d *livekit.DataPacket) error {
	p.seq++
	d.Sequence = p.seq
	return g.packet(p, d, segment.ChannelReliable)
}

func (g *generator) packet(p *person, d *livekit.DataPacket, c segment.Channel) error {
	d.ParticipantIdentity, d.ParticipantSid = p.identity, p.sid
	var err error
	if g.buf, err = (proto.MarshalOptions{}).MarshalAppend(g.buf[:0], d); err != nil {
		return err
	}
	g.packets++
	return g.w.Append(segment.Frame{
		Type: segment.FramePacket, Channel: c, Epoch: 1, UnixNS: g.now,
		Payload: g.buf,
	})
}

func (g *generator) user(p *person, topic string) *livekit.DataPacket {
	return &livekit.DataPacket{Value: &livekit.DataPacket_User{User: &livekit.UserPacket{
		Topic: &topic, Payload: g.text, ParticipantIdentity: p.identity, ParticipantSid: p.sid,
	}}}
}

// log adds a program's log entry about a participant's action: about 200 bytes.
func (g *generator) log(p *person) error {
	g.messages++
	g.text = fmt.Appendf(g.text[:0],
		`{"timestamp":%d,"actor":"%s","verb":"%s","object":{"id":"block-%04d","type":"%s"},"x":%d.%d,"y":%d,"context":{"attempt":"%08x","step":%d},"note":"%s %s"}`,
		g.now/1e6, p.identity, g.word(), g.rnd.IntN(2000), g.word(), g.rnd.IntN(1920),
		g.rnd.IntN(10), g.rnd.IntN(1080), g.rnd.Uint32(), p.seq, g.word(), g.word())
	return g.reliable(p, g.user(p, "log"))
}

func (g *generator) cursor(p *person) error {
	g.messages++
	p.x, p.y = p.x+g.rnd.IntN(9)-4, p.y+g.rnd.IntN(9)-4
	g.text = fmt.Appendf(g.text[:0],
		`{"type":"cursor","t":%d,"x":%d,"y":%d,"page":%d,"pressed":%t}`, g.now/1e6, p.x, p.y,
		g.rnd.IntN(12), p.x%3 == 0)
	d := g.user(p, "cursor")
	d.Kind = livekit.DataPacket_LOSSY
	return g.packet(p, d, segment.ChannelLossy)
}

func (g *generator) chat(p *person) error {
	g.messages++
	g.sentence(12 + g.rnd.IntN(40))
	return g.reliable(p, &livekit.DataPacket{
		Value: &livekit.DataPacket_ChatMessage{ChatMessage: &livekit.ChatMessage{
			Id: g.uuid(), Timestamp: g.now / 1e6, Message: string(g.text),
		}},
	})
}

// textStream adds a chat message as LiveKit's newer SDKs send it: three packets, one line.
func (g *generator) textStream(p *person) error {
	g.messages++
	g.sentence(12 + g.rnd.IntN(40))
	id, total := g.uuid(), uint64(len(g.text))
	return g.stream(p, &livekit.DataStream_Header{
		StreamId: id, Timestamp: g.now / 1e6, Topic: "lk.chat", MimeType: "text/plain",
		TotalLength: &total,
		ContentHeader: &livekit.DataStream_Header_TextHeader{
			TextHeader: &livekit.DataStream_TextHeader{},
		},
	}, g.text)
}

// file adds a picture of a few hundred kilobytes.
func (g *generator) file(p *person) error {
	g.messages++
	content := make([]byte, 100_000+g.rnd.IntN(400_000))
	for i := range content {
		content[i] = byte(g.rnd.Uint32())
	}
	total := uint64(len(content))
	return g.stream(p, &livekit.DataStream_Header{
		StreamId: g.uuid(), Timestamp: g.now / 1e6, Topic: "drawing", MimeType: "image/png",
		TotalLength: &total,
		ContentHeader: &livekit.DataStream_Header_ByteHeader{
			ByteHeader: &livekit.DataStream_ByteHeader{Name: "drawing.png"},
		},
	}, content)
}

func (g *generator) stream(p *person, h *livekit.DataStream_Header, content []byte) error {
	if err := g.reliable(p, &livekit.DataPacket{Value: &livekit.DataPacket_StreamHeader{
		StreamHeader: h,
	}}); err != nil {
		return err
	}
	const chunk = 15_000
	for i := uint64(0); len(content) > 0; i++ {
		n := min(len(content), chunk)
		g.now += 50_000
		if err := g.reliable(p, &livekit.DataPacket{Value: &livekit.DataPacket_StreamChunk{
			StreamChunk: &livekit.DataStream_Chunk{
				StreamId: h.StreamId, ChunkIndex: i, Content: content[:n],
			},
		}}); err != nil {
			return err
		}
		content = content[n:]
	}
	return g.reliable(p, &livekit.DataPacket{Value: &livekit.DataPacket_StreamTrailer{
		StreamTrailer: &livekit.DataStream_Trailer{StreamId: h.StreamId},
	}})
}

func (g *generator) transcription(p *person) error {
	g.messages++
	g.sentence(8 + g.rnd.IntN(10))
	return g.reliable(p, &livekit.DataPacket{Value: &livekit.DataPacket_Transcription{
		Transcription: &livekit.Transcription{
			TranscribedParticipantIdentity: p.identity, TrackId: "TR_" + p.sid,
			Segments: []*livekit.TranscriptionSegment{{
				Id: g.uuid(), Text: string(g.text),
				Final:    true,
				Language: "en",
			}},
		},
	}})
}

func (g *generator) rpc(p *person) error {
	g.messages++
	args, err := json.Marshal(map[string]any{"step": p.seq, "choice": g.word()})
	if err != nil {
		return err
	}
	return g.reliable(p, &livekit.DataPacket{
		Value: &livekit.DataPacket_RpcRequest{RpcRequest: &livekit.RpcRequest{
			Id: g.uuid(), Method: "submit", Payload: string(args), ResponseTimeoutMs: 10_000,
			Version: 1,
		}},
	})
}

func (g *generator) uuid() string {
	a, b := g.rnd.Uint64(), g.rnd.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", uint32(a), uint16(a>>32), uint16(a>>48)&0xfff,
		uint16(b>>48)&0xfff, b&0xffffffffffff)
}

var words = []string{
	"and", "because", "block", "we", "should", "look", "at", "the", "graph", "again", "I", "think",
	"that", "this", "one", "is", "heavier",
	"moved", "opened", "closed", "answered", "água", "größer", "not", "sure", "why", "it", "falls",
	"faster", "try", "with", "mass", "two",
	"kilograms", "\"exactly\"", "ok", "👍", "wait", "slope", "force", "spring", "energy", "my",
	"result", "differs", "from", "yours", "by",
}

// word returns a word that needs no escaping in JSON.
func (g *generator) word() string {
	for {
		if w := words[g.rnd.IntN(len(words))]; w[0] != '"' {
			return w
		}
	}
}

func (g *generator) sentence(n int) {
	g.text = g.text[:0]
	for i := range n {
		if i > 0 {
			g.text = append(g.text, ' ')
		}
		g.text = append(g.text, words[g.rnd.IntN(len(words))]...)
	}
}

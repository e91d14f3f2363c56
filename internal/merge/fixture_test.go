package merge

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

const start = int64(1_749_673_840_000_000_000)

// source is a recording in memory.
type source struct {
	info   spool.Info
	sealed spool.Sealed
	open   bool
	data   bytes.Buffer
	seg    *segment.Writer
	index  uint64
	cut    int // bytes that are overwritten, for damage
}

func newSource(id, instance string) *source {
	s := &source{
		info: spool.Info{
			FormatVersion: 1, EgressID: id, Instance: instance, SessionID: "s-1", ProjectID: "p-1",
			ProjectName: "Study", RoomName: "room",
			Part: 1, CreatedUnixNS: start, AnnouncedUnixNS: start,
		},
		sealed: spool.Sealed{
			Status: textegress.StatusComplete, Reason: "room_deleted",
			EndedUnixNS: start,
		},
	}
	seg, err := segment.NewWriter(&s.data,
		segment.DerivedHeader([]byte(id), 1, 1, start))
	if err != nil {
		panic(err)
	}
	s.seg = seg
	return s
}

func (s *source) frame(f segment.Frame) {
	s.index++
	f.Index = s.index
	if err := s.seg.Append(f); err != nil {
		panic(err)
	}
	s.sealed.EndedUnixNS = f.UnixNS
}

func (s *source) event(epoch uint16, ns int64, e segment.Event) {
	b, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	s.frame(segment.Frame{Type: segment.FrameEvent, Epoch: epoch, UnixNS: ns, Payload: b})
}

func (s *source) Info() spool.Info             { return s.info }
func (s *source) Sealed() (spool.Sealed, bool) { return s.sealed, !s.open }
func (s *source) Segments(context.Context) ([]segment.Source, error) {
	return []segment.Source{{Name: "000001.seg", Open: func() (io.ReadCloser, error) {
		b := s.data.Bytes()
		if s.cut > 0 {
			b = slices.Clone(b)
			clear(b[s.cut : s.cut+40])
		}
		return io.NopCloser(bytes.NewReader(b)), nil
	}}}, nil
}

func (s *source) StateFile(name string) ([]byte, error) {
	if name == "recording.json" {
		return json.Marshal(s.info)
	}
	return nil, fs.ErrNotExist
}

// packet is one packet of the truth.
type packet struct {
	at      int64
	sid     string
	seq     uint32
	channel segment.Channel
	payload []byte // of the frame, as in the first recording
	content string // what identifies it, as far as anything does
}

// world is what happened in a room, of which recorders hear parts.
type world struct {
	rnd     *rand.Rand
	packets []packet
	sids    []string
}

func userPacket(sid string, seq uint32, channel segment.Channel, text string) []byte {
	kind := livekit.DataPacket_RELIABLE
	if channel == segment.ChannelLossy {
		kind = livekit.DataPacket_LOSSY
	}
	identity := ""
	if sid != "" {
		identity = "of " + sid
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&livekit.DataPacket{
		Kind:           kind, //nolint:staticcheck // the server fills it in
		ParticipantSid: sid, ParticipantIdentity: identity, Sequence: seq,
		Value: &livekit.DataPacket_User{User: &livekit.UserPacket{Payload: []byte(text)}},
	})
	if err != nil {
		panic(err)
	}
	return b
}

// newWorld makes n packets of every class. repeat is the chance that a packet without number says
// what another one said.
func newWorld(rnd *rand.Rand, n int, repeat float64) *world {
	w := &world{rnd: rnd}
	seqs := map[string]uint32{}
	for i := range 3 {
		w.sids = append(w.sids, fmt.Sprintf("PA_%d", i))
	}
	at := start
	for i := range n {
		at += int64(rnd.IntN(100e6))
		if rnd.IntN(40) == 0 {
			at += 5e9
		}
		sid := w.sids[rnd.IntN(len(w.sids))]
		text := fmt.Sprint("says ", i)
		if rnd.Float64() < repeat {
			text = fmt.Sprint("again ", rnd.IntN(3))
		}
		p := packet{at: at, sid: sid, channel: segment.ChannelReliable}
		switch rnd.IntN(10) {
		default:
			seqs[sid] += 1 + uint32(rnd.IntN(8)/7) // some numbers are not for us
			p.seq = seqs[sid]
			p.payload = userPacket(sid, p.seq, p.channel, "numbered "+text)
			p.content = fmt.Sprint("n", sid, p.seq)
		case 5, 6, 7:
			p.channel = segment.ChannelLossy
			p.payload = userPacket(sid, 0, p.channel, text)
		case 8:
			p.sid = ""
			p.payload = userPacket("", 0, p.channel, text)
		case 9:
			p.payload, _ = proto.MarshalOptions{Deterministic: true}.Marshal(&livekit.DataPacket{
				ParticipantSid: sid, Value: &livekit.DataPacket_StreamChunk{
					StreamChunk: &livekit.DataStream_Chunk{
						StreamId: "st", ChunkIndex: uint64(i),
						Content: []byte(text),
					},
				},
			})
		}
		if p.content == "" {
			p.content = p.channel.String() + p.sid + string(p.payload)
		}
		w.packets = append(w.packets, p)
	}
	return w
}

// span is a time in which a recorder is away.
type span struct{ from, to int64 }

func (s span) has(at int64) bool { return at >= s.from && at < s.to }

// hear makes the recording of one recorder: away in the spans, with a clock of its own, not
// receiving the lost lossy packets.
func (w *world) hear(id, instance string, clock int64, away []span, lost map[int]bool) *source {
	s := newSource(id, instance)
	s.info.CreatedUnixNS += clock
	type arrival struct {
		at int64
		p  packet
	}
	var heard []arrival
	last := map[string]int64{}
	for i, p := range w.packets {
		if slices.ContainsFunc(away, func(s span) bool { return s.has(p.at) }) || lost[i] &&
			p.channel == segment.ChannelLossy {
			continue
		}
		// paths differ, so senders may overtake each other, but not themselves
		at := p.at + int64(w.rnd.IntN(3e6))
		k := p.sid + p.channel.String()
		at = max(at, last[k]+1)
		last[k] = at
		heard = append(heard, arrival{at, p})
	}
	slices.SortStableFunc(heard, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	epoch := uint16(1)
	join := func(at int64) {
		s.event(epoch, at+clock, segment.Event{Kind: textegress.KindJoined, RoomSID: "RM_1"})
		if epoch > 1 {
			s.event(epoch, at+clock, segment.Event{Kind: textegress.KindOutageEnded})
		}
		for _, sid := range w.sids {
			if epoch == 1 { // a recorder remembers
				s.event(epoch, at+clock, segment.Event{
					Kind:           textegress.KindParticipantJoined,
					ParticipantSID: sid, Identity: "of " + sid,
				})
			}
		}
	}
	s.event(0, start+clock-2e9, segment.Event{
		Kind:   textegress.KindRecordingStarted,
		Source: "rabbitmq", Part: 1,
	})
	join(start + clock%1000 - 1e9)
	since := start
	for _, a := range heard {
		for len(away) > 0 && away[0].from < a.at {
			s.event(epoch, away[0].to-1e6+clock, segment.Event{
				Kind:  textegress.KindOutageStarted,
				Cause: "process_died", SinceUnixNS: since + clock,
			})
			epoch++
			join(away[0].to)
			away = away[1:]
		}
		since = a.at
		s.frame(segment.Frame{
			Type: segment.FramePacket, Channel: a.p.channel, Epoch: epoch,
			UnixNS: a.at + clock, Payload: a.p.payload,
		})
	}
	s.event(epoch, since+clock+1e9, segment.Event{
		Kind:   textegress.KindRecordingEnded,
		Status: "COMPLETE", Reason: "room_deleted",
	})
	return s
}

// delivered is a merged recording.
type delivered struct {
	manifest textegress.Manifest
	messages []textegress.Message
	dir      string
}

func mergeAll(t testing.TB, a, b *source, o options) delivered {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	m, err := merge(t.Context(), a, b, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	d := delivered{manifest: m, dir: dir}
	rec, err := textegress.Open(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := rec.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	for msg, err := range rec.Messages() {
		if err != nil {
			t.Fatal(err)
		}
		d.messages = append(d.messages, msg)
	}
	if _, err := os.Stat(filepath.Join(dir, stagingName)); err == nil {
		t.Error("the staging directory is still there")
	}
	return d
}

// frames of a merged recording, read from its raw segments.
func (d delivered) frames(t testing.TB) []segment.Frame {
	t.Helper()
	src := fromDelivered(t, d.dir)
	var out []segment.Frame
	for f, err := range frames(t.Context(), src, nil) {
		if err != nil {
			t.Fatal(err)
		}
		f.Payload = slices.Clone(f.Payload)
		out = append(out, f)
	}
	return out
}

func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

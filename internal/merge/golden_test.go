package merge

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

// lines shows a merged record as a person would tell it.
func lines(d delivered) string {
	var b strings.Builder
	for _, m := range d.messages {
		fmt.Fprintf(&b, "%d %s", m.Epoch, m.Kind)
		if e := m.Event; e != nil {
			for _, s := range []string{e.Instance, e.ParticipantSID, e.Cause, e.Reason} {
				if s != "" {
					b.WriteString(" " + s)
				}
			}
		}
		if m.Sequence != 0 {
			fmt.Fprintf(&b, " #%d", m.Sequence)
		}
		if m.Text != nil {
			fmt.Fprintf(&b, " %q", *m.Text)
		}
		if m.Stream != nil {
			fmt.Fprintf(&b, " complete=%t", m.Stream.Complete)
		}
		if m.PossibleDuplicate {
			b.WriteString(" possible duplicate")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// A stream begins before one recorder is killed and ends before the other one is; what was said is
// told in order, by whoever heard it.
func TestMergeGolden(t *testing.T) {
	stream := func(seq uint32, v *livekit.DataPacket) []byte {
		v.ParticipantSid, v.ParticipantIdentity, v.Sequence = "PA_1", "alice", seq
		b, err := proto.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	total := uint64(10)
	header := stream(2, &livekit.DataPacket{Value: &livekit.DataPacket_StreamHeader{
		StreamHeader: &livekit.DataStream_Header{
			StreamId: "st", Topic: "essay", MimeType: "text/plain", TotalLength: &total,
			ContentHeader: &livekit.DataStream_Header_TextHeader{
				TextHeader: &livekit.DataStream_TextHeader{},
			},
		},
	}})
	chunk := func(seq uint32, i uint64, text string) []byte {
		return stream(seq, &livekit.DataPacket{
			Value: &livekit.DataPacket_StreamChunk{StreamChunk: &livekit.DataStream_Chunk{
				StreamId: "st", ChunkIndex: i, Content: []byte(text),
			}},
		})
	}
	trailer := stream(5, &livekit.DataPacket{Value: &livekit.DataPacket_StreamTrailer{
		StreamTrailer: &livekit.DataStream_Trailer{StreamId: "st"},
	}})
	say := func(seq uint32, text string) []byte {
		return userPacket("PA_1", seq,
			segment.ChannelReliable, text)
	}
	lossy := func(text string) []byte { return userPacket("PA_1", 0, segment.ChannelLossy, text) }

	a, b := newSource("DE_a", "lab-1"), newSource("DE_b", "lab-2")
	const clock = int64(3600e9)
	begin := func(s *source, ns int64) {
		s.event(0, ns-2e9, segment.Event{Kind: textegress.KindRecordingStarted})
		s.event(1, ns-1e9, segment.Event{Kind: textegress.KindJoined, RoomSID: "RM_1"})
		s.event(1, ns-5e8, segment.Event{
			Kind:           textegress.KindParticipantJoined,
			ParticipantSID: "PA_1", Identity: "alice",
		})
	}
	put := func(s *source, epoch uint16, ns int64, payload []byte) {
		channel := segment.ChannelReliable
		if newItem(segment.Frame{
			Type: segment.FramePacket, Channel: segment.ChannelReliable,
			Payload: payload,
		}).seq == 0 {
			channel = segment.ChannelLossy
		}
		s.frame(segment.Frame{
			Type: segment.FramePacket, Channel: channel, Epoch: epoch, UnixNS: ns,
			Payload: payload,
		})
	}
	begin(a, start)
	begin(b, start+clock)
	both := func(at int64, payload []byte) {
		put(a, 1, start+at, payload)
		put(b, 1, start+at+clock+1e6, payload)
	}
	both(0, say(1, "one"))
	both(1e9, header)
	both(2e9, chunk(3, 0, "first"))
	// The first one is killed: only the second one hears this.
	put(b, 1, start+3e9+clock, chunk(4, 1, "again"))
	put(b, 1, start+4e9+clock, lossy("moved"))
	a.event(1, start+5e9, segment.Event{
		Kind: textegress.KindOutageStarted, Cause: "process_died",
		SinceUnixNS: start + 2e9,
	})
	a.event(2, start+5e9, segment.Event{Kind: textegress.KindJoined, RoomSID: "RM_1"})
	a.event(2, start+5e9, segment.Event{Kind: textegress.KindOutageEnded})
	a.event(2, start+5e9, segment.Event{
		Kind:           textegress.KindParticipantJoined,
		ParticipantSID: "PA_1", Identity: "alice",
	})
	put(a, 2, start+6e9, trailer)
	put(b, 1, start+6e9+clock, trailer)
	// Two of three packets that are alike within moments are heard by one, three by the other.
	for i := range int64(3) {
		if i < 2 {
			put(a, 2, start+7e9+i*1e6, lossy("ping"))
		}
		put(b, 1, start+7e9+i*1e6+clock, lossy("ping"))
	}
	// The second one is stopped; the last words are heard by the first alone.
	b.event(1, start+8e9+clock, segment.Event{
		Kind:   textegress.KindRecordingEnded,
		Reason: "service_stopped",
	})
	b.sealed.Reason = "service_stopped"
	put(a, 2, start+9e9, say(7, "last"))
	a.event(2, start+10e9, segment.Event{
		Kind: textegress.KindParticipantLeft, ParticipantSID: "PA_1",
		Identity: "alice",
	})
	a.event(2, start+11e9, segment.Event{
		Kind:   textegress.KindRecordingEnded,
		Reason: "room_deleted",
	})

	d := mergeAll(t, a, b, options{limit: maxItems, segmentSize: 1 << 20})
	const want = `0 recording_started lab-2
0 recording_started lab-1
1 joined lab-2
2 joined lab-1
2 participant_joined PA_1
2 data #1 "one"
2 recorder_away lab-1 process_died
1 data "moved"
3 joined lab-1
3 recorder_back lab-1
3 text_stream #2 "firstagain" complete=true
1 data "ping" possible duplicate
3 data "ping"
1 data "ping" possible duplicate
3 data "ping"
1 data "ping" possible duplicate
1 recording_ended lab-2 service_stopped
3 data #7 "last"
3 participant_left PA_1
3 recording_ended lab-1 room_deleted
`
	if diff := cmp.Diff(want, lines(d)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	m, c := d.manifest, d.manifest.Completeness
	if m.Reason != "room_deleted" || len(c.Outages) != 0 || c.PossibleDuplicates != 3 ||
		c.Streams.Complete != 1 {
		t.Errorf("reason %s, outages %+v, %d possible duplicates, streams %+v", m.Reason, c.Outages,
			c.PossibleDuplicates, c.Streams)
	}
	if s := c.Connections[0].Sequence; s.Last != 7 || s.Received != 6 || s.UnexplainedGaps != 1 ||
		s.Gaps[0].First != 6 {
		// number 6 was addressed to somebody: nobody claims that it is lost, or that it is not
		t.Errorf("%+v", s)
	}
}

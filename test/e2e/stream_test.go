package e2e

import (
	"testing"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
)

// streamPacket is a packet of a stream, as the SDKs send it.
type streamPacket struct{ *livekit.DataPacket }

func (p streamPacket) ToProto() *livekit.DataPacket { return p.DataPacket }

// A client whose connection fails joins again under the same identity and continues the stream that
// it was sending, as LiveKit's SDKs do in a full reconnect. The stream is one line, and complete,
// with lists of topics too.
func TestStreamOfWhoJoinsAgain(t *testing.T) {
	for name, lists := range map[string][]string{
		"everything is recorded": nil,
		"a list of topics":       {"PROJECTS__0__TOPICS_ALLOW=essay"},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t, lists...)
			p := servers.SyncFlow.Projects[0]
			s := begin(t, p, "joins again")
			inRoom(t, r, s)
			send := func(l *classroom.Learner, packets ...*livekit.DataPacket) {
				for _, packet := range packets {
					check(t, l.Room().LocalParticipant.PublishDataPacket(streamPacket{packet},
						lksdk.WithDataPublishReliable(true)))
				}
				check(t, l.Drain(testContext(t)))
			}
			first := join(t, p, s, "alice")
			send(first, &livekit.DataPacket{Value: &livekit.DataPacket_StreamHeader{
				StreamHeader: &livekit.DataStream_Header{
					StreamId: "torn", Topic: "essay", TotalLength: new(uint64(12)),
					ContentHeader: &livekit.DataStream_Header_TextHeader{
						TextHeader: &livekit.DataStream_TextHeader{},
					},
				},
			}}, &livekit.DataPacket{Value: &livekit.DataPacket_StreamChunk{
				StreamChunk: &livekit.DataStream_Chunk{StreamId: "torn", Content: []byte("first ")},
			}})
			again := join(t, p, s, "alice") // the server ends the first connection
			send(again, &livekit.DataPacket{Value: &livekit.DataPacket_StreamChunk{
				StreamChunk: &livekit.DataStream_Chunk{
					StreamId: "torn", ChunkIndex: 1,
					Content: []byte("second"),
				},
			}}, &livekit.DataPacket{Value: &livekit.DataPacket_StreamTrailer{
				StreamTrailer: &livekit.DataStream_Trailer{StreamId: "torn"},
			}})
			sids := []string{first.SID(), again.SID()}
			check(t, again.Leave(testContext(t)))
			end(t, p, s)
			var streams []textegress.Message
			for _, m := range messages(t, delivered(t, r, p, s, 1)...) {
				if m.Stream != nil {
					streams = append(streams, m)
				}
			}
			if len(streams) != 1 {
				t.Fatalf("%d streams, want one: %+v", len(streams), streams)
			}
			m := streams[0]
			if string(m.Payload()) != "first second" || !m.Stream.Complete ||
				m.ParticipantSID != sids[0] ||
				len(m.Stream.ContinuedBy) != 1 || m.Stream.ContinuedBy[0] != sids[1] {
				t.Errorf("%q, sids %v: %+v, %+v", m.Payload(), sids, m, m.Stream)
			}
		})
	}
}

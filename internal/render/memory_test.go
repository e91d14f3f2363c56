package render_test

import (
	"fmt"
	"testing"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

// crowd is a recording of many participants who say something, chat, and send streams; the last
// stream of each stays open.
func crowd(t testing.TB, participants, streams int) *spool.Recording {
	t.Helper()
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	r.joined(1, "RM_1")
	send := func(identity, sid string, p *livekit.DataPacket) {
		r.seq[sid]++
		p.ParticipantIdentity, p.ParticipantSid, p.Sequence = identity, sid, r.seq[sid]
		r.packet(p)
	}
	id := 0
	for i := range participants {
		identity, sid := fmt.Sprintf("student-%05d@university.example", i),
			fmt.Sprintf("PA_%012d", i)
		r.say(identity, sid, "log", "hello")
		send(identity, sid, &livekit.DataPacket{Value: &livekit.DataPacket_ChatMessage{
			ChatMessage: &livekit.ChatMessage{
				Id: fmt.Sprintf("%036d", i), Message: "hello",
			},
		}})
		for range streams {
			id++
			name, total := fmt.Sprintf("%036d", id), uint64(5)
			send(identity, sid, &livekit.DataPacket{Value: &livekit.DataPacket_StreamHeader{
				StreamHeader: &livekit.DataStream_Header{
					StreamId: name, Topic: "lk.chat", MimeType: "text/plain", TotalLength: &total,
					ContentHeader: &livekit.DataStream_Header_TextHeader{
						TextHeader: &livekit.DataStream_TextHeader{},
					},
				},
			}})
			send(identity, sid, &livekit.DataPacket{Value: &livekit.DataPacket_StreamChunk{
				StreamChunk: &livekit.DataStream_Chunk{StreamId: name, Content: []byte("hello")},
			}})
			if id%streams != 0 {
				send(identity, sid, &livekit.DataPacket{Value: &livekit.DataPacket_StreamTrailer{
					StreamTrailer: &livekit.DataStream_Trailer{StreamId: name},
				}})
			}
		}
	}
	return r.seal(textegress.StatusComplete, "")
}

func livePeak(t testing.TB, rec *spool.Recording) uint64 {
	t.Helper()
	src := &sampledSource{Source: render.FromSpool(rec), every: 7}
	if _, err := render.Build(t.Context(), src, render.Options{}, discardSink{}); err != nil {
		t.Fatal(err)
	}
	return src.peak
}

// What an export keeps of each participant is bounded, however much they send: ten thousand of them
// fit well into the memory that docs/OPERATIONS.md names.
func TestMemoryPerParticipant(t *testing.T) {
	const few, many = 1000, 5000
	small, large := livePeak(t, crowd(t, few, 2)), livePeak(t, crowd(t, many, 2))
	each := (int64(large) - int64(small)) / (many - few)
	t.Logf("live heap at most %d kB with %d participants, %d kB with %d: %d bytes each", small>>10,
		few, large>>10, many, each)
	if each > 4<<10 {
		t.Errorf("each participant with an open stream takes %d bytes", each)
	}
}

// Streams that ended leave nothing behind but a bounded memory of each sender.
func TestMemoryDoesNotGrowWithStreams(t *testing.T) {
	short, long := livePeak(t, crowd(t, 20, 100)), livePeak(t, crowd(t, 20, 1500))
	t.Logf("live heap at most %d kB with 2,000 streams, %d kB with 30,000", short>>10, long>>10)
	if long > short+6<<20 { // an encoder and its window come and go
		t.Errorf("live heap grew from %d to %d bytes", short, long)
	}
}

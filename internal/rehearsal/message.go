package rehearsal

import (
	"bytes"
	"fmt"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/room"
)

// message is one message of a rehearsal: the packets that carry it, and how it is recognised in the
// delivered events.jsonl.
type message struct {
	what    string // for people: "chat message"
	topic   string
	channel room.Channel
	packets []*livekit.DataPacket
	is      func(textegress.Message) bool
}

// Size of the file of a rehearsal in bytes, and of its chunks: LiveKit's clients send chunks of
// this size (client-sdk-js, STREAM_CHUNK_SIZE).
const (
	fileSize  = 40_000
	chunkSize = 15_000
)

// topic is the topic of the messages that can have any.
const topic = "rehearsal"

// messages returns one message of each kind that LiveKit's clients send to everybody. mark is part
// of each, so that no other message is taken for one of them. Missing are remote procedure calls,
// which have one receiver, data tracks, and transcription packets of old agents, which LiveKit
// accepts from agents only.
func messages(mark string) []message {
	text := func(what string) string { return "textegress rehearsal " + mark + ": " + what }
	hasText := func(kind textegress.Kind, want string) func(textegress.Message) bool {
		return func(m textegress.Message) bool {
			return m.Kind == kind && m.Text != nil && *m.Text == want
		}
	}
	user := func(what string) []*livekit.DataPacket {
		return []*livekit.DataPacket{{Value: &livekit.DataPacket_User{User: &livekit.UserPacket{
			Payload: []byte(text(what)), Topic: new(topic),
		}}}}
	}
	return []message{
		{
			what: "reliable data", topic: topic, channel: room.Reliable,
			packets: user("reliable data"),
			is:      hasText(textegress.KindData, text("reliable data")),
		},
		{
			what: "lossy data", topic: topic, channel: room.Lossy, packets: user("lossy data"),
			is: hasText(textegress.KindData, text("lossy data")),
		},
		{
			what: "chat message", channel: room.Reliable,
			packets: []*livekit.DataPacket{{Value: &livekit.DataPacket_ChatMessage{
				ChatMessage: &livekit.ChatMessage{Id: mark + "-chat", Message: text("chat")},
			}}},
			is: hasText(textegress.KindChat, text("chat")),
		},
		{
			what: "text stream", topic: "lk.chat", channel: room.Reliable,
			packets: stream(mark+"-text", "lk.chat", "", []byte(text("text stream"))),
			is:      hasText(textegress.KindTextStream, text("text stream")),
		},
		{
			what: "transcription", topic: "lk.transcription", channel: room.Reliable,
			packets: stream(mark+"-speech", "lk.transcription", "", []byte(text("transcription"))),
			is:      hasText(textegress.KindTextStream, text("transcription")),
		},
		{
			what:    fmt.Sprintf("file of %d kB", fileSize/1000),
			topic:   topic,
			channel: room.Reliable,
			packets: stream(mark+"-file", topic, "rehearsal-"+mark+".bin", content(mark)),
			is: func(m textegress.Message) bool {
				return m.Kind == textegress.KindByteStream && m.Stream != nil &&
					m.Stream.Complete && m.Stream.Size == fileSize
			},
		},
	}
}

// content returns the content of the file.
func content(mark string) []byte {
	return bytes.Repeat([]byte(mark+"\n"), fileSize/(len(mark)+1)+1)[:fileSize]
}

// stream returns the packets of a stream, a text stream if name is empty.
func stream(id, topic, name string, data []byte) []*livekit.DataPacket {
	header := &livekit.DataStream_Header{
		StreamId: id, Topic: topic, MimeType: "text/plain",
		TotalLength: new(uint64(len(data))),
		ContentHeader: &livekit.DataStream_Header_TextHeader{
			TextHeader: &livekit.DataStream_TextHeader{},
		},
	}
	if name != "" {
		header.MimeType = "application/octet-stream"
		header.ContentHeader = &livekit.DataStream_Header_ByteHeader{
			ByteHeader: &livekit.DataStream_ByteHeader{Name: name},
		}
	}
	packets := []*livekit.DataPacket{{
		Value: &livekit.DataPacket_StreamHeader{StreamHeader: header},
	}}
	for i := 0; len(data) > 0; i++ {
		n := min(chunkSize, len(data))
		packets = append(packets, &livekit.DataPacket{Value: &livekit.DataPacket_StreamChunk{
			StreamChunk: &livekit.DataStream_Chunk{
				StreamId: id, ChunkIndex: uint64(i), Content: data[:n],
			},
		}})
		data = data[n:]
	}
	return append(packets, &livekit.DataPacket{Value: &livekit.DataPacket_StreamTrailer{
		StreamTrailer: &livekit.DataStream_Trailer{StreamId: id},
	}})
}

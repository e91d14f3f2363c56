package classroom

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
)

// chunkBytes is the chunk size that the SDKs use for streams.
const chunkBytes = 15_000

// packet wraps any DataPacket for the SDK to send.
type packet struct{ *livekit.DataPacket }

func (p packet) ToProto() *livekit.DataPacket { return p.DataPacket }

// SendFile sends a file of size bytes from r as a byte stream, in the same packets as the SDKs, but
// as fast as possible: the Go SDK's own writer pauses between chunks. The file is not included in
// Sent. When SendFile returns nil, LiveKit has acknowledged the whole file.
func (l *Learner) SendFile(ctx context.Context, topic, name string, size int64, r io.Reader) error {
	return l.sendStream(ctx, r, &livekit.DataStream_Header{
		Topic: topic, MimeType: "application/octet-stream", TotalLength: new(uint64(size)),
		ContentHeader: &livekit.DataStream_Header_ByteHeader{
			ByteHeader: &livekit.DataStream_ByteHeader{Name: name},
		},
	})
}

// SendText sends ASCII text as a text stream, in the same way as SendFile. The SDK's own function
// returns before everything is sent and does not report completion.
func (l *Learner) SendText(ctx context.Context, topic, text string) error {
	return l.sendStream(ctx, strings.NewReader(text), &livekit.DataStream_Header{
		Topic: topic, MimeType: "text/plain", TotalLength: new(uint64(len(text))),
		ContentHeader: &livekit.DataStream_Header_TextHeader{
			TextHeader: &livekit.DataStream_TextHeader{},
		},
	})
}

func (l *Learner) sendStream(ctx context.Context, r io.Reader, h *livekit.DataStream_Header) error {
	h.StreamId, h.Timestamp = uuid.NewString(), time.Now().UnixMilli()
	err := l.sendPacket(ctx,
		&livekit.DataPacket{Value: &livekit.DataPacket_StreamHeader{StreamHeader: h}})
	size := int64(h.GetTotalLength())
	for at, i := int64(0), uint64(0); err == nil && at < size; i++ {
		chunk := make([]byte, min(chunkBytes, size-at))
		if _, err := io.ReadFull(r, chunk); err != nil {
			return fmt.Errorf("reading the file to send: %w", err)
		}
		at += int64(len(chunk))
		err = l.sendPacket(ctx, &livekit.DataPacket{Value: &livekit.DataPacket_StreamChunk{
			StreamChunk: &livekit.DataStream_Chunk{
				StreamId: h.StreamId, ChunkIndex: i,
				Content: chunk,
			},
		}})
	}
	if err == nil {
		err = l.sendPacket(ctx, &livekit.DataPacket{Value: &livekit.DataPacket_StreamTrailer{
			StreamTrailer: &livekit.DataStream_Trailer{StreamId: h.StreamId},
		}})
	}
	if err != nil {
		return err
	}
	return l.Drain(ctx)
}

func (l *Learner) sendPacket(ctx context.Context, p *livekit.DataPacket) error {
	if err := l.await(ctx, maxBuffered); err != nil {
		return err
	}
	if err := l.room.LocalParticipant.PublishDataPacket(packet{p},
		lksdk.WithDataPublishReliable(true)); err != nil {
		return fmt.Errorf("%s: publishing: %w", l.Identity, err)
	}
	return nil
}

// sendFile sends the file of a load. Its content depends only on the sender's number.
func (p Load) sendFile(ctx context.Context, i int, l *Learner, s *SenderLoad) error {
	sum := NewSum()
	err := l.SendFile(ctx, p.Topic, fmt.Sprintf("file-%d.bin", i+1), p.FileBytes,
		io.TeeReader(random(i), sum))
	s.Messages, s.Bytes, s.SHA256 = 1, p.FileBytes, sum.Hex()
	return err
}

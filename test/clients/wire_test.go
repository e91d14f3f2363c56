package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/server-sdk-go/v2/e2ee"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
	"github.com/syncflow/textegress/test/stack"
)

// wire is what lies in the spool of one session, read with LiveKit's own types and not with the
// code under test: how streams travelled, and whether all that was sent is there.
type wire struct {
	ends    map[string]bool
	streams []*wireStream
	tracks  []segment.Frame // of data tracks
}

// wireStream is a stream as packets. An inline stream is one packet.
type wireStream struct {
	id, identity, topic     string
	inline, deflate, closed bool
	chunks                  int
}

// form says how the stream travelled.
func (s *wireStream) form() string {
	form := "chunks"
	if s.inline {
		form = "inline"
	} else if s.chunks < 2 {
		form = "chunk"
	}
	if s.deflate {
		form += ", deflate"
	}
	return form
}

// open are the streams that have not ended.
func (w wire) open() []string {
	var open []string
	for _, s := range w.streams {
		if !s.inline && !s.closed {
			open = append(open, s.identity+" "+s.topic)
		}
	}
	return open
}

// forms returns how a sender's streams of a topic travelled, in the order of their beginnings.
func (w wire) forms(identity, topic string) string {
	var forms []string
	for _, s := range w.streams {
		if s.identity == identity && s.topic == topic {
			forms = append(forms, s.form())
		}
	}
	return strings.Join(forms, "; ")
}

// readWire reads the spool of a session while it is being recorded, or afterwards.
func readWire(r *stack.Recorder, sessionID, passphrase string) (wire, error) {
	w := wire{ends: map[string]bool{}}
	dirs, err := filepath.Glob(filepath.Join(r.Dir, "textegress-data", "recordings", "DE_*"))
	if err != nil {
		return w, err
	}
	for _, dir := range dirs {
		var info spool.Info
		b, err := os.ReadFile(filepath.Join(dir, "recording.json"))
		if err != nil {
			return w, err
		}
		if err := json.Unmarshal(b, &info); err != nil {
			return w, err
		}
		if info.SessionID != sessionID {
			continue
		}
		names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
		if err != nil {
			return w, err
		}
		slices.Sort(names)
		var segments []segment.Source
		for _, name := range names {
			segments = append(segments, segment.Source{
				Name: name,
				Open: func() (io.ReadCloser, error) { return os.Open(name) },
			})
		}
		if err := w.read(segments, passphrase); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (w *wire) read(segments []segment.Source, passphrase string) error {
	decrypt := func(*livekit.EncryptedPacket) (*livekit.EncryptedPacketPayload, error) {
		return nil,
			nil
	}
	if passphrase != "" {
		keys := e2ee.NewExternalKeyProvider()
		if err := keys.SetKeyFromPassphrase(passphrase, 0); err != nil {
			return err
		}
		decrypt = e2ee.NewDataCryptor(keys).Decrypt
	}
	streams := map[string]*wireStream{}
	for f, err := range segment.Read(segments) {
		if err != nil {
			return err
		}
		if f.Type != segment.FramePacket {
			continue
		}
		if f.Channel == segment.ChannelDataTrack {
			f.Payload = bytes.Clone(f.Payload)
			w.tracks = append(w.tracks, f)
			continue
		}
		var p livekit.DataPacket
		if err := proto.Unmarshal(f.Payload, &p); err != nil {
			return fmt.Errorf("packet %d: %w", f.Index, err)
		}
		if enc := p.GetEncryptedPacket(); enc != nil {
			plain, err := decrypt(enc)
			if err != nil || plain == nil {
				continue
			}
			w.ends[string(plain.GetUser().GetPayload())] = true
			w.stream(streams, p.ParticipantIdentity, plain.GetStreamHeader(),
				plain.GetStreamChunk(), plain.GetStreamTrailer())
			continue
		}
		w.ends[string(p.GetUser().GetPayload())] = true
		w.stream(streams, p.ParticipantIdentity, p.GetStreamHeader(), p.GetStreamChunk(),
			p.GetStreamTrailer())
	}
	return nil
}

func (w *wire) stream(all map[string]*wireStream, from string, h *livekit.DataStream_Header,
	c *livekit.DataStream_Chunk, t *livekit.DataStream_Trailer,
) {
	if h != nil {
		s := &wireStream{
			id: h.StreamId, identity: from, topic: h.Topic,
			inline:  h.InlineContent != nil,
			deflate: h.Compression == livekit.DataStream_DEFLATE_RAW,
		}
		all[from+h.StreamId] = s
		w.streams = append(w.streams, s)
	}
	if c != nil {
		if s := all[from+c.StreamId]; s != nil {
			s.chunks++
		}
	}
	if t != nil {
		if s := all[from+t.StreamId]; s != nil {
			s.closed = true
		}
	}
}

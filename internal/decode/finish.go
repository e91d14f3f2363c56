package decode

import (
	"bufio"
	"compress/flate"
	"errors"
	"io"
	"maps"
	"strconv"
	"strings"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
)

// end describes how a sender ended a stream.
type end struct {
	trailer *livekit.DataStream_Trailer
	seq     uint32
	inline  bool // the header is the only packet
}

// finish emits the line of a stream and removes the stream. why is the reason if something other
// than the sender ended the stream, and empty otherwise.
func (s *streams) finish(st *stream, why string, by *end, emit func(*Line) error) error {
	snd := st.sender
	delete(snd.open, st.id)
	if key := (streamKey{st.identity, st.id}); s.latest[key] == st {
		delete(s.latest, key)
	}
	snd.remember(ended{lastSeq: st.maxSeq, cut: why == textegress.StreamMemoryLimit}, st.id)
	line, err := s.line(st, why, by)
	if err == nil {
		err = emit(line)
	}
	st.rec.release()
	snd.memory -= st.memory
	s.memory -= st.memory
	return err
}

func (s *streams) line(st *stream, why string, by *end) (*Line, error) {
	line := &Line{Message: base(s.last, textegress.KindByteStream)}
	m := &line.Message
	m.Identity, m.ParticipantSID, m.Sequence, m.Reliable = st.identity, st.sid, st.sequence,
		st.reliable
	m.PossibleDuplicate = st.duplicate
	m.DestinationIdentities, m.Encryption = st.destinations, st.encryption
	m.Stream = st.info()
	if by != nil {
		m.Stream.Inline = by.inline
		if t := by.trailer; t != nil {
			m.Stream.TrailerReason = t.GetReason()
			if len(t.GetAttributes()) > 0 && m.Stream.Attributes == nil {
				m.Stream.Attributes = map[string]string{}
			}
			maps.Copy(m.Stream.Attributes, t.GetAttributes())
		}
	}
	if m.Stream.Inline {
		m.Stream.Chunks = 0
	}
	if h := st.header; h != nil {
		m.Topic = h.GetTopic()
		if h.GetTextHeader() != nil {
			m.Kind = textegress.KindTextStream
		}
	}
	numbers := st.numbered(by)
	problem := st.incompleteReason(why, by, numbers)
	content, problem, err := s.content(st, m.Stream, problem)
	if err != nil {
		return nil, err
	}
	if problem == "" {
		if problem, err = st.judge(m, by, numbers, content); err != nil {
			return nil, err
		}
	}
	m.Stream.Size, m.Stream.Incomplete, m.Stream.Complete = content.Size, problem, problem == ""
	nothing := content.Size == 0 && problem != ""
	switch {
	case nothing:
	case m.Kind == textegress.KindTextStream && m.Stream.Encoding == "" &&
		content.Size <= s.limits.Inline:
		text, err := io.ReadAll(content.Open())
		if err != nil {
			return nil, err
		}
		payload(m, text)
	default:
		line.Content = content
	}
	classify(m)
	return line, nil
}

// info returns the description of the stream by its header and chunks.
func (st *stream) info() *textegress.StreamInfo {
	i := &textegress.StreamInfo{
		ID: st.id, StartedUnixNS: st.startedNS,
		Chunks: st.count(), ChunksMissing: st.missing(), ChunksIgnored: st.ignored,
		ContinuedBy: st.continuedBy,
	}
	h := st.header
	if h == nil {
		return i
	}
	i.MIMEType, i.TotalLength, i.SentMS = h.GetMimeType(), h.TotalLength, h.GetTimestamp()
	i.Attributes = maps.Clone(h.GetAttributes())
	i.Name = h.GetByteHeader().GetName()
	if c := h.GetCompression(); c != livekit.DataStream_NONE {
		i.Compression = strings.ToLower(c.String())
	}
	if t := h.GetTextHeader(); t != nil {
		if o := t.GetOperationType(); o != livekit.DataStream_CREATE {
			i.Operation = strings.ToLower(o.String())
		}
		i.Version, i.ReplyTo, i.AttachedStreamIDs, i.Generated =
			t.GetVersion(), t.GetReplyToStreamId(), t.GetAttachedStreamIds(), t.GetGenerated()
	}
	return i
}

// content returns the stream's content for the line: decompressed if possible, otherwise as
// received.
func (s *streams) content(st *stream, info *textegress.StreamInfo, problem string) (*Content,
	string, error,
) {
	plain := &Content{
		Size: st.size,
		open: func() io.Reader { return &chunkReader{rec: &st.rec, parts: st.chunks()} },
	}
	switch st.header.GetCompression() {
	case livekit.DataStream_NONE:
		return plain, problem, nil
	case livekit.DataStream_DEFLATE_RAW:
	default:
		info.Encoding = info.Compression
		return plain, or(problem, textegress.StreamCompressionUnknown), nil
	}
	first := uint64(0)
	if problem == "" {
		first = st.low // the sequence numbers prove that no lower chunk exists
	}
	source := func() *chunkReader { return &chunkReader{rec: &st.rec, parts: st.prefix(first)} }
	size, why, err := s.measure(source())
	switch {
	case err != nil:
		return nil, "", err
	case why == "", why == textegress.StreamMissingChunks && problem != "":
		s.inflated += size
		return &Content{Size: size, open: func() io.Reader {
			return &exactReader{newInflater(source(), nil), size}
		}}, problem, nil
	case why == textegress.StreamMissingChunks:
		// all chunks are present, but the DEFLATE data has no end
		why = textegress.StreamUndecodable
	}
	info.Encoding = info.Compression
	return plain, or(problem, why), nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// measure decompresses a stream and returns its length, and why it could not be decompressed:
// StreamMissingChunks if only the end is missing. It returns errors of the scratch file only. The
// length in the header is not a limit, because some senders count in other units.
func (s *streams) measure(source *chunkReader) (size int64, why string, err error) {
	limit := max(min(s.limits.Inflate, s.limits.InflateAll-s.inflated), 0)
	z := newInflater(source, s.flate)
	s.flate = z.ReadCloser
	size, bad := io.Copy(io.Discard, io.LimitReader(z, limit+1))
	switch {
	case source.err != nil:
		return 0, "", source.err
	case size > limit:
		s.inflated += limit // this much was decompressed
		return 0, textegress.StreamInflateLimit, nil
	case errors.Is(bad, io.ErrUnexpectedEOF):
		return size, textegress.StreamMissingChunks, nil
	case bad != nil:
		//nolint:nilerr // packet content never causes an error
		return 0, textegress.StreamUndecodable, nil
	}
	return size, "", nil
}

// inflater decompresses DEFLATE data that must end with its source.
type inflater struct {
	io.ReadCloser

	source *bufio.Reader
}

// exactReader reads exactly left bytes of r. It does not read further, because an error may follow.
type exactReader struct {
	r    io.Reader
	left int64
}

// Read implements [io.Reader].
func (e *exactReader) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	if e.left -= int64(n); n > 0 {
		err = nil
	}
	return n, err
}

var errTrailing = errors.New("data behind the end of the compressed data")

// newInflater returns an inflater that reads from r. It reuses z if z is not nil.
func newInflater(r io.Reader, z io.ReadCloser) *inflater {
	source := bufio.NewReaderSize(r, 16<<10)
	if z == nil {
		return &inflater{flate.NewReader(source), source}
	}
	_ = z.(flate.Resetter).Reset(source, nil) // like NewReader, Reset cannot fail
	return &inflater{z, source}
}

// Read implements [io.Reader].
func (z *inflater) Read(p []byte) (int, error) {
	n, err := z.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		if _, more := z.source.ReadByte(); more == nil {
			return n, errTrailing
		}
	}
	return n, err
}

// Topics and attributes that give text streams a meaning in LiveKit's SDKs: client-sdk-js,
// src/room/rpc/utils.ts; components-js, packages/core/src/observables/dataChannel.ts; agents,
// livekit-agents/livekit/agents/types.py.
const (
	topicChat          = "lk.chat"
	topicTranscription = "lk.transcription"
	topicRPCRequest    = "lk.rpc_request"
	topicRPCResponse   = "lk.rpc_response"

	attrSegmentID  = "lk.segment_id"
	attrFinal      = "lk.transcription_final"
	attrTrackID    = "lk.transcribed_track_id"
	attrRPCID      = "lk.rpc_request_id"
	attrRPCMethod  = "lk.rpc_request_method"
	attrRPCTimeout = "lk.rpc_request_response_timeout_ms"
	attrRPCVersion = "lk.rpc_request_version"
)

// classify adds the meaning of a text stream according to its topic.
func classify(m *textegress.Message) {
	if m.Kind != textegress.KindTextStream {
		return
	}
	i := m.Stream
	number := func(attr string) uint32 {
		n, err := strconv.ParseUint(i.Attributes[attr], 10, 32)
		if err != nil {
			return 0
		}
		return uint32(n)
	}
	switch m.Topic {
	case topicChat:
		m.Chat = &textegress.ChatInfo{
			ID: i.ID, TimestampMS: i.SentMS,
			Deleted: i.Operation == "delete", Generated: i.Generated,
		}
		if i.Operation == "update" {
			m.Chat.EditTimestampMS = i.SentMS
		}
	case topicTranscription:
		m.Transcription = &textegress.TranscriptionInfo{TrackID: i.Attributes[attrTrackID]}
		id := i.Attributes[attrSegmentID]
		if id == "" {
			id = i.ID
		}
		m.Transcription.Segments = []textegress.TranscriptionSegment{
			{ID: id, Final: i.Attributes[attrFinal] == "true"},
		}
	case topicRPCRequest:
		m.RPC = &textegress.RPCInfo{
			Type: "request", ID: i.Attributes[attrRPCID], Method: i.Attributes[attrRPCMethod],
			TimeoutMS: number(attrRPCTimeout), Version: number(attrRPCVersion),
		}
	case topicRPCResponse:
		m.RPC = &textegress.RPCInfo{Type: "response", ID: i.Attributes[attrRPCID]}
	}
}

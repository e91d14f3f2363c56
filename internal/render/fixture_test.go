package render_test

import (
	"encoding/json"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// start is 2025-06-11T20:30:40.123456789Z.
const start = 1_749_673_840_123_456_789

// recording makes and seals a recording in a spool of its own.
type recording struct {
	t   testing.TB
	dir string
	sp  *spool.Spool
	rec *spool.Recording
	w   *spool.Writer
	ns  int64 // of the next frame
	seq map[string]uint32
}

func newRecording(t testing.TB, dir string, info spool.Info, o spool.Options) *recording {
	t.Helper()
	sp, err := spool.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sp.Close() })
	if info.EgressID == "" {
		info.EgressID = "DE_golden000001"
	}
	info.SessionID, info.ProjectID, info.ProjectName = "c1d2", "0b7e", "My Project"
	if info.RoomName == "" {
		info.RoomName = "class 1"
	}
	info.KeyPrefix = textegress.Prefix(info.ProjectName, info.ProjectID, info.RoomName, info.Topic,
		info.EgressID)
	info.Part, info.Instance, info.Source = max(info.Part, 1), "lab", "rabbitmq"
	info.AnnouncedUnixNS, info.CreatedUnixNS = start-2e9, start-1e9
	rec, err := sp.Create(info)
	if err != nil {
		t.Fatal(err)
	}
	w, err := rec.Writer()
	if err != nil {
		t.Fatal(err)
	}
	r := &recording{
		t: t, dir: dir, sp: sp, rec: rec, w: w, ns: start - 1e9,
		seq: map[string]uint32{},
	}
	r.event(0, segment.Event{
		Kind: textegress.KindRecordingStarted, Source: "rabbitmq",
		AnnouncedUnixNS: info.AnnouncedUnixNS, Part: 1,
	})
	return r
}

func (r *recording) append(f segment.Frame) {
	r.t.Helper()
	f.UnixNS = r.ns
	r.ns += int64(100 * time.Millisecond)
	if err := r.w.Append(f); err != nil {
		r.t.Fatal(err)
	}
}

func (r *recording) event(epoch uint16, ev segment.Event) {
	r.t.Helper()
	b, err := json.Marshal(ev)
	if err != nil {
		r.t.Fatal(err)
	}
	r.append(segment.Frame{Type: segment.FrameEvent, Epoch: epoch, Payload: b})
}

func (r *recording) joined(epoch uint16, room string) {
	r.t.Helper()
	r.event(epoch, segment.Event{
		Kind: textegress.KindJoined, Identity: "text-egress-1", ParticipantSID: "PA_us",
		RoomSID:       room,
		ServerVersion: "1.13.5", RoomCreatedUnixMS: start/1_000_000 - 1500,
	})
}

func (r *recording) packet(p *livekit.DataPacket) {
	r.t.Helper()
	b, err := proto.Marshal(p)
	if err != nil {
		r.t.Fatal(err)
	}
	r.raw(b)
}

func (r *recording) raw(b []byte) {
	r.t.Helper()
	r.append(segment.Frame{
		Type: segment.FramePacket, Channel: segment.ChannelReliable, Epoch: 1,
		Payload: b,
	})
}

// say appends a user packet.
func (r *recording) say(identity, sid, topic, payload string) {
	r.t.Helper()
	u := &livekit.UserPacket{Payload: []byte(payload)}
	if topic != "" {
		u.Topic = &topic
	}
	r.seq[sid]++
	r.packet(&livekit.DataPacket{
		ParticipantIdentity: identity, ParticipantSid: sid,
		Sequence: r.seq[sid], Value: &livekit.DataPacket_User{User: u},
	})
}

func (r *recording) seal(status textegress.Status, reason string) *spool.Recording {
	r.t.Helper()
	ended := r.ns
	r.event(1, segment.Event{
		Kind: textegress.KindRecordingEnded, Status: string(status),
		Reason: reason,
	})
	if err := r.w.Seal(spool.Sealed{
		Status: status, Reason: reason,
		EndedUnixNS: ended,
	}); err != nil {
		r.t.Fatal(err)
	}
	return r.rec
}

// memSink keeps the objects, and how they were opened.
type memSink struct {
	objects   map[string][]byte
	keys      []string // in the order in which they were made
	open, max int
	scratch   *memScratch
	reopened  int
}

func newMemSink() *memSink { return &memSink{objects: map[string][]byte{}} }

type memWriter struct {
	s   *memSink
	key string
}

func (s *memSink) Append(key string) (io.WriteCloser, error) {
	if _, ok := s.objects[key]; ok {
		s.reopened++
	} else {
		s.objects[key] = []byte{}
		s.keys = append(s.keys, key)
	}
	s.open++
	s.max = max(s.max, s.open)
	return &memWriter{s, key}, nil
}

func (s *memSink) Scratch() (render.Scratch, error) {
	s.scratch = &memScratch{}
	return s.scratch, nil
}

// memScratch is a scratch file in memory.
type memScratch struct {
	data   []byte
	closed bool
}

func (m *memScratch) WriteAt(p []byte, off int64) (int, error) {
	if end := int(off) + len(p); end > len(m.data) {
		m.data = append(m.data, make([]byte, end-len(m.data))...)
	}
	return copy(m.data[off:], p), nil
}

func (m *memScratch) ReadAt(p []byte, off int64) (int, error) {
	if int(off)+len(p) > len(m.data) {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(p, m.data[off:]), nil
}

func (m *memScratch) Close() error { m.closed = true; return nil }

func (w *memWriter) Write(p []byte) (int, error) {
	w.s.objects[w.key] = append(w.s.objects[w.key], p...)
	return len(p), nil
}

func (w *memWriter) Close() error { w.s.open--; return nil }

func build(t testing.TB, src render.Source) (textegress.Manifest, *memSink) {
	t.Helper()
	s := newMemSink()
	m, err := render.Build(t.Context(), src, render.Options{}, s)
	if err != nil {
		t.Fatal(err)
	}
	if s.open != 0 {
		t.Errorf("%d objects are still open", s.open)
	}
	return m, s
}

func tempSpool(t testing.TB) string { return filepath.Join(t.TempDir(), "data") }

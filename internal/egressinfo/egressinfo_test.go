package egressinfo_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/egressinfo"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// secrets are the identities and names of participants, and what they sent.
var secrets = []string{
	"secret-alice", "Alice Secret", "PA_secret", "secret text", "secret-file.txt", "secret-topic",
}

type projects struct{ bucket objstore.Bucket }

func (p projects) Bucket(string) (objstore.Bucket, error)           { return p.bucket, nil }
func (p projects) Keys(string) *render.Keys                         { return nil }
func (p projects) Pseudonyms(spool.Info) (redact.Pseudonyms, error) { return names{}, nil }

type names struct{}

func (names) Of(string) string    { return "p-0001" }
func (names) ID(string) string    { return "i-0001" }
func (names) Save([]string) error { return nil }

func open(t *testing.T) *spool.Spool {
	s, err := spool.Open(t.TempDir(), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func event(t *testing.T, w *spool.Writer, e segment.Event) {
	t.Helper()
	b, err := segment.EncodeEvent(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(segment.Frame{Type: segment.FrameEvent, UnixNS: 1, Payload: b}); err != nil {
		t.Fatal(err)
	}
}

func packet(t *testing.T, w *spool.Writer, p *livekit.DataPacket) {
	t.Helper()
	p.ParticipantIdentity, p.ParticipantSid = "secret-alice", "PA_secret"
	b, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(segment.Frame{
		Type: segment.FramePacket, Channel: segment.ChannelReliable, Epoch: 1, UnixNS: 2,
		Payload: b,
	}); err != nil {
		t.Fatal(err)
	}
}

// talk records a message and a file of a participant.
func talk(t *testing.T, w *spool.Writer) {
	t.Helper()
	event(t, w, segment.Event{
		Kind: segment.KindParticipantJoined, Identity: "secret-alice", Name: "Alice Secret",
		ParticipantSID: "PA_secret",
	})
	packet(t, w, &livekit.DataPacket{Value: &livekit.DataPacket_User{
		User: &livekit.UserPacket{Payload: []byte("secret text"), Topic: new("secret-topic")},
	}})
	for _, p := range []*livekit.DataPacket{
		{Value: &livekit.DataPacket_StreamHeader{StreamHeader: &livekit.DataStream_Header{
			StreamId: "st", MimeType: "text/plain", Topic: "secret-topic",
			TotalLength: proto.Uint64(11), ContentHeader: &livekit.DataStream_Header_ByteHeader{
				ByteHeader: &livekit.DataStream_ByteHeader{Name: "secret-file.txt"},
			},
		}}},
		{Value: &livekit.DataPacket_StreamChunk{StreamChunk: &livekit.DataStream_Chunk{
			StreamId: "st", Content: []byte("secret text"),
		}}},
		{Value: &livekit.DataPacket_StreamTrailer{StreamTrailer: &livekit.DataStream_Trailer{
			StreamId: "st",
		}}},
	} {
		packet(t, w, p)
	}
}

// TestOf: the description of a recording in each state, plain and with pseudonyms, is correct and
// names no participant.
func TestOf(t *testing.T) {
	for _, pseudonyms := range []bool{false, true} {
		t.Run(fmt.Sprint("pseudonyms ", pseudonyms), func(t *testing.T) {
			s := open(t)
			bucket := objtest.NewMemory("b", true)
			rec, err := s.Create(spool.Info{
				EgressID: "DE_1", SessionID: "session", RoomName: "class 1", ProjectID: "p",
				ProjectName: "P", KeyPrefix: textegress.Prefix("P", "p", "class 1", "", "DE_1"),
				CreatedUnixNS: 100, Pseudonyms: pseudonyms,
			})
			if err != nil {
				t.Fatal(err)
			}
			describe := func(live egressinfo.Live) *livekit.EgressInfo {
				t.Helper()
				e, err := egressinfo.Of(rec, live)
				if err != nil {
					t.Fatal(err)
				}
				b, err := protojson.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				for _, secret := range secrets {
					if strings.Contains(string(b), secret) {
						t.Errorf("%s is in %s", secret, b)
					}
				}
				return e
			}
			want := &livekit.EgressInfo{
				EgressId: "DE_1", RoomName: "class 1", StartedAt: 100, UpdatedAt: 100,
				SourceType: livekit.EgressSourceType_EGRESS_SOURCE_TYPE_SDK,
				Status:     livekit.EgressStatus_EGRESS_STARTING,
			}
			check := func(got *livekit.EgressInfo) {
				t.Helper()
				if d := cmp.Diff(protojson.Format(want), protojson.Format(got)); d != "" {
					t.Error(d)
				}
			}
			check(describe(egressinfo.Live{}))
			w, err := rec.Writer()
			if err != nil {
				t.Fatal(err)
			}
			event(t, w, segment.Event{Kind: segment.KindRecordingStarted})
			if _, joined, err := egressinfo.Joined(rec); joined || err != nil {
				t.Errorf("joined: %v, %v", joined, err)
			}
			event(t, w, segment.Event{Kind: segment.KindJoined, RoomSID: "RM_x"})
			sid, joined, err := egressinfo.Joined(rec)
			if sid != "RM_x" || !joined || err != nil {
				t.Errorf("joined: %q, %v, %v", sid, joined, err)
			}
			talk(t, w)
			live := egressinfo.Live{Status: textegress.StatusActive, RoomSID: sid}
			want.Status, want.RoomId = livekit.EgressStatus_EGRESS_ACTIVE, "RM_x"
			check(describe(live))
			if err := w.Seal(spool.Sealed{
				Status: textegress.StatusFailed, Reason: "duplicate_identity", EndedUnixNS: 300,
			}); err != nil {
				t.Fatal(err)
			}
			want.Status = livekit.EgressStatus_EGRESS_ENDING
			want.EndedAt, want.UpdatedAt = 300, 300
			check(describe(live))
			d := delivery.New(delivery.Options{
				Spool: s, Projects: projects{bucket}, Retention: -1,
			})
			if err := d.Deliver(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
			up, _, err := delivery.LoadUploaded(rec)
			if err != nil {
				t.Fatal(err)
			}
			got := describe(live)
			if len(got.FileResults) < 3 || got.FileResults[0].Size == 0 {
				t.Errorf("%v", got.FileResults)
			}
			for _, f := range got.FileResults {
				_, ok := bucket.Objects()[f.Filename]
				if !ok || f.Location != "memory b/"+f.Filename {
					t.Errorf("no such object: %v", f)
				}
			}
			manifest := rec.Info().KeyPrefix + "manifest.json"
			want.Status = livekit.EgressStatus_EGRESS_FAILED
			want.Error = "the recording failed: duplicate_identity"
			want.UpdatedAt = up.UploadedUnixNS
			want.ManifestLocation = "memory b/" + manifest
			want.Details = "Packets: 4, in 2 messages. Outages: 0. Numbers missing without " +
				"explanation: 0. Unreadable ranges: 0. Tail: unproved."
			want.FileResults = got.FileResults
			check(got)
		})
	}
}

// TestJoined_Removed: without segments, the final status shows whether the recorder had joined.
func TestJoined_Removed(t *testing.T) {
	s := open(t)
	for id, status := range map[string]textegress.Status{
		"DE_1": textegress.StatusComplete, "DE_2": textegress.StatusAborted,
	} {
		rec, err := s.Create(spool.Info{EgressID: id, SessionID: id})
		if err != nil {
			t.Fatal(err)
		}
		w, err := rec.Writer()
		if err == nil {
			err = w.Seal(spool.Sealed{Status: status})
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, joined, err := egressinfo.Joined(rec); err != nil ||
			joined != (status == textegress.StatusComplete) {
			t.Errorf("%s: %v, %v", status, joined, err)
		}
	}
}

// TestOf_RoomSID: on a LiveKit server the session is the run of the room.
func TestOf_RoomSID(t *testing.T) {
	rec, err := open(t).Create(spool.Info{EgressID: "DE_1", SessionID: "RM_abc"})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := egressinfo.Of(rec, egressinfo.Live{}); err != nil || e.RoomId != "RM_abc" {
		t.Errorf("%v %v", e, err)
	}
}

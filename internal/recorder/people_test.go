package recorder

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

func packetFrame(t testing.TB, at time.Time, p *livekit.DataPacket) segment.Frame {
	t.Helper()
	b, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return segment.Frame{
		Type: segment.FramePacket, Channel: segment.ChannelReliable, UnixNS: at.UnixNano(),
		Payload: b,
	}
}

func userPacket(identity string) *livekit.DataPacket {
	return &livekit.DataPacket{
		ParticipantIdentity: identity,
		Value: &livekit.DataPacket_User{
			User: &livekit.UserPacket{Payload: []byte("x")},
		},
	}
}

func mustEvent(t testing.TB, at time.Time, ev segment.Event) segment.Frame {
	t.Helper()
	f, err := eventFrame(1, at.UnixNano(), ev)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func joins(t testing.TB, at time.Time, sid, identity string) segment.Frame {
	return mustEvent(t, at, segment.Event{
		Kind: textegress.KindParticipantJoined, ParticipantSID: sid, Identity: identity,
		Name: "name of " + identity,
	})
}

func leaves(t testing.TB, at time.Time, sid, identity string) segment.Frame {
	return mustEvent(t, at, segment.Event{
		Kind: textegress.KindParticipantLeft, ParticipantSID: sid, Identity: identity,
	})
}

// A participant's presence and messages, also when the packets overtake the announcement, two
// connections overlap, or the participant comes back.
func TestPeople_PresenceAndMessages(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	r := &record{}
	for _, f := range []segment.Frame{
		packetFrame(t, at(1), userPacket("ann")), // not announced yet
		joins(t, at(2), "PA_1", "ann"),
		joins(t, at(3), "PA_2", "bob"),
		packetFrame(t, at(25), userPacket("ann")),
		joins(t, at(30), "PA_3", "ann"), // a second connection
		leaves(t, at(31), "PA_1", "ann"),
		leaves(t, at(40), "PA_2", "bob"),
		joins(t, at(60), "PA_4", "bob"),
		leaves(t, at(70), "PA_4", "bob"),
	} {
		r.Frame(f)
	}
	got := r.listPeople(at(70))
	want := []Person{
		{
			Identity: "ann", SID: "PA_3", Name: "name of ann", Present: true, Since: at(2),
			Messages: 2, LastMessageAt: at(25),
		},
		{
			Identity: "bob", SID: "PA_4", Name: "name of bob", Since: at(60), LeftAt: at(70),
		},
	}
	want[0].Recent[22], want[0].Recent[24] = 1, 1 // intervals begin at multiples of 10 s
	comparePeople(t, got, want)
}

func comparePeople(t *testing.T, got, want []Person) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d people, want %d: %+v", len(got), len(want), got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("person %d\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

// A sender whom the server has not announced yet, or never does, is present for a minute; one who
// has left is not, also if packets follow.
func TestPeople_Unannounced(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	r := &record{}
	for _, f := range []segment.Frame{
		joins(t, at(0), "PA_1", "ann"),
		leaves(t, at(1), "PA_1", "ann"),
		packetFrame(t, at(2), userPacket("ann")),
		packetFrame(t, at(2), userPacket("hidden")),
	} {
		r.Frame(f)
	}
	for s, want := range map[int]string{3: "hidden", 61: "hidden", 62: ""} {
		var got strings.Builder
		for _, p := range r.listPeople(at(s)) {
			if p.Present {
				got.WriteString(p.Identity)
			}
		}
		if got.String() != want {
			t.Errorf("after %d s: %q, want %q", s, got.String(), want)
		}
	}
}

// Which packets count, and for whom.
func TestPeople_WhatCounts(t *testing.T) {
	header := &livekit.DataPacket_StreamHeader{StreamHeader: &livekit.DataStream_Header{}}
	for name, tc := range map[string]struct {
		packet *livekit.DataPacket
		counts bool
	}{
		"user": {userPacket("ann"), true},
		"user of an old server": {&livekit.DataPacket{Value: &livekit.DataPacket_User{
			User: &livekit.UserPacket{ParticipantIdentity: "ann"}, //nolint:staticcheck // servers set it
		}}, true},
		"chat": {&livekit.DataPacket{
			ParticipantIdentity: "ann", Value: &livekit.DataPacket_ChatMessage{
				ChatMessage: &livekit.ChatMessage{},
			},
		}, true},
		"header": {&livekit.DataPacket{ParticipantIdentity: "ann", Value: header}, true},
		"chunk": {&livekit.DataPacket{
			ParticipantIdentity: "ann", Value: &livekit.DataPacket_StreamChunk{
				StreamChunk: &livekit.DataStream_Chunk{},
			},
		}, false},
		"trailer": {&livekit.DataPacket{
			ParticipantIdentity: "ann", Value: &livekit.DataPacket_StreamTrailer{
				StreamTrailer: &livekit.DataStream_Trailer{},
			},
		}, false},
		"acknowledgement": {&livekit.DataPacket{
			ParticipantIdentity: "ann", Value: &livekit.DataPacket_RpcAck{
				RpcAck: &livekit.RpcAck{},
			},
		}, false},
		"encrypted": {&livekit.DataPacket{
			ParticipantIdentity: "ann", Value: &livekit.DataPacket_EncryptedPacket{
				EncryptedPacket: &livekit.EncryptedPacket{},
			},
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r, at := &record{}, time.Unix(1_700_000_000, 0)
			r.Frame(joins(t, at, "PA_1", "ann"))
			r.Frame(packetFrame(t, at, tc.packet))
			if got := r.listPeople(at)[0].Messages == 1; got != tc.counts {
				t.Errorf("counted: %v, want %v", got, tc.counts)
			}
		})
	}
}

// The frames of a data track count for its publisher, the further packets of a frame do not.
func TestPeople_DataTracks(t *testing.T) {
	r, at := &record{}, time.Unix(1_700_000_000, 0)
	r.Frame(joins(t, at, "PA_1", "ann"))
	r.Frame(mustEvent(t, at, segment.Event{
		Kind: textegress.KindDataTrackSubscribed, Identity: "ann", Handle: 0x102,
	}))
	for _, first := range []byte{1 << 4, 0} { // start of a frame, not a start
		r.Frame(segment.Frame{
			Type: segment.FramePacket, Channel: segment.ChannelDataTrack, UnixNS: at.UnixNano(),
			Payload: []byte{first, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0},
		})
	}
	restored := &record{}
	restored.Restore(r.State())
	for _, r := range []*record{r, restored} {
		r.Frame(segment.Frame{
			Type: segment.FramePacket, Channel: segment.ChannelDataTrack, UnixNS: at.UnixNano(),
			Payload: []byte{1 << 4, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0},
		})
		if n := r.listPeople(at)[0].Messages; n != 2 {
			t.Errorf("%d messages, want 2", n)
		}
	}
}

// A state at the head of a segment, together with the frames after it, gives the same counts as all
// frames, wherever it is cut.
func TestPeople_StateAtEveryFrame(t *testing.T) {
	start := time.Unix(1_700_000_003, 0)
	var frames []segment.Frame
	for i := range 120 {
		at := start.Add(time.Duration(i*7) * time.Second)
		identity := "p" + strconv.Itoa(i%3)
		switch {
		case i%40 < 3:
			frames = append(frames, joins(t, at, fmt.Sprintf("PA_%d_%d", i%3, i/40), identity))
		case i%40 == 38:
			frames = append(frames, leaves(t, at, fmt.Sprintf("PA_%d_%d", i%3, i/40), identity))
		default:
			frames = append(frames, packetFrame(t, at, userPacket(identity)))
		}
	}
	whole := &record{}
	for _, f := range frames {
		whole.Frame(f)
	}
	end := start.Add(120 * 7 * time.Second)
	want := whole.listPeople(end)
	for cut := range frames {
		before, after := &record{}, &record{}
		for _, f := range frames[:cut] {
			before.Frame(f)
		}
		payload, err := segment.EncodeState(before.State())
		if err != nil {
			t.Fatal(err)
		}
		s, err := segment.DecodeState(payload)
		if err != nil {
			t.Fatal(err)
		}
		after.Restore(s)
		for _, f := range frames[cut:] {
			after.Frame(f)
		}
		comparePeople(t, after.listPeople(end), want)
		var a, b Snapshot
		after.counts(&a)
		whole.counts(&b)
		if a.Messages != b.Messages || a.Messages == 0 {
			t.Errorf("cut at %d: %d messages, want %d", cut, a.Messages, b.Messages)
		}
	}
}

// Whoever is excluded is neither returned nor stored.
func TestPeople_Excluded(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	f, err := filter.New(textegress.SelectionRules{IdentitiesDeny: []string{"ann"}})
	if err != nil {
		t.Fatal(err)
	}
	r := &record{filter: f}
	r.Frame(joins(t, at, "PA_1", "ann"))
	r.Frame(joins(t, at, "PA_2", "bob"))
	r.Frame(joins(t, at, "PA_3", "eve"))
	r.Frame(mustEvent(t, at, segment.Event{
		Kind: textegress.KindParticipantLeft, ParticipantSID: "PA_3", Identity: "eve",
		Cause: segment.CauseExcluded,
	}))
	if got := r.listPeople(at); len(got) != 1 || got[0].Identity != "bob" {
		t.Errorf("people: %+v", got)
	}
	if got := r.State().People; len(got) != 1 || got[0].Identity != "bob" {
		t.Errorf("state: %+v", got)
	}
}

// The number of people is bounded; those who are present stay.
func TestPeople_Bounded(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	r := &record{}
	r.Frame(joins(t, at, "PA_first", "first"))
	for i := range maxPeople + 10 {
		sid, identity := "PA_"+strconv.Itoa(i), "p"+strconv.Itoa(i)
		at = at.Add(time.Second)
		r.Frame(joins(t, at, sid, identity))
		r.Frame(leaves(t, at, sid, identity))
	}
	got := map[string]bool{}
	for _, p := range r.listPeople(at) {
		got[p.Identity] = true
	}
	if len(got) != maxPeople || !got["first"] || got["p0"] || !got["p2009"] {
		t.Errorf("%d people, first %v, p0 %v, p2009 %v", len(got), got["first"], got["p0"],
			got["p2009"])
	}
	var s Snapshot
	r.counts(&s)
	if s.MorePeople != 11 {
		t.Errorf("%d more people, want 11", s.MorePeople)
	}
}

// What the counts of a packet cost, beside its whole way from the room to the spool.
func BenchmarkPeople(b *testing.B) {
	at := time.Unix(1_700_000_000, 0)
	p := userPacket("p7")
	p.ParticipantSid, p.GetUser().Topic = "PA_7", new("telemetry")
	p.GetUser().Payload = make([]byte, 200)
	f := packetFrame(b, at, p)
	join := func(r *record) {
		for i := range 30 {
			r.Frame(joins(b, at, "PA_"+strconv.Itoa(i), "p"+strconv.Itoa(i)))
		}
	}
	b.Run("counts", func(b *testing.B) {
		r := &record{}
		join(r)
		b.ReportAllocs()
		for b.Loop() {
			r.state.packet(f)
		}
	})
	b.Run("packet", func(b *testing.B) {
		s, err := spool.Open(b.TempDir(), spool.Options{SyncInterval: time.Hour})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close() //nolint:errcheck // of a benchmark
		rec, err := s.Create(spool.Info{ProjectID: "p", SessionID: "s"})
		if err != nil {
			b.Fatal(err)
		}
		r := New(rec, Options{Logger: slog.New(slog.DiscardHandler)})
		if r.rec.w, err = r.rec.resume(rec); err != nil {
			b.Fatal(err)
		}
		join(r.rec)
		h := newHandler(b.Context(), r)
		b.ReportAllocs()
		for b.Loop() {
			h.Packet(room.Reliable, at, f.Payload)
		}
	})
}

package completeness_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/completeness"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/segment"
)

// record makes frames one after the other, a second apart.
type record struct {
	t     testing.TB
	a     *completeness.Account
	d     *decode.Decoder
	index uint64
	epoch uint16
}

func newRecord(t testing.TB, l completeness.Limits) *record {
	return &record{t: t, a: completeness.New(l), d: decode.New(decode.Options{})}
}

func (r *record) frame(f segment.Frame) uint64 {
	r.index++
	f.Index, f.Epoch = r.index, r.epoch
	if f.UnixNS == 0 {
		f.UnixNS = int64(r.index) * 1e9
	}
	if f.Type == segment.FrameEvent {
		m, ok := decode.Event(f)
		r.a.Event(f, m, ok)
	}
	if err := r.d.Frame(f, func(*decode.Line) error { return nil }); err != nil {
		r.t.Fatal(err)
	}
	if f.Type != segment.FrameEvent {
		r.a.Packet(f, r.d.Envelope())
	}
	return r.index
}

func (r *record) eventAt(ns int64, e segment.Event) uint64 {
	r.t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.frame(segment.Frame{Type: segment.FrameEvent, UnixNS: ns, Payload: b})
}

func (r *record) event(e segment.Event) uint64 { r.t.Helper(); return r.eventAt(0, e) }

// join begins the next epoch, with these participants in the room already.
func (r *record) join(roster ...string) {
	r.epoch++
	ns := int64(r.index+1) * 1e9
	r.eventAt(ns, segment.Event{Kind: textegress.KindJoined, RoomSID: "RM_1"})
	if r.epoch > 1 {
		r.eventAt(ns, segment.Event{Kind: textegress.KindOutageEnded})
	}
	for _, sid := range roster {
		r.eventAt(ns, segment.Event{
			Kind: textegress.KindParticipantJoined, ParticipantSID: sid,
			Identity: "of " + sid,
		})
	}
}

func (r *record) arrive(sid string) {
	r.event(segment.Event{
		Kind: textegress.KindParticipantJoined, ParticipantSID: sid,
		Identity: "of " + sid,
	})
}

func (r *record) leave(sid string) {
	r.event(segment.Event{
		Kind: textegress.KindParticipantLeft, ParticipantSID: sid,
		Identity: "of " + sid,
	})
}

func (r *record) lose(cause string) {
	r.event(segment.Event{
		Kind: textegress.KindOutageStarted, Cause: cause,
		SinceUnixNS: int64(r.index) * 1e9,
	})
}

func (r *record) packet(c segment.Channel, p *livekit.DataPacket) uint64 {
	r.t.Helper()
	if p.Value == nil {
		p.Value = &livekit.DataPacket_User{User: &livekit.UserPacket{Payload: []byte("x")}}
	}
	b, err := proto.Marshal(p)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.frame(segment.Frame{Type: segment.FramePacket, Channel: c, Payload: b})
}

// say sends numbered packets.
func (r *record) say(sid string, numbers ...uint32) {
	r.t.Helper()
	for _, n := range numbers {
		r.packet(segment.ChannelReliable, &livekit.DataPacket{
			ParticipantSid:      sid,
			ParticipantIdentity: "of " + sid, Sequence: n,
		})
	}
}

func (r *record) statement() textegress.Completeness {
	return r.a.Statement(completeness.Context{Reason: "left"})
}

func connection(t *testing.T, c textegress.Completeness, sid string) textegress.Connection {
	t.Helper()
	for _, entry := range c.Connections {
		if entry.ParticipantSID == sid {
			return entry
		}
	}
	t.Fatalf("no connection %s", sid)
	return textegress.Connection{}
}

// seq is what the tables below say of a sequence, without places.
func seq(s *textegress.Sequence) string {
	if s == nil {
		return "none"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d-%d, %d", s.First, s.Last, s.Received)
	if s.Contiguous {
		b.WriteString(" contiguous")
	}
	show := func(g textegress.Gap) {
		fmt.Fprintf(&b, " %d-%d", g.First, g.Last)
		if g.FirstOutage > 0 {
			fmt.Fprintf(&b, " outage %d-%d", g.FirstOutage, g.LastOutage)
		}
		if g.Damage {
			b.WriteString(" damage")
		}
		if g.BeforeJoin {
			b.WriteString(" before join")
		}
		if !g.Explained {
			b.WriteString(" unexplained")
		}
		b.WriteByte(';')
	}
	if s.BeforeFirst != nil {
		b.WriteString(" head")
		show(*s.BeforeFirst)
	}
	for _, g := range s.Gaps {
		show(g)
	}
	for _, n := range []struct {
		name string
		n    int64
	}{{"duplicates", s.Duplicates}, {"reordered", s.Reordered}, {"unjudged", s.Unjudged}} {
		if n.n > 0 {
			fmt.Fprintf(&b, " %d %s", n.n, n.name)
		}
	}
	return b.String()
}

// arrived is a participant who arrives while we are in the room and sends packets of these numbers.
func arrived(numbers ...uint32) func(*record) {
	return func(r *record) { r.join(); r.arrive("A"); r.say("A", numbers...) }
}

func TestSequence(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(r *record)
		want string
	}{
		{"contiguous from 1", arrived(1, 2, 3), "1-3, 3 contiguous"},
		{
			"in the room before us", func(r *record) { r.join("A"); r.say("A", 5, 6) },
			"5-6, 2 contiguous head 1-4 before join;",
		},
		{
			"came while we looked, and its first numbers are not there", arrived(3, 4),
			"3-4, 2 contiguous head 1-2 unexplained;",
		},
		{
			"its data came before the news of it",
			func(r *record) { r.join(); r.say("A", 2); r.arrive("A"); r.say("A", 3) },
			"2-3, 2 contiguous head 1-1 before join;",
		},
		{
			"a gap of addressed packets", arrived(1, 4, 5, 9),
			"1-9, 4 2-3 unexplained; 6-8 unexplained;",
		},
		{"a gap over an outage", func(r *record) {
			r.join()
			r.arrive("A")
			r.say("A", 1)
			r.lose("x")
			r.join("A")
			r.say("A", 4)
		}, "1-4, 2 2-3 outage 1-1;"},
		{"two outages without a packet between", func(r *record) {
			r.join()
			r.arrive("A")
			r.say("A", 1)
			r.lose("x")
			r.join("A")
			r.lose("x")
			r.join("A")
			r.say("A", 4)
		}, "1-4, 2 2-3 outage 1-2;"},
		{"a gap after the outage", func(r *record) {
			r.join()
			r.arrive("A")
			r.say("A", 1)
			r.lose("x")
			r.join("A")
			r.say("A", 2, 4)
		}, "1-4, 3 3-3 unexplained;"},
		{"came in the outage", func(r *record) {
			r.join()
			r.lose("x")
			r.join("A")
			r.say("A",
				3)
		}, "3-3, 1 contiguous head 1-2 outage 1-1;"},
		{"came in the second outage", func(r *record) {
			r.join()
			r.lose("x")
			r.join()
			r.lose("x")
			r.join("A")
			r.say("A", 3)
		}, "3-3, 1 contiguous head 1-2 outage 2-2;"},
		{"a damaged range", func(r *record) {
			r.join()
			r.arrive("A")
			r.say("A", 1)
			r.event(segment.Event{Kind: textegress.KindCorrupt, Bytes: 9, FramesMissing: 2})
			r.say("A", 4)
		}, "1-4, 2 2-3 damage;"},
		{"twice the same", arrived(1, 1, 2, 1), "1-2, 2 contiguous 2 duplicates"},
		{
			"another order", arrived(1, 5, 3, 2, 3, 4),
			"1-5, 5 contiguous 1 duplicates 3 reordered",
		},
		{
			"the first one later", arrived(5, 3),
			"3-5, 2 head 1-2 unexplained; 4-4 unexplained; 1 reordered",
		},
		{"the very first one later", arrived(3, 1, 2), "1-3, 3 contiguous 2 reordered"},
		{
			"the whole range", arrived(1, 1<<32-1, 1<<32-2),
			"1-4294967295, 3 2-4294967293 unexplained; 1 reordered",
		},
		{
			"more gaps than are remembered", arrived(1, 3, 5, 7, 9, 11, 2, 8, 8, 12),
			"1-12, 8 4-4 unexplained; 6-6 unexplained; 1 reordered 2 unjudged",
		},
		{"no number", arrived(0, 0), "none"},
		{"a number on the lossy channel", func(r *record) {
			r.join()
			r.packet(segment.ChannelLossy, &livekit.DataPacket{ParticipantSid: "A", Sequence: 7})
		}, "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRecord(t, completeness.Limits{GapsPerConnection: 3})
			tt.do(r)
			if got := seq(connection(t, r.statement(), "A").Sequence); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// A connection without a gap is still not proved to its end where the server ended the room, or an
// outage followed.
func TestTail(t *testing.T) {
	r := newRecord(t, completeness.Limits{})
	r.join()
	r.arrive("A")
	r.arrive("B")
	r.arrive("C")
	r.say("A", 1)
	r.say("B", 1)
	r.say("C", 1)
	r.leave("C")
	r.lose("connection_lost")
	if c := r.statement(); c.Tail != textegress.TailUnproved {
		t.Errorf("ended within an outage: tail %s", c.Tail)
	}
	r.join("A", "B")
	r.say("A", 2)
	c := r.statement()
	want := map[string]string{
		"A": textegress.TailLeft, "B": textegress.TailUnproved,
		"C": textegress.TailLeft,
	}
	for sid, tail := range want {
		if got := connection(t, c, sid).Tail; got != tail {
			t.Errorf("%s: tail %s, want %s", sid, got, tail)
		}
	}
	for _, reason := range []string{"left", "service_stopped", "stopped", "opted_out"} {
		if c := r.a.Statement(completeness.Context{Reason: reason}); c.Tail != textegress.TailLeft {
			t.Errorf("%q: tail %s", reason, c.Tail)
		}
	}
	for _, reason := range []string{
		"room_deleted", "room_closed", "session_ended",
		"participant_removed", "",
	} {
		c := r.a.Statement(completeness.Context{Reason: reason})
		if c.Tail != textegress.TailUnproved {
			t.Errorf("%q: tail %s", reason, c.Tail)
		}
		for _, entry := range c.Connections {
			if entry.Tail != textegress.TailUnproved {
				t.Errorf("%q: tail of %s is %s", reason, entry.ParticipantSID, entry.Tail)
			}
		}
	}
}

func TestOutageNeighbours(t *testing.T) {
	r := newRecord(t, completeness.Limits{})
	r.join()
	for _, sid := range []string{"A", "B", "C", "D", "E"} {
		r.arrive(sid)
	}
	r.say("A", 1, 2)
	r.say("B", 1)
	r.say("C", 1)
	r.say("D", 0)
	r.leave("C")
	r.lose("process_died")
	r.join("A", "B", "E")
	r.say("A", 3)
	r.say("E", 1)
	c := r.statement()
	want := []textegress.OutageNeighbour{
		{ParticipantSID: "A", LastBefore: 2, FirstAfter: 3}, // nothing numbered was missed
		{ParticipantSID: "B", LastBefore: 1},
	}
	if len(c.Outages) != 1 {
		t.Fatalf("outages %+v", c.Outages)
	}
	o := c.Outages[0]
	if diff := cmp.Diff(want, o.Connections); diff != "" {
		t.Error(diff)
	}
	if o.Cause != "process_died" || o.StartIndex == 0 || o.EndIndex != o.StartIndex+2 ||
		o.StartedUnixNS != int64(o.StartIndex-1)*1e9 {
		t.Errorf("outage %+v", o)
	}
}

func TestWhatNothingCanBeProvedOf(t *testing.T) {
	r := newRecord(t, completeness.Limits{})
	r.join()
	r.arrive("A")
	p := &livekit.DataPacket{ParticipantSid: "A", ParticipantIdentity: "of A"}
	r.packet(segment.ChannelLossy, p)
	r.packet(segment.ChannelLossy, p)
	r.say("A", 0)
	r.packet(segment.ChannelReliable, &livekit.DataPacket{
		ParticipantSid: "A", Sequence: 1,
		Value: &livekit.DataPacket_EncryptedPacket{EncryptedPacket: &livekit.EncryptedPacket{}},
	})
	r.packet(segment.ChannelReliable, &livekit.DataPacket{}) // through the server's API
	r.frame(segment.Frame{
		Type: segment.FramePacket, Channel: segment.ChannelReliable,
		Payload: []byte{0xff},
	})
	track := func(handle byte) {
		r.frame(segment.Frame{
			Type: segment.FramePacket, Channel: segment.ChannelDataTrack,
			Payload: []byte{0x18, 0, 0, handle, 0, 1, 0, 1, 0, 0, 0, 1, 'x'},
		})
	}
	r.event(segment.Event{
		Kind: textegress.KindDataTrackSubscribed, ParticipantSID: "A",
		Identity: "of A", TrackSID: "DTR", Handle: 1,
	})
	track(1)
	// whose it is, nobody has told
	track(2)
	// no header
	r.frame(segment.Frame{
		Type: segment.FramePacket, Channel: segment.ChannelDataTrack,
		Payload: []byte{0x18, 0, 0, 1},
	})
	c := r.statement()
	got := connection(t, c, "A")
	got.Sequence = nil
	if diff := cmp.Diff(textegress.Connection{
		ParticipantSID: "A", Identity: "of A", Packets: 6, Reliable: 2, Unsequenced: 1, Lossy: 2,
		DataTrack: 2, Undecodable: 1, Undecryptable: 1, Tail: textegress.TailLeft,
	}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(textegress.Connection{
		Packets: 3, Reliable: 2, Unsequenced: 2, DataTrack: 1, Undecodable: 1,
		Tail: textegress.TailLeft,
	}, connection(t, c, "")); diff != "" {
		t.Error(diff)
	}
	if c.UndecodablePackets != 2 || c.UndecryptablePackets != 1 {
		t.Errorf("%d undecodable, %d undecryptable", c.UndecodablePackets, c.UndecryptablePackets)
	}
}

// A gap may be what rules left out only where some were in force, and only if anything was left
// out.
func TestGapsUnderSelection(t *testing.T) {
	rules := &textegress.SelectionRules{TopicsDeny: []string{"x"}}
	for name, tc := range map[string]struct {
		end       func(r *record)
		selection []bool // of the gaps 3, 5, 7, 9, 11
		gaps      int64
	}{
		"nothing was dropped": {func(*record) {}, []bool{false, false, false, false, false}, 0},
		"dropped": {func(r *record) {
			r.event(segment.Event{
				Kind:    textegress.KindDropped,
				Dropped: []textegress.Dropped{{Reason: textegress.DroppedTopic, Packets: 1}},
			})
		}, []bool{false, true, true, true, false}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecord(t, completeness.Limits{})
			r.join()
			r.arrive("A")
			r.say("A", 2)
			r.say("A", 4)
			// in the middle of a gap
			r.event(segment.Event{Kind: textegress.KindSelection, Selection: rules})
			r.say("A", 6)
			r.lose("connection_lost")
			r.join()
			r.say("A", 8)
			r.event(segment.Event{Kind: textegress.KindSelection})
			r.say("A", 10) // began while the rules were in force
			r.say("A", 12)
			tc.end(r)
			s := connection(t, r.statement(), "A").Sequence
			if s.BeforeFirst == nil || s.BeforeFirst.Selection {
				t.Errorf("before the first: %+v", s.BeforeFirst)
			}
			var got []bool
			for _, g := range s.Gaps {
				got = append(got, g.Selection)
			}
			if diff := cmp.Diff(tc.selection, got); diff != "" || s.SelectionGaps != tc.gaps ||
				s.UnexplainedGaps != 4 {
				t.Errorf("%s, %d of %d unexplained gaps", diff, s.SelectionGaps, s.UnexplainedGaps)
			}
		})
	}
	// A recorder that dies takes its count along: then it may have been more than nothing.
	r := newRecord(t, completeness.Limits{GapsPerConnection: 1})
	r.event(segment.Event{Kind: textegress.KindSelection, Selection: rules})
	r.join()
	r.arrive("A")
	r.say("A", 1, 3, 5)
	r.lose("process_died")
	if s := connection(t, r.statement(), "A").Sequence; s.SelectionGaps != 2 ||
		s.UnexplainedGaps != 2 || !s.Gaps[0].Selection {
		t.Errorf("%+v", s)
	}
}

func TestStreams(t *testing.T) {
	r := newRecord(t, completeness.Limits{Streams: 2})
	line := func(n int64, kind textegress.Kind, id string, ok bool) {
		r.a.Stream(textegress.Message{
			N: n, Kind: kind, ParticipantSID: "A", Identity: "of A",
			Stream: &textegress.StreamInfo{ID: id, Complete: ok},
		})
	}
	line(1, textegress.KindTextStream, "s1", true)
	line(2, textegress.KindByteStream, "s2", false)
	line(3, textegress.KindTextStream, "s3", false)
	line(4, textegress.KindTextStream, "s4", false)
	r.a.Stream(textegress.Message{Kind: textegress.KindData})
	c := r.statement()
	want := textegress.Streams{Complete: 1, Incomplete: 3, List: []textegress.IncompleteStream{
		{N: 2, ID: "s2", Kind: textegress.KindByteStream, ParticipantSID: "A", Identity: "of A"},
		{N: 3, ID: "s3", Kind: textegress.KindTextStream, ParticipantSID: "A", Identity: "of A"},
	}}
	if diff := cmp.Diff(want, c.Streams); diff != "" {
		t.Error(diff)
	}
	if a := connection(t, c, "A"); a.StreamsComplete != 1 || a.StreamsIncomplete != 3 {
		t.Errorf("%+v", a)
	}
}

// The account of any sequence of numbers agrees with one that keeps all of them.
func TestSequenceAgainstOracle(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		r := newRecord(t, completeness.Limits{GapsPerConnection: 1 + rnd.IntN(6)})
		r.join()
		seen := map[uint32]bool{}
		dups, high, low := int64(0), uint32(0), uint32(1<<32-1)
		for range 1 + rnd.IntN(60) {
			n := uint32(1 + rnd.IntN(40))
			if rnd.IntN(2) == 0 {
				n = high + uint32(rnd.IntN(4))
			}
			if n == 0 {
				continue
			}
			r.say("A", n)
			if seen[n] {
				dups++
			}
			seen[n] = true
			high, low = max(high, n), min(low, n)
		}
		if len(seen) == 0 {
			continue
		}
		missing := uint64(high) - uint64(low) + 1 - uint64(len(seen))
		s := connection(t, r.statement(), "A").Sequence
		if s.First != low || s.Last != high {
			t.Fatalf("%d-%d, want %d-%d", s.First, s.Last, low, high)
		}
		if s.Unjudged == 0 {
			if s.Received != int64(len(seen)) || s.MissingNumbers != missing ||
				s.Contiguous != (missing == 0) || s.Duplicates != dups {
				t.Fatalf("%s: received %d, missing %d, duplicates %d", seq(s), len(seen), missing,
					dups)
			}
			continue
		}
		// Not all could be remembered: what is missing is stated as an upper bound, completeness
		// not at all.
		if s.Received > int64(len(seen)) || s.MissingNumbers < missing || s.Contiguous {
			t.Fatalf("%s: received %d, missing %d", seq(s), len(seen), missing)
		}
	}
}

// Whatever participants send, neither memory nor the manifest grows without bound.
func TestBounded(t *testing.T) {
	r := newRecord(t, completeness.Limits{})
	r.join()
	n := 40_000
	if testing.Short() {
		n = 33_000
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	long := strings.Repeat("x", 5000)
	for i := range n {
		switch i % 3 {
		case 0: // every second number of one sender
			r.say("PA_gaps", uint32(2*i+1))
		case 1: // a sender for each packet
			r.say(fmt.Sprintf("PA_%d", i), uint32(i))
		case 2: // names that are too long
			r.packet(segment.ChannelReliable, &livekit.DataPacket{ParticipantSid: fmt.Sprint(long,
				i%7), ParticipantIdentity: long, Sequence: uint32(i)})
		}
		if i%(n/50) == 0 {
			r.lose("x")
			r.join()
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	c := r.statement()
	runtime.KeepAlive(r.a)
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	const limit = 16 << 20
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > limit {
		t.Errorf("the account holds %d bytes", grown)
	} else {
		t.Logf("the account of %d packets holds %d bytes; in JSON the statement has %d", n, grown,
			len(b))
	}
	if len(b) > limit {
		t.Errorf("the statement has %d bytes", len(b))
	}
	if len(c.Connections) != 10_000 || c.ConnectionsOmitted == nil {
		t.Errorf("%d connections are listed, omitted: %+v", len(c.Connections),
			c.ConnectionsOmitted)
	}
	total := c.ConnectionsOmitted.Packets
	for _, entry := range c.Connections {
		total += entry.Packets
	}
	if total != int64(n) {
		t.Errorf("%d packets are accounted for, %d were received", total, n)
	}
	s := connection(t, c, "PA_gaps").Sequence
	if len(s.Gaps) != 64 || s.GapCount != int64((n+2)/3)-1 || s.Contiguous {
		t.Errorf("%d gaps are listed of %d", len(s.Gaps), s.GapCount)
	}
}

// Numbers that come in any order over the limit of gaps of all connections together.
func TestGapBudgetOfAll(t *testing.T) {
	r := newRecord(t, completeness.Limits{Gaps: 3})
	r.join()
	r.say("A", 1, 3, 5)
	r.say("B", 1, 3, 5)
	c := r.statement()
	if got := seq(connection(t, c, "B").Sequence); got != "1-5, 3 2-2 unexplained;" {
		t.Error(got)
	}
	if s := connection(t, c, "B").Sequence; s.GapCount != 2 || s.MissingNumbers != 2 ||
		s.UnexplainedGaps != 2 {
		t.Errorf("%+v", s)
	}
	r.say("A", 2) // its place in the budget is free again
	r.say("B", 7)
	if s := connection(t, r.statement(), "B").Sequence; len(s.Gaps) != 2 || s.GapCount != 3 {
		t.Errorf("%+v", s)
	}
}

// A statement can be made at any time, and making it changes nothing.
func TestStatementIsASnapshot(t *testing.T) {
	r := newRecord(t, completeness.Limits{})
	r.join()
	r.say("A", 2, 4)
	r.lose("x")
	first := r.statement()
	if diff := cmp.Diff(first, r.statement()); diff != "" {
		t.Error(diff)
	}
	r.join("A")
	r.say("A", 3, 9)
	if first.Outages[0].EndIndex != 0 || connection(t, first, "A").Sequence.Last != 4 {
		t.Errorf("an earlier statement changed: %+v", first)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint8(1), uint8(1))
	f.Add([]byte(`{"kind":"participant_joined","participant_sid":"A"}`), uint8(2), uint8(0))
	f.Add([]byte("\x8a\x01\x01A\x80\x01\x05\x12\x00"), uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, payload []byte, typ, channel uint8) {
		r := newRecord(t, completeness.Limits{GapsPerConnection: 2})
		r.join()
		r.say("A", 3)
		r.frame(segment.Frame{
			Type: segment.FrameType(typ), Channel: segment.Channel(channel),
			Payload: payload,
		})
		r.say("A", 5)
		c := r.statement()
		total := int64(0)
		for _, entry := range c.Connections {
			total += entry.Packets
			if s := entry.Sequence; s != nil && (s.Received > entry.Reliable || s.Contiguous &&
				uint64(s.Received) != uint64(s.Last)-uint64(s.First)+1) {
				t.Errorf("%+v", s)
			}
		}
		if c.ConnectionsOmitted != nil {
			total += c.ConnectionsOmitted.Packets
		}
		want := int64(3)
		if segment.FrameType(typ) == segment.FrameEvent {
			want = 2
		}
		if total != want {
			t.Errorf("%d packets are accounted for, want %d", total, want)
		}
	})
}

// Steps of the clock are stated where they were, as many as there is room for.
func TestClockSteps(t *testing.T) {
	r := newRecord(t, completeness.Limits{ClockSteps: 2})
	r.join("PA_1")
	first := r.event(segment.Event{
		Kind: textegress.KindClockStep, OffsetNS: -5e9, BeforeUnixNS: 9e9,
		AfterUnixNS: 4e9,
	})
	second := r.event(segment.Event{
		Kind: textegress.KindClockStep, OffsetNS: -1, BeforeUnixNS: 5e9,
		AfterUnixNS: 5e9 - 1, AtLeast: true, EgressID: "DE_a",
	})
	for range 3 {
		r.event(segment.Event{Kind: textegress.KindClockStep, OffsetNS: 1e9})
	}
	c := r.a.Statement(completeness.Context{})
	want := []textegress.ClockStep{
		{Index: first, OffsetNS: -5e9, BeforeUnixNS: 9e9, AfterUnixNS: 4e9},
		{
			Index: second, OffsetNS: -1, BeforeUnixNS: 5e9, AfterUnixNS: 5e9 - 1, AtLeast: true,
			EgressID: "DE_a",
		},
	}
	if diff := cmp.Diff(want, c.ClockSteps); diff != "" || c.ClockStepsOmitted != 3 {
		t.Errorf("%d omitted\n%s", c.ClockStepsOmitted, diff)
	}
}

package timeline_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/timeline"
	"github.com/syncflow/textegress/segment"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// tape collects lines at times after noon.
type tape struct{ c *timeline.Collector }

func (t tape) add(at time.Duration, m textegress.Message) {
	m.UnixNS = noon.Add(at).UnixNano()
	t.c.Add(&m)
}

func (t tape) event(at time.Duration, kind textegress.Kind, e segment.Event) {
	t.add(at, textegress.Message{Kind: kind, Event: &e})
}

func (t tape) in(at time.Duration, who, sid string) {
	t.event(at, textegress.KindParticipantJoined, segment.Event{Identity: who, ParticipantSID: sid})
}

func (t tape) out(at time.Duration, who, sid string) {
	t.event(at, textegress.KindParticipantLeft, segment.Event{Identity: who, ParticipantSID: sid})
}

func (t tape) say(at time.Duration, who string) {
	t.add(at, textegress.Message{Kind: textegress.KindData, Identity: who})
}

func newTape(l timeline.Limits) tape { return tape{timeline.NewCollector(l)} }

func interval(from, to time.Duration) timeline.Interval {
	return timeline.Interval{From: noon.Add(from), To: noon.Add(to)}
}

func open(from, to time.Duration) timeline.Interval {
	i := interval(from, to)
	i.Open = true
	return i
}

const s = time.Second

func TestCollector(t *testing.T) {
	p := newTape(timeline.Limits{})
	p.event(-2*s, textegress.KindRecordingStarted, segment.Event{})
	p.event(0, textegress.KindJoined, segment.Event{Identity: "recorder"})
	p.in(0, "alice", "PA_a1")
	p.in(1*s, "bob", "PA_b1")
	p.in(2*s, "alice", "PA_a2") // a second connection, which stays
	p.say(2*s, "alice")
	p.say(2500*time.Millisecond, "alice")
	p.add(3*s, textegress.Message{Kind: textegress.KindData, Identity: "alice", CopyOf: 2})
	p.out(3*s, "alice", "PA_a1")
	p.out(4*s, "bob", "PA_b1")
	p.event(6*s, textegress.KindOutageStarted, segment.Event{
		Cause: "disk_full", SinceUnixNS: noon.Add(5 * s).UnixNano(),
	})
	p.event(7*s, textegress.KindOutageEnded, segment.Event{})
	p.in(8*s, "bob", "PA_b2")
	p.say(9*s, "")
	p.event(9*s, textegress.KindOutageStarted, segment.Event{Cause: "process_died"})

	first := interval(5*s, 7*s)
	first.Cause, first.Text = "disk_full", "the recorder's disk was full"
	second := open(9*s, 10*s)
	second.Cause = "process_died"
	second.Text = "the recorder was killed, it crashed, or its machine stopped"
	want := timeline.Data{
		From: noon, To: noon.Add(10 * s), Part: s,
		Lanes: []timeline.Lane{
			{
				Who: "alice", Present: []timeline.Interval{open(0, 10*s)}, Messages: 2, Copies: 1,
				Counts: []uint32{0, 0, 2}, First: noon.Add(2 * s),
				Last: noon.Add(2500 * time.Millisecond),
			},
			{
				Who: "bob", Present: []timeline.Interval{interval(1*s, 4*s), open(8*s, 10*s)},
				Counts: []uint32{},
			},
			{
				Present: []timeline.Interval{}, Messages: 1, First: noon.Add(9 * s),
				Last: noon.Add(9 * s), Counts: []uint32{0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
			},
		},
		Outages: []timeline.Interval{first, second},
	}
	if diff := cmp.Diff(want, p.c.Data(noon.Add(10*s))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// However long a recording is, no message gets lost from the counts, and each is in its part.
func TestPartsGrow(t *testing.T) {
	const parts = 24
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		p := newTape(timeline.Limits{Parts: parts})
		p.event(0, textegress.KindJoined, segment.Event{})
		var sent []time.Duration
		at := time.Duration(0)
		for range 300 {
			at += time.Duration(r.Float64() * math.Pow(10, 9+4*r.Float64()))
			sent = append(sent, at)
			p.say(at, "alice")
		}
		d := p.c.Data(time.Time{})
		want := make([]uint32, parts)
		for _, at := range sent {
			want[at/d.Part]++
		}
		got := make([]uint32, parts)
		if n := copy(got, d.Lanes[0].Counts); n != len(d.Lanes[0].Counts) {
			t.Fatalf("%d parts", len(d.Lanes[0].Counts))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("parts of %v: -want +got:\n%s", d.Part, diff)
		}
		if d.To.Sub(d.From) > parts*d.Part {
			t.Fatalf("%v in %d parts of %v", d.To.Sub(d.From), parts, d.Part)
		}
	}
}

// After a step of the clock, times are by the earlier one.
func TestClockSteps(t *testing.T) {
	p := newTape(timeline.Limits{})
	p.event(0, textegress.KindJoined, segment.Event{})
	p.say(1*s, "alice")
	p.event(3602*s, textegress.KindClockStep, segment.Event{OffsetNS: int64(3600 * s)})
	p.say(3603*s, "alice")
	d := p.c.Data(noon.Add(3604 * s))
	want := []uint32{0, 1, 0, 1}
	if diff := cmp.Diff(want, d.Lanes[0].Counts); diff != "" || !d.ClockSet ||
		!d.To.Equal(noon.Add(4*s)) {
		t.Errorf("%s %+v", diff, d)
	}
}

// Whatever the lines are, the data is bounded, and nothing panics.
func TestBounded(t *testing.T) {
	l := timeline.Limits{Lanes: 5, Parts: 10, Outages: 3, Present: 4}
	p := newTape(l)
	for i := range 2000 {
		at := time.Duration(i) * s
		who := fmt.Sprint("p", i%9)
		sid := fmt.Sprint("PA_", i)
		p.in(at, who, sid)
		p.say(at, who)
		if i%2 == 0 {
			p.out(at, who, sid)
		}
		p.event(at, textegress.KindOutageStarted, segment.Event{Cause: strings.Repeat("x", 9999)})
		p.event(at, textegress.KindOutageEnded, segment.Event{})
	}
	p.say(0, strings.Repeat("x", 5000))
	for _, ns := range []int64{math.MinInt64, math.MaxInt64, 0, -1} {
		p.c.Add(&textegress.Message{Kind: textegress.KindData, Identity: "p0", UnixNS: ns})
		p.c.Add(&textegress.Message{Kind: textegress.KindClockStep, UnixNS: ns})
		p.c.Add(&textegress.Message{
			Kind: textegress.KindOutageStarted, UnixNS: ns,
			Event: &segment.Event{SinceUnixNS: -ns},
		})
	}
	d := p.c.Data(time.Time{})
	if len(d.Lanes) != l.Lanes || d.Omitted != 5 || len(d.Outages) != l.Outages ||
		d.OutagesOmitted < 1997 {
		t.Errorf("%d lanes, %d omitted, %d outages, %d omitted", len(d.Lanes), d.Omitted,
			len(d.Outages), d.OutagesOmitted)
	}
	total := d.OmittedMessages
	for _, lane := range d.Lanes {
		total += lane.Messages
		if len(lane.Counts) > l.Parts || len(lane.Present) > l.Present {
			t.Errorf("%d parts, %d intervals", len(lane.Counts), len(lane.Present))
		}
	}
	if total != 2005 {
		t.Errorf("%d messages", total)
	}
	if err := d.Figure(io.Discard, timeline.Options{}); err != nil {
		t.Error(err)
	}
}

// The figure is well-formed, needs neither style attributes nor scripts, and escapes names.
func TestFigure(t *testing.T) {
	p := newTape(timeline.Limits{})
	p.event(0, textegress.KindJoined, segment.Event{})
	hostile := []string{
		`<script>alert(1)</script>`, `" onload="x`, "a\x00b\x1b", "\xff", strings.Repeat("x", 900),
		"\u202egnol", "&amp;", "",
	}
	for i, who := range hostile {
		p.event(0, textegress.KindParticipantJoined, segment.Event{
			Identity: who, ParticipantSID: fmt.Sprint(i), Name: who, ParticipantKind: who,
		})
		for range i {
			p.say(time.Duration(i*i)*s, who)
		}
	}
	p.event(30*s, textegress.KindOutageStarted, segment.Event{Cause: "<b>"})
	for _, o := range []timeline.Options{
		{}, {Lanes: 3}, {Cells: 20}, {Zone: time.FixedZone("", 5*3600+1800)},
	} {
		var b strings.Builder
		if err := p.c.Data(noon.Add(40*s)).Figure(&b, o); err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(strings.NewReader(b.String()))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v in %s", err, b.String())
			}
			e, ok := token.(xml.StartElement)
			if !ok {
				continue
			}
			if e.Name.Local == "script" || e.Name.Local == "b" && len(e.Attr) > 0 {
				t.Errorf("an element %v", e)
			}
			for _, a := range e.Attr {
				if a.Name.Local == "style" || strings.HasPrefix(a.Name.Local, "on") {
					t.Errorf("an attribute %v", a)
				}
			}
		}
		if len(b.String()) > 20_000 {
			t.Errorf("%d bytes", b.Len())
		}
		for _, want := range []string{"▲1", "to the end", "Timeline, "} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%q is not in %s", want, b.String())
			}
		}
		const omit = "Not shown: 5 further participants, who sent 10 messages."
		if omitted := strings.Contains(b.String(), omit); omitted != (o.Lanes == 3) {
			t.Errorf("%+v: %s", o, b.String())
		}
	}
}

// The ticks are at full minutes of the zone.
func TestFigure_Ticks(t *testing.T) {
	p := newTape(timeline.Limits{})
	p.event(7*time.Minute, textegress.KindJoined, segment.Event{})
	var b strings.Builder
	o := timeline.Options{Zone: time.FixedZone("IST", 5*3600+1800)}
	if err := p.c.Data(noon.Add(52*time.Minute)).Figure(&b, o); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{">17:40<", ">18:20<", "17:37:00 to 18:22:00 IST"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in %s", want, b.String())
		}
	}
}

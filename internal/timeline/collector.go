package timeline

import (
	"cmp"
	"hash/maphash"
	"strings"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/statement"
)

// Limits bound what a [Collector] keeps. A zero stands for the default.
type Limits struct {
	Lanes   int // participants with a lane [200]
	Parts   int // entries of Counts of one lane [360]
	Outages int // [200]
	Present int // intervals of one lane [50]; further ones are joined to the last
}

const (
	maxName    = 1024    // bytes of an identity with a lane
	maxOmitted = 100_000 // participants without a lane that are told apart
)

// widths are the lengths of a part; each is a multiple of the one before. Longer ones double.
var widths = []time.Duration{
	time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute,
	5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour,
	12 * time.Hour, 24 * time.Hour,
}

// Collector turns the lines of a recording into [Data].
type Collector struct {
	limits Limits

	first, last int64 // times of lines
	started     bool  // first is set
	start       int64 // of the first part
	placed      bool  // start is set
	width       int   // position in widths, or beyond
	offset      int64 // by how much the clock was set forward so far
	clockSet    bool

	lanes   map[string]*lane
	order   []*lane
	outages []outage
	dropped int // outages beyond the limit
	seed    maphash.Seed
	omitted map[uint64]struct{}
	others  uint64 // messages of participants without a lane
}

type lane struct {
	Lane

	first, last int64
	present     []span
	open        map[string]bool // sids that are in the room
}

type span struct{ from, to int64 }

type outage struct {
	span

	ended bool
	cause string
}

// NewCollector returns a collector without lines.
func NewCollector(l Limits) *Collector {
	l.Lanes, l.Parts = cmp.Or(l.Lanes, 200), cmp.Or(l.Parts, 360)
	l.Outages, l.Present = cmp.Or(l.Outages, 200), cmp.Or(l.Present, 50)
	return &Collector{
		limits: l, lanes: map[string]*lane{}, seed: maphash.MakeSeed(),
		omitted: map[uint64]struct{}{},
	}
}

// axis returns a time by the recorder's clock as it was at the start.
func (c *Collector) axis(unixNS int64) int64 { return unixNS - c.offset }

// Add adds the next line. It keeps nothing of m.
func (c *Collector) Add(m *textegress.Message) {
	e := m.Event
	if e == nil {
		e = &textegress.Event{}
	}
	if m.Kind == textegress.KindClockStep && e.EgressID == "" {
		c.offset += e.OffsetNS
		c.clockSet = true
	}
	now := c.axis(m.UnixNS)
	if !c.started {
		c.first, c.last, c.started = now, now, true
	}
	c.last = max(c.last, now)
	if !m.Kind.IsEvent() {
		c.place(now)
		c.message(m, now)
		return
	}
	switch m.Kind {
	case textegress.KindJoined:
		c.place(now)
	case textegress.KindParticipantJoined, textegress.KindParticipantUpdated:
		c.place(now)
		c.arrived(e, m.Kind == textegress.KindParticipantJoined, now)
	case textegress.KindParticipantLeft:
		c.left(e, now)
	case textegress.KindOutageStarted:
		c.outage(e, now)
	case textegress.KindOutageEnded:
		c.outageEnded(e, now)
	}
}

// place sets the start of the first part.
func (c *Collector) place(now int64) {
	if !c.placed {
		c.start, c.placed = now, true
	}
}

// lane returns the lane of an identity, or nil if the limits leave no room for it.
func (c *Collector) lane(identity string) *lane {
	if l := c.lanes[identity]; l != nil {
		return l
	}
	if len(c.order) >= c.limits.Lanes || len(identity) > maxName {
		if len(c.omitted) < maxOmitted {
			c.omitted[maphash.String(c.seed, identity)] = struct{}{}
		}
		return nil
	}
	l := &lane{Lane: Lane{Who: strings.Clone(identity)}, open: map[string]bool{}}
	c.lanes[l.Who] = l
	c.order = append(c.order, l)
	return l
}

func (c *Collector) message(m *textegress.Message, now int64) {
	l := c.lane(m.Identity)
	switch {
	case l == nil && m.CopyOf == 0:
		c.others++
		return
	case l == nil:
		return
	case m.CopyOf != 0:
		l.Copies++
		return
	}
	if l.Messages == 0 {
		l.first, l.last = now, now
	}
	l.Messages++
	l.last = max(l.last, now)
	i := c.part(now)
	for len(l.Counts) <= i {
		l.Counts = append(l.Counts, 0)
	}
	if l.Counts[i]+1 != 0 {
		l.Counts[i]++
	}
}

// part returns the position of a time, and makes the parts longer if there would be too many.
func (c *Collector) part(now int64) int {
	if now <= c.start {
		return 0
	}
	d := uint64(now) - uint64(c.start)
	for d/uint64(width(c.width)) >= uint64(c.limits.Parts) {
		c.coarsen()
	}
	return int(d / uint64(width(c.width)))
}

// width returns the length of a part.
func width(i int) time.Duration {
	if i < len(widths) {
		return widths[i]
	}
	return widths[len(widths)-1] << (i - len(widths) + 1)
}

func (c *Collector) coarsen() {
	k := int(width(c.width+1) / width(c.width))
	c.width++
	for _, l := range c.order {
		l.Counts = Merge(l.Counts, k)
	}
}

// Merge returns counts with k neighbours added up. It reuses the memory of counts.
func Merge(counts []uint32, k int) []uint32 {
	out := counts[:0]
	for i, n := range counts {
		if i%k == 0 {
			out = append(out, n)
			continue
		}
		last := &out[len(out)-1]
		*last = uint32(min(uint64(*last)+uint64(n), 1<<32-1))
	}
	return out
}

// arrived records that a participant joined, or is described anew.
func (c *Collector) arrived(e *textegress.Event, joined bool, now int64) {
	l := c.lane(e.Identity)
	if l == nil {
		return
	}
	if len(e.Name) <= maxName && (e.Name != "" || !joined) {
		l.Name = strings.Clone(e.Name)
	}
	if k := strings.ToLower(e.ParticipantKind); k != "" && k != "standard" && len(k) <= maxName {
		l.Kind = strings.Clone(k)
	}
	if !joined || l.open[e.ParticipantSID] || len(l.open) >= c.limits.Present {
		return
	}
	if len(l.open) == 0 {
		if n := len(l.present); n > 0 && (n >= c.limits.Present || l.present[n-1].to >= now) {
			l.present[n-1].to = max(now, l.present[n-1].to)
		} else {
			l.present = append(l.present, span{now, now})
		}
	}
	l.open[strings.Clone(e.ParticipantSID)] = true
}

func (c *Collector) left(e *textegress.Event, now int64) {
	l := c.lanes[e.Identity]
	if l == nil || !l.open[e.ParticipantSID] {
		return
	}
	delete(l.open, e.ParticipantSID)
	if n := len(l.present); n > 0 && len(l.open) == 0 {
		l.present[n-1].to = max(now, l.present[n-1].from)
	}
}

func (c *Collector) outage(e *textegress.Event, now int64) {
	if len(c.outages) >= c.limits.Outages {
		c.dropped++
		return
	}
	from := now
	if e.SinceUnixNS != 0 {
		from = min(now, c.axis(e.SinceUnixNS))
	}
	c.outages = append(c.outages, outage{span: span{from, now}, cause: cause(e)})
}

func (c *Collector) outageEnded(e *textegress.Event, now int64) {
	switch n := len(c.outages); {
	case c.dropped > 0:
	case n > 0 && !c.outages[n-1].ended:
		o := &c.outages[n-1]
		o.to, o.ended = max(now, o.from), true
	case e.SinceUnixNS != 0 && n < c.limits.Outages: // its start could not be read
		from := min(now, c.axis(e.SinceUnixNS))
		c.outages = append(c.outages,
			outage{span: span{from, now}, ended: true, cause: cause(e)})
	}
}

func cause(e *textegress.Event) string { return strings.Clone(e.Cause[:min(len(e.Cause), 100)]) }

// Data returns what the lines so far amount to, up to the time until; zero: the last line. More
// lines can be added afterwards.
func (c *Collector) Data(until time.Time) Data {
	start, end := c.start, c.last
	if !c.placed {
		start = c.first
	}
	if !until.IsZero() {
		end = max(end, c.axis(until.UnixNano()))
	}
	end = max(end, start)
	for c.placed && (uint64(end)-uint64(start))/uint64(width(c.width)) >= uint64(c.limits.Parts) {
		c.coarsen()
	}
	d := Data{
		From: at(start), To: at(end), Part: width(c.width), Lanes: []Lane{}, Outages: []Interval{},
		OutagesOmitted: c.dropped, Omitted: len(c.omitted), OmittedMessages: c.others,
		ClockSet: c.clockSet,
	}
	if !c.started {
		d.From, d.To = time.Time{}, time.Time{}
	}
	for _, o := range c.outages {
		i := Interval{
			From: at(o.from), To: at(o.to), Cause: o.cause, Text: statement.Cause(o.cause),
		}
		if !o.ended {
			i.To, i.Open = at(max(end, o.from)), true
		}
		d.Outages = append(d.Outages, i)
	}
	for _, l := range c.order {
		out := l.Lane
		out.Counts = append([]uint32{}, l.Counts...)
		out.Present = []Interval{}
		for i, p := range l.present {
			in := Interval{From: at(p.from), To: at(p.to)}
			if len(l.open) > 0 && i == len(l.present)-1 {
				in.To, in.Open = at(max(end, p.from)), true
			}
			out.Present = append(out.Present, in)
		}
		if l.Messages > 0 {
			out.First, out.Last = at(l.first), at(l.last)
		}
		d.Lanes = append(d.Lanes, out)
	}
	return d
}

func at(ns int64) time.Time { return time.Unix(0, ns).UTC() }

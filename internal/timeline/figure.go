package timeline

import (
	"bufio"
	"cmp"
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/syncflow/textegress/internal/statement"
)

// Options of [Data.Figure].
type Options struct {
	Zone *time.Location // of the times; nil: UTC
	// Lanes is how many participants to show, those with the most messages first [all].
	Lanes int
	// Cells bounds parts times lanes, and with them the size: neighbouring parts are shown as one
	// [10800].
	Cells int
	// ID begins the ids of elements, which must be unique in a document ["tl"].
	ID string
}

const (
	laneHeight  = 20 // units
	maxShown    = 80 // characters of a name
	maxTicks    = 9
	maxOutages  = 40 // outages listed below the figure
	minDistance = 3  // percent of the width between two marks of outages
)

// Figure writes the data as an HTML table with one row for each participant, whose cells hold the
// timeline as SVG, and counts and times. It needs neither scripts nor style attributes, fits any
// width, and is readable for screen readers.
func (d Data) Figure(w io.Writer, o Options) error {
	f := newFigure(d, o)
	f.w = bufio.NewWriter(w)
	f.write()
	return f.w.Flush()
}

type figure struct {
	d     Data
	o     Options
	w     *bufio.Writer
	lanes []Lane
	merge int           // parts shown as one
	step  time.Duration // of a shown part
	span  float64       // the width, in shown parts
	max   uint32        // messages of the busiest shown part
	ticks []time.Time
	tick  time.Duration
}

func newFigure(d Data, o Options) *figure {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	o.Cells, o.ID = cmp.Or(o.Cells, 10800), cmp.Or(o.ID, "tl")
	f := &figure{d: d, o: o, lanes: busiest(d.Lanes, o.Lanes)}
	length := max(d.To.Sub(d.From), time.Second)
	part := max(d.Part, time.Second)
	parts := int(length/part) + 1
	f.merge = max(1, (parts*len(f.lanes)+o.Cells-1)/o.Cells)
	f.step = part * time.Duration(f.merge)
	f.span = float64(length) / float64(f.step)
	for i, l := range f.lanes {
		f.lanes[i].Counts = Merge(slices.Clone(l.Counts), f.merge)
		for _, n := range f.lanes[i].Counts {
			f.max = max(f.max, n)
		}
	}
	f.tick, f.ticks = ticks(d.From.In(o.Zone), d.From.Add(length).In(o.Zone))
	return f
}

// busiest returns the n lanes with the most messages, in their order.
func busiest(lanes []Lane, n int) []Lane {
	if n <= 0 || len(lanes) <= n {
		return slices.Clone(lanes)
	}
	order := make([]int, len(lanes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(lanes[b].Messages, lanes[a].Messages)
	})
	order = order[:n]
	slices.Sort(order)
	var out []Lane
	for _, i := range order {
		out = append(out, lanes[i])
	}
	return out
}

func (f *figure) printf(format string, args ...any) { fmt.Fprintf(f.w, format, args...) }

func (f *figure) write() {
	f.printf("<div class=\"tl\">\n")
	f.legend()
	f.printf("<table class=\"tl-table\" role=\"table\"><caption class=\"tl-sr\">Presence and " +
		"messages of each participant over time</caption>\n<thead role=\"rowgroup\">" +
		"<tr role=\"row\"><th role=\"columnheader\" scope=\"col\" class=\"tl-who\">Who</th>" +
		"<th role=\"columnheader\" scope=\"col\" class=\"tl-bar\">")
	f.axis()
	f.printf("</th><th role=\"columnheader\" scope=\"col\" class=\"tl-n\">Messages</th>" +
		"<th role=\"columnheader\" scope=\"col\" class=\"tl-t\">First</th>" +
		"<th role=\"columnheader\" scope=\"col\" class=\"tl-t\">Last</th></tr></thead>\n" +
		"<tbody role=\"rowgroup\">\n")
	for _, l := range f.lanes {
		f.row(l)
	}
	f.printf("</tbody></table>\n")
	f.omitted()
	f.outages()
	f.printf("</div>\n")
}

// legend says how to read the figure.
func (f *figure) legend() {
	f.printf("<p class=\"tl-legend\"><span class=\"tl-key\"><svg width=\"16\" height=\"12\" " +
		"aria-hidden=\"true\"><rect class=\"tl-here\" width=\"16\" height=\"12\"/></svg> in the " +
		"room</span> ")
	busy := ""
	if f.max > 0 {
		busy = "; the tallest: " + statement.Number(f.max)
	}
	f.printf("<span class=\"tl-key\"><svg width=\"16\" height=\"12\" aria-hidden=\"true\">"+
		"<path class=\"tl-msg\" d=\"M1 12V7h3V3h4V8h4V5h3V12z\"/></svg> messages in %s (height: "+
		"square root%s)</span>", statement.Length(f.step), busy)
	if len(f.d.Outages) > 0 {
		f.printf(" <span class=\"tl-key\"><svg width=\"16\" height=\"12\" aria-hidden=\"true\">" +
			"<rect class=\"tl-out\" width=\"16\" height=\"12\"/></svg> ▲ recorder not connected: " +
			"nothing is known</span>")
	}
	if f.d.ClockSet {
		f.printf(" <span>The recorder's clock was set; times here are by the earlier clock.</span>")
	}
	f.printf("</p>\n")
}

// percent returns the horizontal position of a time.
func (f *figure) percent(t time.Time) float64 {
	p := float64(t.Sub(f.d.From)) / (f.span * float64(f.step)) * 100
	return min(max(p, 0), 100)
}

// x returns the horizontal position of a time in the units of a row, which are shown parts.
func (f *figure) x(t time.Time) float64 { return f.percent(t) * f.span / 100 }

func number(v float64) string {
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

// axis writes the head of the timeline, and once what all rows have: the grid and the outages.
func (f *figure) axis() {
	marked := ""
	if len(f.d.Outages) > 0 {
		marked = " tl-marked"
	}
	f.printf("<span class=\"tl-sr\">Timeline, %s to %s %s</span><svg class=\"tl-axis%s\" "+
		"aria-hidden=\"true\">", f.clock(f.d.From), f.clock(f.d.To),
		html.EscapeString(zoneName(f.d.From.In(f.o.Zone))), marked)
	last := -100.0
	for i, o := range f.d.Outages {
		if p := f.percent(o.From); p-last >= minDistance {
			f.printf("<text class=\"tl-mark\" x=\"%s%%\" y=\"10\"%s>▲%d</text>", number(p),
				anchor(p), i+1)
			last = p
		}
	}
	for i, t := range f.ticks {
		p := f.percent(t)
		f.printf("<text class=\"tl-tick%d\" x=\"%s%%\" y=\"%d\"%s>%s</text>", i%2, number(p),
			f.axisHeight()-4, anchor(p), f.label(t, i == 0))
	}
	f.printf("</svg>\n<svg width=\"0\" height=\"0\" aria-hidden=\"true\" class=\"tl-defs\"><defs>"+
		"<g id=\"%s-grid\"><path class=\"tl-grid\" d=\"", f.o.ID)
	for _, t := range f.ticks {
		f.printf("M%s 0v%d", number(f.x(t)), laneHeight)
	}
	f.printf("\"/></g><g id=\"%s-out\">", f.o.ID)
	for _, o := range f.d.Outages {
		from, to := f.x(o.From), f.x(o.To)
		width := max(to-from, f.span/300)
		f.printf("<rect class=\"tl-out\" x=\"%s\" width=\"%s\" height=\"%d\"/>",
			number(min(from, f.span-width)), number(width), laneHeight)
	}
	f.printf("</g></defs></svg>")
}

func (f *figure) axisHeight() int {
	if len(f.d.Outages) > 0 {
		return 28
	}
	return 16
}

// anchor keeps a text at the edge within the figure.
func anchor(percent float64) string {
	switch {
	case percent < 3:
		return ""
	case percent > 97:
		return ` text-anchor="end"`
	}
	return ` text-anchor="middle"`
}

// row writes the row of one participant.
func (f *figure) row(l Lane) {
	f.printf("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\" class=\"tl-who\">%s</th>"+
		"<td role=\"cell\" class=\"tl-bar\"><svg viewBox=\"0 0 %s %d\" preserveAspectRatio=\"none\" "+
		"aria-hidden=\"true\">", who(l), number(f.span), laneHeight)
	for _, p := range l.Present {
		from, to := f.x(p.From), f.x(p.To)
		f.printf("<rect class=\"tl-here\" x=\"%s\" width=\"%s\" height=\"%d\"/>", number(from),
			number(max(to-from, f.span/500)), laneHeight)
	}
	f.printf("<use href=\"#%s-grid\"/>", f.o.ID)
	if len(l.Counts) > 0 {
		f.printf("<path class=\"tl-msg\" d=\"")
		f.bars(l.Counts)
		f.printf("\"/>")
	}
	if len(f.d.Outages) > 0 {
		f.printf("<use href=\"#%s-out\"/>", f.o.ID)
	}
	f.printf("</svg><span class=\"tl-sr\">%s</span></td><td role=\"cell\" class=\"tl-n\">%s</td>",
		html.EscapeString(f.presence(l)), statement.Number(l.Messages))
	for _, t := range []time.Time{l.First, l.Last} {
		if t.IsZero() {
			f.printf("<td role=\"cell\" class=\"tl-t\"><span aria-hidden=\"true\">–</span>" +
				"<span class=\"tl-sr\">none</span></td>")
			continue
		}
		f.printf("<td role=\"cell\" class=\"tl-t\"><time datetime=\"%s\">%s</time></td>",
			t.UTC().Format("2006-01-02T15:04:05Z"), f.clock(t))
	}
	f.printf("</tr>\n")
}

// who returns the name of a lane as HTML.
func who(l Lane) string {
	s := "<bdi>" + html.EscapeString(Shown(l.Who)) + "</bdi>"
	if l.Who == "" {
		s = "<i>no sender</i>"
	}
	if l.Name != "" && l.Name != l.Who {
		s += " <span class=\"tl-name\"><bdi>" + html.EscapeString(Shown(l.Name)) + "</bdi></span>"
	}
	if l.Kind != "" {
		s += " <span class=\"tl-kind\">" + html.EscapeString(Shown(l.Kind)) + "</span>"
	}
	return s
}

// Shown shortens a name for people, and replaces what no HTML document may contain.
func Shown(s string) string {
	n := 0
	out := make([]rune, 0, min(len(s), maxShown+1))
	for _, r := range s {
		if n++; n > maxShown {
			return string(out) + "…"
		}
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			r = '\ufffd'
		}
		out = append(out, r)
	}
	return string(out)
}

// presence describes a lane in words.
func (f *figure) presence(l Lane) string {
	if len(l.Present) == 0 {
		return "not seen joining the room"
	}
	s := "in the room "
	for i, p := range l.Present {
		if i == 5 {
			return s + fmt.Sprintf(", and %d times more", len(l.Present)-i)
		}
		if i > 0 {
			s += ", "
		}
		s += f.clock(p.From) + " to "
		if p.Open {
			s += "the end"
			continue
		}
		s += f.clock(p.To)
	}
	return s
}

// bars writes the path of a lane's messages: one step for each part, closed along the bottom.
func (f *figure) bars(counts []uint32) {
	height := 0 // of the pen above the bottom
	down := true
	for i := 0; i < len(counts); i++ {
		h := 0
		if counts[i] > 0 {
			h = max(3, int(math.Round(laneHeight*math.Sqrt(float64(counts[i])/float64(f.max)))))
		}
		if h == 0 {
			if !down {
				f.printf("v%dz", height)
			}
			height, down = 0, true
			continue
		}
		if down {
			f.printf("M%d %d", i, laneHeight)
		}
		down = false
		if h != height {
			f.printf("v%d", height-h)
		}
		width := 1
		for i+1 < len(counts) && counts[i+1] == counts[i] {
			i++
			width++
		}
		if room := f.span - float64(i-width+1); float64(width) > room { // the last part is shorter
			f.printf("h%s", number(max(room, 0.2)))
		} else {
			f.printf("h%d", width)
		}
		height = h
	}
	if !down {
		f.printf("v%dz", height)
	}
}

// omitted says how many participants the figure does not show.
func (f *figure) omitted() {
	n, messages := f.d.Omitted, f.d.OmittedMessages
	for _, l := range f.d.Lanes {
		n, messages = n+1, messages+l.Messages
	}
	for _, l := range f.lanes {
		n, messages = n-1, messages-l.Messages
	}
	if n > 0 {
		f.printf("<p class=\"tl-note\">Not shown: %s, who sent %s.</p>\n",
			statement.Count(n, "further participant"), statement.Count(messages, "message"))
	}
}

// outages lists the outages.
func (f *figure) outages() {
	if len(f.d.Outages) == 0 {
		return
	}
	f.printf("<ol class=\"tl-outages\" aria-label=\"Outages\">\n")
	for i, o := range f.d.Outages {
		if i == maxOutages {
			break
		}
		end := "to the end"
		if !o.Open {
			end = "for " + statement.Length(o.To.Sub(o.From))
		}
		f.printf("<li><b>▲%d outage</b> from %s %s: %s</li>\n", i+1, f.clock(o.From), end,
			html.EscapeString(o.Text))
	}
	f.printf("</ol>\n")
	if n := len(f.d.Outages) - maxOutages + f.d.OutagesOmitted; n > 0 {
		f.printf("<p class=\"tl-note\">There were %s more.</p>\n",
			statement.Count(n, "outage"))
	}
}

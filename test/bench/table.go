package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"golang.org/x/perf/benchmath"
)

// Report holds the measurements of a run.
type Report struct {
	Machine string
	// fewer and shorter runs, not comparable with those of a whole run
	Quick bool
	// LeftOut states what could not be measured, and why.
	LeftOut []string

	measurements []measured
}

// measured is one measurement.
type measured struct {
	name  string // ends with the unit in brackets
	value float64
}

// figure is one line of the table.
type figure struct {
	name             string // with its unit
	median, min, max float64
	runs             int
}

func (r *Report) add(m measured) { r.measurements = append(r.measurements, m) }

// Empty reports whether nothing was measured.
func (r *Report) Empty() bool { return len(r.measurements) == 0 }

// figures returns the measurements by name, in the order in which the names first appeared, and the
// ratios.
func (r *Report) figures() []figure {
	var names []string
	values := map[string][]float64{}
	for _, m := range r.measurements {
		if values[m.name] == nil {
			names = append(names, m.name)
		}
		values[m.name] = append(values[m.name], m.value)
	}
	var list []figure
	for _, name := range names {
		s := benchmath.NewSample(values[name], &benchmath.DefaultThresholds)
		n := len(s.Values)
		list = append(list, figure{
			name: name, median: benchmath.AssumeNothing.Summary(s, 0.95).Center,
			min: s.Values[0], max: s.Values[n-1], runs: n,
		})
	}
	return append(list, ratios(list)...)
}

// ratios compares the recorder's figures with those of the peers. It gives the ratio of the
// medians, with a range from the recorder's lowest divided by the peer's highest to the recorder's
// highest divided by the peer's lowest.
func ratios(list []figure) []figure {
	var rs []figure
	for _, kind := range []string{peerGoSDK, peerRTCNode} {
		for _, ours := range list {
			peer := ofPeer(ours.name, kind)
			i := slices.IndexFunc(list, func(f figure) bool { return f.name == peer })
			if i < 0 || list[i].min <= 0 {
				continue
			}
			theirs := list[i]
			rs = append(rs, figure{
				name: ratioName(ours.name, kind), median: ours.median / theirs.median,
				min: ours.min / theirs.max, max: ours.max / theirs.min,
				runs: min(ours.runs, theirs.runs),
			})
		}
	}
	return rs
}

// ofPeer returns the name of a peer's figure: "CPU, dense room (s)" becomes "CPU, dense room, Go
// SDK peer (s)".
func ofPeer(name, kind string) string {
	what, unit := cutUnit(name)
	return withUnit(what+", "+kind, unit)
}

func ratioName(name, kind string) string {
	what, _ := cutUnit(name)
	return what + ": textegress / " + kind
}

func cutUnit(name string) (what, unit string) {
	i := strings.LastIndex(name, " (")
	if i < 0 {
		return name, ""
	}
	return name[:i], strings.TrimSuffix(name[i+2:], ")")
}

func withUnit(what, unit string) string { return what + " (" + unit + ")" }

// target is the minimum that a figure must reach, and the value aimed at; 0: none.
type target struct{ least, aim float64 }

// verdict states whether a figure's median reaches its target.
func (t target) verdict(name string, v float64) string {
	reached := func(limit float64) bool {
		if moreIsBetter(name) {
			return v >= limit
		}
		return v <= limit
	}
	switch {
	case t == target{}:
		return ""
	case t.aim != 0 && reached(t.aim) && (t.least == 0 || reached(t.least)):
		return "aim met"
	case t.least == 0:
		return "under"
	case reached(t.least):
		return "ok"
	}
	return "over"
}

// moreIsBetter reports whether the figure is a throughput.
func moreIsBetter(name string) bool {
	_, unit := cutUnit(name)
	return strings.HasSuffix(unit, "/s") && unit != "ms/s"
}

// Print writes the table, followed by what was left out.
func (r *Report) Print(out io.Writer) {
	line := func(cells ...any) {
		fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("%-67s %7s  %-15s %4v %6s %5s  %s",
			cells...), " "))
	}
	fmt.Fprintf(out, "%s\n\n", r.Machine)
	line("figure", "median", "min – max", "runs", "target", "aim", "")
	for _, f := range r.figures() {
		t := targets[f.name]
		line(f.name, number(f.median), number(f.min)+" – "+number(f.max), f.runs, t.text(t.least),
			t.text(t.aim), t.verdict(f.name, f.median))
	}
	r.printLeftOut(out)
}

// Markdown writes the table in the form used in docs/PERFORMANCE.md.
func (r *Report) Markdown(out io.Writer) {
	fmt.Fprintf(out, "%s\n\n| figure | median | min – max | runs | target | aim | "+
		"|\n|---|---|---|---|---|---|---|\n", r.Machine)
	for _, f := range r.figures() {
		t := targets[f.name]
		fmt.Fprintf(out, "| %s | %s | %s – %s | %d | %s | %s | %s |\n", f.name, number(f.median),
			number(f.min), number(f.max), f.runs,
			t.text(t.least), t.text(t.aim), t.verdict(f.name, f.median))
	}
	r.printLeftOut(out)
}

func (r *Report) printLeftOut(out io.Writer) {
	if len(r.LeftOut) > 0 {
		fmt.Fprintf(out, "\nnot measured:\n- %s\n", strings.Join(r.LeftOut, "\n- "))
	}
}

func (t target) text(v float64) string {
	if v == 0 {
		return ""
	}
	return number(v)
}

// percentile returns the nearest rank of a non-empty list.
func percentile(v []float64, p float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[max(0, min(len(v)-1, int(math.Ceil(p*float64(len(v))))-1))]
}

// number formats a number with three significant digits.
func number(f float64) string {
	switch a := math.Abs(f); {
	case a >= 100 || f == math.Trunc(f):
		return fmt.Sprintf("%.0f", f)
	case a >= 10:
		return fmt.Sprintf("%.1f", f)
	case a >= 0.1:
		return fmt.Sprintf("%.2f", f)
	}
	return fmt.Sprintf("%.3f", f)
}

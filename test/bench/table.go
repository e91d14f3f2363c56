package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// Report is a run's figures, as `bench -json` keeps them. Only add to it: reports of earlier
// versions are read to compare.
type Report struct {
	Taken time.Time `json:"taken"`
	// shorter runs, and fewer: not to be compared with those of a whole run
	Quick   bool     `json:"quick"`
	Machine string   `json:"machine"`
	Figures []Figure `json:"figures"`
	// LeftOut says what could not be measured, and why.
	LeftOut []string `json:"left_out,omitempty"`
}

// Figure is one line of the table.
type Figure struct {
	Name   string    `json:"name"` // with its unit
	Values []float64 `json:"values,omitempty"`
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Runs   int       `json:"runs"`
}

// measured is one figure of one run.
type measured struct {
	name  string // what, with its unit in brackets at the end
	value float64
}

// add puts a value under its name, in the order in which names came first.
func (r *Report) add(m measured) {
	i := slices.IndexFunc(r.Figures, func(f Figure) bool { return f.Name == m.name })
	if i < 0 {
		i = len(r.Figures)
		r.Figures = append(r.Figures, Figure{Name: m.name})
	}
	f := &r.Figures[i]
	f.Values = append(f.Values, m.value)
	v := slices.Sorted(slices.Values(f.Values))
	f.Median, f.Min, f.Max, f.Runs = median(v), v[0], v[len(v)-1], len(v)
}

func (r *Report) figure(name string) (Figure, bool) {
	i := slices.IndexFunc(r.Figures, func(f Figure) bool { return f.Name == name })
	if i < 0 {
		return Figure{}, false
	}
	return r.Figures[i], true
}

// addRatios puts our figures beside those of the peers: the ratio of the medians, and as its spread
// the best of ours by the worst of theirs and the other way about. It has no single values.
func (r *Report) addRatios() {
	for _, kind := range []string{peerGoSDK, peerRTCNode} {
		for _, ours := range slices.Clone(r.Figures) {
			theirs, ok := r.figure(ofPeer(ours.Name, kind))
			if !ok || theirs.Median <= 0 || theirs.Min <= 0 {
				continue
			}
			r.Figures = append(r.Figures, Figure{
				Name: ratioName(ours.Name, kind), Median: ours.Median / theirs.Median,
				Min: ours.Min / theirs.Max, Max: ours.Max / theirs.Min,
				Runs: min(ours.Runs, theirs.Runs),
			})
		}
	}
}

// ofPeer is the name of a peer's figure: "CPU, dense room (s)" is "CPU, dense room, Go SDK peer
// (s)".
func ofPeer(name, kind string) string {
	what, unit := cutUnit(name)
	return what + ", " + kind + unit
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
	return name[:i], name[i:]
}

// target is what a figure is to reach at least, and what is aimed at. 0 is none.
type target struct{ least, aim float64 }

// verdict says whether a figure's median reaches its target.
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

// moreIsBetter: of a throughput.
func moreIsBetter(name string) bool {
	_, unit := cutUnit(name)
	return strings.HasSuffix(unit, "/s)") && unit != " (ms/s)"
}

// Print writes the table, and below it what was left out.
func (r *Report) Print(out io.Writer) {
	line := func(cells ...any) {
		fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("%-67s %7s  %-15s %4v %6s %5s  %s",
			cells...), " "))
	}
	fmt.Fprintf(out, "%s\n\n", r.Machine)
	line("figure", "median", "min – max", "runs", "target", "aim", "")
	for _, f := range r.Figures {
		t := targets[f.Name]
		line(f.Name, number(f.Median), number(f.Min)+" – "+number(f.Max), f.Runs, t.text(t.least),
			t.text(t.aim), t.verdict(f.Name, f.Median))
	}
	r.printLeftOut(out)
}

// Markdown writes the table as docs/PERFORMANCE.md has it.
func (r *Report) Markdown(out io.Writer) {
	fmt.Fprintf(out, "%s\n\n| figure | median | min – max | runs | target | aim | "+
		"|\n|---|---|---|---|---|---|---|\n", r.Machine)
	for _, f := range r.Figures {
		t := targets[f.Name]
		fmt.Fprintf(out, "| %s | %s | %s – %s | %d | %s | %s | %s |\n", f.Name, number(f.Median),
			number(f.Min), number(f.Max), f.Runs,
			t.text(t.least), t.text(t.aim), t.verdict(f.Name, f.Median))
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

// median of a sorted, non-empty list.
func median(v []float64) float64 {
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// percentile returns the nearest rank of a non-empty list.
func percentile(v []float64, p float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[max(0, min(len(v)-1, int(math.Ceil(p*float64(len(v))))-1))]
}

// number has three digits that count.
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

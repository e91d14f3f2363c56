package bench

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestMedianAndPercentile(t *testing.T) {
	for _, c := range []struct {
		sorted []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{1, 4}, 2.5},
		{[]float64{1, 2, 9}, 2},
		{[]float64{1, 2, 4, 9}, 3},
	} {
		if got := median(c.sorted); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.sorted, got, c.want)
		}
	}
	var v []float64 // 200, 199, … 1
	for i := range 200 {
		v = append(v, float64(200-i))
	}
	for p, want := range map[float64]float64{0: 1, 0.5: 100, 0.99: 198, 1: 200} {
		if got := percentile(v, p); got != want {
			t.Errorf("percentile %v of 1 to 200 is %v, want %v", p, got, want)
		}
	}
	if v[0] != 200 {
		t.Error("percentile sorts the list of its caller")
	}
	if got := percentile([]float64{7}, 0.99); got != 7 {
		t.Errorf("percentile of one value is %v", got)
	}
}

func TestReportAdd(t *testing.T) {
	var r Report
	for _, m := range []measured{{"b (s)", 5}, {"a (s)", 1}, {"b (s)", 2}, {"b (s)", 4}} {
		r.add(m)
	}
	want := []Figure{
		{Name: "b (s)", Values: []float64{5, 2, 4}, Median: 4, Min: 2, Max: 5, Runs: 3},
		{Name: "a (s)", Values: []float64{1}, Median: 1, Min: 1, Max: 1, Runs: 1},
	}
	if diff := cmp.Diff(want, r.Figures); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestReportRatios(t *testing.T) {
	var r Report
	for _, m := range []measured{
		{"memory, 40 rooms (KB)", 100},
		{"memory, 40 rooms (KB)", 300},
		{"memory, 40 rooms (KB)", 200},
		{"memory, 40 rooms, rtc-node peer (KB)", 4000},
		{"memory, 40 rooms, rtc-node peer (KB)", 8000},
		{"alone (s)", 1},
	} {
		r.add(m)
	}
	r.addRatios()
	want := []Figure{{
		Name: "memory, 40 rooms: textegress / rtc-node peer", Median: 200. / 6000,
		Min: 100. / 8000, Max: 300. / 4000, Runs: 2,
	}}
	if diff := cmp.Diff(want, r.Figures[3:]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A peer that used no processor time that could be measured has no ratio: it would be infinite, and
// JSON cannot hold it.
func TestReportRatioOfZero(t *testing.T) {
	var r Report
	r.add(measured{"x (s)", 1})
	r.add(measured{"x, Go SDK peer (s)", 0})
	r.addRatios()
	if len(r.Figures) != 2 {
		t.Errorf("there is a ratio: %+v", r.Figures[2])
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		t    target
		name string
		v    float64
		want string
	}{
		{target{}, "x (s)", 5, ""},
		{target{10, 5}, "x (s)", 10.1, "over"},
		{target{10, 5}, "x (s)", 10, "ok"},
		{target{10, 5}, "x (s)", 5, "aim met"},
		{target{10, 0}, "x (s)", 1, "ok"},
		{target{0, 200}, "x (MB/s)", 199, "under"},
		{target{0, 200}, "x (MB/s)", 200, "aim met"},
		{target{0.4, 0.2}, "x (ms/s)", 0.1, "aim met"},
		{target{0.4, 0.2}, "x (ms/s)", 0.5, "over"},
		{target{0.1, 1. / 30}, "x: textegress / y", 0.05, "ok"},
	} {
		if got := c.t.verdict(c.name, c.v); got != c.want {
			t.Errorf("%+v, %s = %v: %q, want %q", c.t, c.name, c.v, got, c.want)
		}
	}
}

func TestChange(t *testing.T) {
	f := func(name string, median, lo, hi float64) Figure {
		return Figure{Name: name, Median: median, Min: lo, Max: hi}
	}
	for _, c := range []struct {
		before, now Figure
		want        string
	}{
		{f("x (s)", 10, 9, 11), f("x (s)", 13, 12, 14), "WORSE"},
		{f("x (s)", 10, 9, 11), f("x (s)", 7, 6, 8), "better"},
		{f("x (s)", 10, 9, 12), f("x (s)", 13, 12, 14), ""},  // the spreads meet
		{f("x (s)", 10, 10, 10), f("x (s)", 11, 11, 11), ""}, // too little
		{f("x (MB/s)", 10, 9, 11), f("x (MB/s)", 7, 6, 8), "WORSE"},
		{f("x (ms/s)", 10, 9, 11), f("x (ms/s)", 7, 6, 8), "better"},
		{f("x (s)", 0, 0, 0), f("x (s)", 7, 6, 8), ""},
	} {
		if got := change(c.before, c.now); got != c.want {
			t.Errorf("from %+v to %+v: %q, want %q", c.before, c.now, got, c.want)
		}
	}
}

func TestReportIsKeptAndCompared(t *testing.T) {
	before, now := &Report{Taken: time.Unix(1_700_000_000, 0).UTC(), Machine: "m"},
		&Report{Quick: true}
	before.add(measured{"slower (s)", 1})
	before.add(measured{"gone (s)", 1})
	now.add(measured{"slower (s)", 2})
	now.add(measured{"new (s)", 1})
	file := filepath.Join(t.TempDir(), "sub", "last.json")
	if err := before.Write(file); err != nil {
		t.Fatal(err)
	}
	read, err := ReadReport(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, read); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
	var out bytes.Buffer
	if worse := Compare(&out, read, now); worse != 1 {
		t.Errorf("%d figures are worse, want 1", worse)
	}
	for _, want := range []string{"slower (s)", "WORSE", "quick"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	for _, no := range []string{"gone", "new"} {
		if strings.Contains(out.String(), no) {
			t.Errorf("%q is in\n%s", no, &out)
		}
	}
}

func TestReadReportRefusesOtherFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.json")
	if err := (&Report{}).Write(file); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadReport(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a report without figures: %v", err)
	}
}

// Every figure with a target has a line that says how far it is, and no line is wider than a
// terminal.
func TestPrint(t *testing.T) {
	r := &Report{LeftOut: []string{"dense, rtc-node peer: not there"}}
	for name := range targets {
		r.add(measured{name, 12345.678})
	}
	for _, kind := range []string{peerGoSDK, peerRTCNode} {
		r.add(measured{ofPeer(loadCPU(sparse.name), kind), 3})
	}
	r.add(measured{deliveryMedian(beside200), 1})
	var text, markdown bytes.Buffer
	r.Print(&text)
	r.Markdown(&markdown)
	for line := range strings.Lines(text.String()) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 120 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for name := range targets {
		for _, out := range []string{text.String(), markdown.String()} {
			i := strings.Index(out, name)
			if i < 0 {
				t.Fatalf("%s is not in\n%s", name, out)
			}
			line, _, _ := strings.Cut(out[i:], "\n")
			if !strings.Contains(line, "over") && !strings.Contains(line, "aim") {
				t.Errorf("no verdict: %s", line)
			}
		}
	}
	if !strings.Contains(text.String(), "not there") ||
		!strings.Contains(markdown.String(), "not there") {
		t.Error("what was left out is not said")
	}
}

func TestNumber(t *testing.T) {
	for f, want := range map[float64]string{
		1234.56: "1235", 12.34: "12.3", 1.234: "1.23",
		0.1234: "0.12", 0.0123: "0.012", 3: "3", -45.67: "-45.7",
	} {
		if got := number(f); got != want {
			t.Errorf("%v is %q, want %q", f, got, want)
		}
	}
}

// An hour is the most that a whole run may take, and five minutes a quick one. Servers and delivery
// take some of it.
func TestBudget(t *testing.T) {
	var whole, quick time.Duration
	for _, c := range cases() {
		whole += time.Duration(c.runs) * c.takes
		quick += time.Duration(c.quick) * c.quickTakes
		if (c.runs > 0) != (c.takes > 0) || (c.quick > 0) != (c.quickTakes > 0) {
			t.Errorf("%s: runs without a time, or a time without runs", c.name)
		}
	}
	t.Logf("whole %v, quick %v", whole, quick)
	if whole > 55*time.Minute {
		t.Errorf("a whole run takes %v", whole)
	}
	if quick > 280*time.Second {
		t.Errorf("a quick run takes %v", quick)
	}
}

// A target that belongs to no figure would never be seen.
func TestTargetsBelongToFigures(t *testing.T) {
	for name, x := range targets {
		if x == (target{}) {
			t.Errorf("%s has an empty target", name)
		}
		if x.least != 0 && x.aim != 0 && (x.aim < x.least) == moreIsBetter(name) {
			t.Errorf("%s: the aim of %v is easier than the target of %v", name, x.aim, x.least)
		}
	}
}

package bench

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestPercentile(t *testing.T) {
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

func TestFigures(t *testing.T) {
	var r Report
	for _, m := range []measured{
		{"memory, 40 rooms (KB)", 100},
		{"memory, 40 rooms (KB)", 300},
		{"alone (s)", 1},
		{"memory, 40 rooms (KB)", 200},
		{"memory, 40 rooms, rtc-node peer (KB)", 8000},
		{"memory, 40 rooms, rtc-node peer (KB)", 4000},
		{"no CPU measured (s)", 1},
		{"no CPU measured, Go SDK peer (s)", 0}, // no ratio: it would be infinite
	} {
		r.add(m)
	}
	want := []figure{
		{"memory, 40 rooms (KB)", 200, 100, 300, 3},
		{"alone (s)", 1, 1, 1, 1},
		{"memory, 40 rooms, rtc-node peer (KB)", 6000, 4000, 8000, 2},
		{"no CPU measured (s)", 1, 1, 1, 1},
		{"no CPU measured, Go SDK peer (s)", 0, 0, 0, 1},
		{"memory, 40 rooms: textegress / rtc-node peer", 200. / 6000, 100. / 8000, 300. / 4000, 2},
	}
	if diff := cmp.Diff(want, r.figures(), cmp.AllowUnexported(figure{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
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

func TestReportIsKept(t *testing.T) {
	want := &Report{
		Machine: "2 cores, go1.26.8; everything else on the same machine", Quick: true,
		LeftOut: []string{"dense: timed out\nlog: x", "burst: another"},
	}
	want.add(measured{"CPU per 100k messages, 100 rooms x 10/s (s)", 9.78})
	want.add(measured{"raw input (MB/s)", 46.8})
	want.add(measured{"CPU per 100k messages, 100 rooms x 10/s (s)", 1e-9})
	file := filepath.Join(t.TempDir(), "sub", "last.txt")
	if err := want.Write(file); err != nil {
		t.Fatal(err)
	}
	got, err := ReadReport(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Report{}, measured{})); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
}

func TestReadReportRefusesOtherFiles(t *testing.T) {
	for _, content := range []string{"", "{}\n", "BenchmarkX 1 many s\n"} {
		file := filepath.Join(t.TempDir(), "x.txt")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadReport(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// Three runs that do not overlap differ for benchstat, three that do overlap do not.
func TestCompare(t *testing.T) {
	before, now := &Report{Machine: "m"}, &Report{Machine: "m"}
	for i := range 3 {
		v := float64(i)
		before.add(measured{"apart (s)", 10 + v})
		now.add(measured{"apart (s)", 20 + v})
		before.add(measured{"overlapping (s)", 10 + v})
		now.add(measured{"overlapping (s)", 11 + v})
	}
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.txt"), filepath.Join(dir, "b.txt")
	if err := errors.Join(before.Write(a), now.Write(b)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Compare(t.Context(), &out, a, b); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"apart": "+90.91%", "overlapping": "~"} {
		i := strings.Index(out.String(), name)
		if i < 0 {
			t.Fatalf("%s is not in\n%s", name, &out)
		}
		line, _, _ := strings.Cut(out.String()[i:], "\n")
		if !strings.Contains(line, want) {
			t.Errorf("%q is not in %q", want, line)
		}
	}
	t.Logf("\n%s", &out)
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

// A target that belongs to no figure would never be seen, and the manual has the targets, too.
func TestTargetsAreThoseOfTheManual(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "PERFORMANCE.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(b), "\n## The figures\n")
	table, _, _ = strings.Cut(table, "\n## ")
	documented := map[string][2]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, " | ") // figure, median, range, runs, target, aim, verdict
		if len(cells) != 7 || cells[0] == "| figure" {
			continue
		}
		least, aim := strings.TrimSpace(cells[4]), strings.TrimSpace(cells[5])
		if least+aim != "" {
			documented[strings.TrimPrefix(cells[0], "| ")] = [2]string{least, aim}
		}
	}
	printed := map[string][2]string{}
	for name, x := range targets {
		if x.least != 0 && x.aim != 0 && (x.aim < x.least) == moreIsBetter(name) {
			t.Errorf("%s: the aim of %v is easier than the target of %v", name, x.aim, x.least)
		}
		printed[name] = [2]string{x.text(x.least), x.text(x.aim)}
	}
	if diff := cmp.Diff(printed, documented); diff != "" {
		t.Errorf("-printed by bench +in PERFORMANCE.md:\n%s", diff)
	}
}

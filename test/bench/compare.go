package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Write keeps a report as JSON.
func (r *Report) Write(file string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file+".tmp", append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".tmp", file)
}

// ReadReport reads what [Report.Write] wrote.
func ReadReport(file string) (*Report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s is not a report of bench: %w", file, err)
	}
	if len(r.Figures) == 0 {
		return nil, fmt.Errorf("%s is not a report of bench: it has no figures", file)
	}
	return &r, nil
}

// noise is the difference between two medians below which nothing is called better or worse: on
// shared cores as much comes and goes by itself.
const noise = 0.15

// change says how a figure changed: better or worse only where the medians differ by more than
// noise and no value of one report is among those of the other.
func change(before, now Figure) string {
	apart := now.Min > before.Max || now.Max < before.Min
	if ratio := now.Median / before.Median; before.Median <= 0 || !apart || ratio < 1+noise &&
		ratio > 1-noise {
		return ""
	}
	if (now.Median > before.Median) == moreIsBetter(now.Name) {
		return "better"
	}
	return "WORSE"
}

// Compare prints each figure of both reports with the ratio of its medians, and returns how many
// became worse.
func Compare(out io.Writer, before, now *Report) (worse int) {
	fmt.Fprintf(out, "\ncompared with the run of %s: %s\n", before.Taken.Format("2006-01-02 15:04"),
		before.Machine)
	if before.Quick != now.Quick {
		fmt.Fprintln(out, "One of the two is a quick run and the other is not: their runs have "+
			"different lengths.")
	}
	fmt.Fprintf(out, "\n%-67s %8s %8s %11s\n", "figure", "before", "now", "now/before")
	for _, f := range now.Figures {
		b, ok := before.figure(f.Name)
		if !ok {
			continue
		}
		ratio := "–"
		if b.Median != 0 {
			ratio = number(f.Median / b.Median)
		}
		c := change(b, f)
		if c == "WORSE" {
			worse++
		}
		fmt.Fprintf(out, "%-67s %8s %8s %11s  %s\n", f.Name, number(b.Median), number(f.Median),
			ratio, c)
	}
	return worse
}

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/perf/benchfmt"

	"github.com/syncflow/textegress/test/stack"
)

// Keys of the configuration lines at the head of a file.
const (
	machineKey = "machine"
	lengthKey  = "length" // "whole" or "quick"
	leftOutKey = "left-out"
)

// Write writes the report in the Go benchmark format, with one line for each measurement. The name
// of a benchmark is that of its figure, with underscores instead of spaces.
func (r *Report) Write(file string) error {
	config := []benchfmt.Config{
		{Key: machineKey, Value: []byte(r.Machine), File: true},
		{Key: lengthKey, Value: []byte("whole"), File: true},
	}
	if r.Quick {
		config[1].Value = []byte("quick")
	}
	if len(r.LeftOut) > 0 {
		b, err := json.Marshal(r.LeftOut) // on one line
		if err != nil {
			return err
		}
		config = append(config, benchfmt.Config{Key: leftOutKey, Value: b, File: true})
	}
	var b bytes.Buffer
	w := benchfmt.NewWriter(&b)
	for _, m := range r.measurements {
		what, unit := cutUnit(m.name)
		if err := w.Write(&benchfmt.Result{
			Config: config, Name: benchfmt.Name(strings.ReplaceAll(what, " ", "_")), Iters: 1,
			Values: []benchfmt.Value{{Value: m.value, Unit: unit}},
		}); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// ReadReport reads a file written by [Report.Write].
func ReadReport(file string) (*Report, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r Report
	in := benchfmt.NewReader(f, file)
	for in.Scan() {
		switch line := in.Result().(type) {
		case *benchfmt.SyntaxError:
			return nil, line
		case *benchfmt.Result:
			r.Machine, r.Quick = line.GetConfig(machineKey), line.GetConfig(lengthKey) == "quick"
			if s := line.GetConfig(leftOutKey); s != "" {
				if err := json.Unmarshal([]byte(s), &r.LeftOut); err != nil {
					return nil, fmt.Errorf("%s: %s: %w", file, leftOutKey, err)
				}
			}
			what := strings.ReplaceAll(string(line.Name), "_", " ")
			for _, v := range line.Values {
				if v.OrigUnit != "" { // the reader converts MB to B
					v.Value, v.Unit = v.OrigValue, v.OrigUnit
				}
				r.add(measured{withUnit(what, v.Unit), v.Value})
			}
		}
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	if r.Empty() {
		return nil, fmt.Errorf("%s has no measurements", file)
	}
	return &r, nil
}

// Compare prints benchstat's comparison of two files written by [Report.Write]. With three runs on
// either side, the ranges cover all values, and a difference is significant if they do not overlap
// (p = 0.10). Quick and whole runs have separate tables.
func Compare(ctx context.Context, out io.Writer, before, now string) error {
	root, err := stack.Root()
	if err != nil {
		return err
	}
	args := []string{
		"tool", "benchstat", "-table", lengthKey, "-alpha", "0.11", "-confidence", "0.75",
	}
	for _, f := range [][2]string{{"before", before}, {"now", now}} {
		file, err := filepath.Abs(f[1])
		if err != nil {
			return err
		}
		args = append(args, f[0]+"="+file)
	}
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir, c.Stdout, c.Stderr = filepath.Join(root, "test"), out, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("benchstat: %w", err)
	}
	return nil
}

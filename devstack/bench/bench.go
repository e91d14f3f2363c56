// Package bench measures what textegress costs: the real binary on real servers, with the load generators in processes of their
// own. It prints figures and judges nothing; every run checks that all that was sent was recorded.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/syncflow/textegress/devstack"
)

// Options of [Run].
type Options struct {
	Dir   string // for the servers' state and the recorders
	Quick bool   // fewer runs and fewer rooms
	Only  string // run only cases whose name begins so; "" runs all
	// Profile is a folder for CPU and heap profiles of the recorder under load; "" takes none.
	Profile string
	Out     io.Writer
	Log     io.Writer // progress
}

// measured is one figure of one run.
type measured struct {
	name  string // what, with its unit
	value float64
}

// benchCase measures one or several figures in one go.
type benchCase struct {
	name string
	runs func(quick bool) int
	run  func(ctx context.Context, w *world) ([]measured, error)
	// slow cases are left out of a quick run.
	slow bool
}

// Run runs the cases and prints the table.
func Run(ctx context.Context, o Options) error {
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	defer w.stop()
	t := &table{}
	for _, c := range cases() {
		if o.Quick && c.slow || len(o.Only) > 0 && (len(c.name) < len(o.Only) || c.name[:len(o.Only)] != o.Only) {
			continue
		}
		for i := range c.runs(o.Quick) {
			began := time.Now()
			figures, err := c.run(ctx, w)
			if errors.Is(err, errNoPeer) {
				fmt.Fprintf(o.Log, "%s is left out: %v\n", c.name, err)
				break
			}
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Fprintf(o.Log, "%-12s run %d: %.0f s\n", c.name, i+1, time.Since(began).Seconds())
			for _, f := range figures {
				t.add(f)
			}
		}
	}
	fmt.Fprintf(o.Out, "\n%d cores, %s; LiveKit %s and everything else on the same machine\n\n", runtime.NumCPU(), runtime.Version(), w.stack.LiveKit.Version)
	t.print(o.Out)
	t.compare(o.Out)
	return nil
}

// world is the servers, and what the cases share.
type world struct {
	o     Options
	stack *devstack.Stack
	n     int // recorders and rooms so far, for names
}

func newWorld(ctx context.Context, o Options) (*world, error) {
	dir, err := filepath.Abs(filepath.Join(o.Dir, time.Now().Format("20060102-150405")))
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	s, err := devstack.Start(ctx, devstack.Options{
		Dir: filepath.Join(dir, "servers"),
		LiveKit: devstack.LiveKitOptions{
			LogLevel: "error", EmptyTimeout: 6 * time.Hour, DepartureTimeout: 6 * time.Hour,
			// More rooms than a stack's own range has ports; nothing else runs beside a benchmark.
			UDPRange: [2]int{50000, 59999},
		},
	})
	if err != nil {
		return nil, err
	}
	return &world{o: o, stack: s}, nil
}

func (w *world) stop() {
	_ = w.stack.Stop(context.Background())
	_ = os.RemoveAll(w.o.Dir)
}

// table collects figures by name, in the order in which they came first.
type table struct {
	names  []string
	values map[string][]float64
}

func (t *table) add(m measured) {
	if t.values == nil {
		t.values = map[string][]float64{}
	}
	if _, ok := t.values[m.name]; !ok {
		t.names = append(t.names, m.name)
	}
	t.values[m.name] = append(t.values[m.name], m.value)
}

func (t *table) print(out io.Writer) {
	fmt.Fprintf(out, "%-58s %10s  %-19s %4s  %-12s %s\n", "figure", "median", "min – max", "runs", "spike", "ratio")
	for _, name := range t.names {
		v := slices.Sorted(slices.Values(t.values[name]))
		m := median(v)
		ref, ratio := "", ""
		if s, ok := spike[name]; ok {
			ref = fmt.Sprintf("%s – %s", number(s[0]), number(s[1]))
			ratio = fmt.Sprintf("%.2f", m/((s[0]+s[1])/2))
		}
		fmt.Fprintf(out, "%-58s %10s  %-19s %4d  %-12s %s\n", name, number(m), number(v[0])+" – "+number(v[len(v)-1]), len(v), ref, ratio)
	}
}

// compare prints the ratios of a peer's figures to ours, where this run has both.
func (t *table) compare(out io.Writer) {
	for _, kind := range []string{peerGoSDK, peerRTCNode} {
		for _, name := range t.names {
			theirs := strings.NewReplacer(" (s)", ", "+kind+" (s)", ", RSS", ", "+kind+", RSS").Replace(name)
			if peers, ok := t.values[theirs]; ok && theirs != name {
				a, b := slices.Sorted(slices.Values(t.values[name])), slices.Sorted(slices.Values(peers))
				fmt.Fprintf(out, "%s: %.3f of the %s's\n", name, median(a)/median(b), kind)
			}
		}
	}
}

// median of a sorted, non-empty list.
func median(v []float64) float64 {
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// percentile returns the nearest rank.
func percentile(v []float64, p float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[max(0, min(len(v)-1, int(math.Ceil(p*float64(len(v))))-1))]
}

func number(f float64) string {
	switch a := math.Abs(f); {
	case a >= 100 || f == math.Trunc(f):
		return fmt.Sprintf("%.0f", f)
	case a >= 10:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

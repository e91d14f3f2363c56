package bench

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/test/stack"
)

// Names of metrics, as returned by stack.Recorder.Metrics.
const (
	joinsOK   = "livekit_data_egress_joins_total ok"
	uploadsOK = "livekit_data_egress_uploads_total ok"
	packets   = "livekit_data_egress_packets_total"
	heapInUse = "go_memstats_heap_inuse_bytes"
)

// reading is the resource use of a process at one moment.
type reading struct {
	at   time.Time
	cpu  time.Duration // user and system time, in hundredths of a second
	rss  float64       // bytes
	peak float64       // bytes, the highest since the process started
	heap float64       // bytes in use; set for a recorder only
}

// readRecorder reads a recorder's resource use and metrics.
func readRecorder(ctx context.Context, r *stack.Recorder) (reading, error) {
	m, err := r.Metrics(ctx)
	if err != nil {
		return reading{}, err
	}
	l, err := readProcess(r.Process)
	l.heap = m[heapInUse]
	return l, err
}

func readProcess(p *stack.Process) (reading, error) {
	cpu, err := p.CPUTime()
	if err != nil {
		return reading{}, err
	}
	rss, peak, err := p.RSS()
	return reading{at: time.Now(), cpu: cpu, rss: float64(rss), peak: float64(peak)}, err
}

// msPerSecond returns the processor time between two readings, in milliseconds per second.
func msPerSecond(from, to reading) float64 {
	return float64((to.cpu - from.cpu).Microseconds()) / 1000 / to.at.Sub(from.at).Seconds()
}

// profile writes name.cpu.pprof, over the given number of seconds, and name.heap.pprof.
func profile(ctx context.Context, r *stack.Recorder, name string, seconds float64) error {
	for ext, what := range map[string]string{".cpu.pprof": fmt.Sprintf("profile?seconds=%.0f",
		seconds), ".heap.pprof": "heap"} {
		b, err := r.Pprof(ctx, what)
		if err != nil {
			return err
		}
		if err := os.WriteFile(name+ext, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// until polls the metrics until ok returns true: ten times a second, which hardly affects a
// recorder of a thousand rooms.
func until(ctx context.Context, r *stack.Recorder, what string,
	ok func(map[string]float64) bool,
) error {
	var last map[string]float64
	for {
		m, err := r.Metrics(ctx)
		if err == nil {
			last = m
		}
		if err == nil && ok(m) {
			return nil
		}
		if err := backoff.Sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("waiting until %s: %w (packets %v, joins %v, uploads %v)\n%s", what,
				err,
				last[packets], last[joinsOK], last[uploadsOK], r.LogTail(3000))
		}
		if !r.Running() {
			return fmt.Errorf("waiting until %s: the recorder has ended\n%s", what, r.LogTail(3000))
		}
	}
}

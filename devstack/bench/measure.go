package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/syncflow/textegress/devstack"
)

// recorder starts the real binary in a folder of its own.
func (w *world) recorder(ctx context.Context, extra ...string) (*devstack.Recorder, error) {
	w.n++
	return w.stack.StartRecorder(ctx, filepath.Join(w.o.Dir, fmt.Sprintf("recorder-%d", w.n)), extra...)
}

// sessions makes n sessions that are started and that nobody announced. The API is restarted afterwards, so that its own
// listeners, of which each costs more than a room of ours, are gone; the rooms stay.
func (w *world) sessions(ctx context.Context, n int) ([]devstack.Session, error) {
	p := w.stack.SyncFlow.Projects[0]
	var all []devstack.Session
	for range n {
		w.n++
		s, err := w.stack.SyncFlow.CreateSession(ctx, p, fmt.Sprintf("bench-%d", w.n))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
		if len(all)%100 == 0 || len(all) == n {
			if err := w.stack.SyncFlow.Restart(ctx); err != nil {
				return nil, err
			}
		}
	}
	return all, w.stack.SyncFlow.Redeclare(ctx)
}

// announce publishes the announcements of sessions at once.
func (w *world) announce(ctx context.Context, sessions ...devstack.Session) error {
	var bodies [][]byte
	for _, s := range sessions {
		bodies = append(bodies, devstack.Announcement(s.ID, s.LivekitRoomName))
	}
	return w.stack.SyncFlow.Announce(ctx, w.stack.SyncFlow.Projects[0], devstack.DeviceGroup, bodies...)
}

// end deletes the rooms of sessions.
func (w *world) end(ctx context.Context, sessions []devstack.Session) error {
	for _, s := range sessions {
		if err := w.stack.LiveKit.DeleteRoom(ctx, s.LivekitRoomName); err != nil {
			return err
		}
	}
	return nil
}

// reading is one look at a process.
type reading struct {
	at   time.Time
	cpu  time.Duration
	rss  float64 // bytes
	heap float64 // bytes in use
}

func look(ctx context.Context, r *devstack.Recorder) (reading, error) {
	m, err := metrics(ctx, r)
	if err != nil {
		return reading{}, err
	}
	cpu, err := r.CPUTime()
	if err != nil {
		return reading{}, err
	}
	rss, err := rssOf(r.PID())
	return reading{at: time.Now(), cpu: cpu, rss: rss, heap: m["go_memstats_heap_inuse_bytes"]}, err
}

// rssOf reads the resident memory of a process.
func rssOf(pid int) (float64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kb * 1024, err
		}
	}
	return 0, errors.New("no VmRSS in /proc: has the process ended?")
}

// metrics reads the recorder's metrics, summed over their labels except result.
func metrics(ctx context.Context, r *devstack.Recorder) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	defer resp.Body.Close()
	out := map[string]float64{}
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		name, value, ok := strings.Cut(s.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		base, labels, _ := strings.Cut(name, "{")
		if strings.Contains(labels, `result="ok"`) {
			out[base+" ok"] += v
		}
		out[base] += v
	}
	return out, nil
}

// profile writes name.cpu.pprof, of so many seconds, and name.heap.pprof.
func profile(ctx context.Context, r *devstack.Recorder, name string, seconds float64) error {
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(r.Dir, "textegress-data", "control.sock"))
	}}}
	for file, path := range map[string]string{
		name + ".cpu.pprof":  fmt.Sprintf("profile?seconds=%.0f", seconds),
		name + ".heap.pprof": "heap",
	} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://control/debug/pprof/"+path, nil)
		if err != nil {
			return err
		}
		resp, err := c.Do(req)
		if err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// until polls the metrics until ok says so.
func until(ctx context.Context, r *devstack.Recorder, what string, ok func(map[string]float64) bool) error {
	var last map[string]float64
	err := devstack.Poll(ctx, func() bool {
		m, err := metrics(ctx, r)
		last = m
		return err == nil && ok(m)
	})
	if err != nil {
		return fmt.Errorf("waiting until %s: %w (packets %v, joins %v)\n%s", what, err,
			last["livekit_data_egress_packets_total"], last["livekit_data_egress_joins_total ok"], r.LogTail(3000))
	}
	return nil
}

func joined(ctx context.Context, r *devstack.Recorder, n int) error {
	return until(ctx, r, fmt.Sprintf("%d rooms are joined", n), func(m map[string]float64) bool {
		return m["livekit_data_egress_joins_total ok"] >= float64(n)
	})
}

func recorded(ctx context.Context, r *devstack.Recorder, n int) error {
	return until(ctx, r, fmt.Sprintf("%d packets are recorded", n), func(m map[string]float64) bool {
		return m["livekit_data_egress_packets_total"] >= float64(n)
	})
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

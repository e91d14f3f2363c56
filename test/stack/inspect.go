package stack

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
)

// RSS returns the current and the peak resident memory of the process, in bytes.
func (p *Process) RSS() (now, peak int64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, 0, fmt.Errorf("memory of %s: %w", p.Name(), err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), ":")
		if key != "VmRSS" && key != "VmHWM" {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("memory of %s: %w", p.Name(), err)
		}
		if key == "VmRSS" {
			now = kb << 10
		} else {
			peak = kb << 10
		}
	}
	if now == 0 {
		return 0, 0, fmt.Errorf("memory of %s: /proc says nothing of it; has it ended?", p.Name())
	}
	return now, peak, nil
}

// OpenFiles counts the file descriptors of the process.
func (p *Process) OpenFiles() (int, error) {
	d, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("open files of %s: %w", p.Name(), err)
	}
	return len(d), nil
}

// DataDir is the recorder's spool.
func (r *Recorder) DataDir() string { return filepath.Join(r.Dir, "textegress-data") }

// Metrics reads the recorder's metrics. The map has each metric summed over its labels, each series
// under its name with labels as written, and the sum of the series with the label result="ok" under
// "name ok".
func (r *Recorder) Metrics(ctx context.Context) (map[string]float64, error) {
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
	s := bufio.NewScanner(resp.Body)
	for s.Scan() {
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
		if labels != "" {
			out[name] = v
		}
		out[base] += v
	}
	return out, s.Err()
}

// Pprof fetches a profile of the recorder over its control socket: "heap?gc=1",
// "profile?seconds=20", …
func (r *Recorder) Pprof(ctx context.Context, what string) ([]byte, error) {
	// The path of the socket may be too long for a socket address. The path through the directory's
	// descriptor is short.
	dir, err := os.Open(r.DataDir())
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	defer dir.Close()
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _,
		_ string,
	) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/control.sock",
			dir.Fd()))
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://control/debug/pprof/"+what,
		nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, b)
	}
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return b, nil
}

// LiveHeap returns the reachable bytes of the recorder's heap: those allocated just after a forced
// collection. A second collection frees what pools have released.
func (r *Recorder) LiveHeap(ctx context.Context) (int64, error) {
	var text []byte
	for range 2 {
		var err error
		// The text form of the profile ends with the statistics, which are read before the profile
		// is written, because writing it allocates memory.
		if text, err = r.Pprof(ctx, "heap?gc=1&debug=1"); err != nil {
			return 0, err
		}
	}
	return heapAlloc(text)
}

func heapAlloc(profile []byte) (int64, error) {
	for line := range strings.Lines(string(profile)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "# HeapAlloc = "); ok {
			return strconv.ParseInt(n, 10, 64)
		}
	}
	return 0, errors.New("the heap profile does not say how much is allocated")
}

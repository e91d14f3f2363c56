package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// state is what the recorder uses.
type state struct {
	heap       float64 // reachable bytes, after two forced collections
	rss        float64 // bytes; depends on the last collection, so it is not judged
	goroutines int
	files      int     // open
	disk       float64 // bytes of the data directory, without the persistent rooms' recordings
	traces     int     // recordings with nothing left but their small state files
}

// tolerance bounds the growth from start to end. A recording that was delivered and removed leaves
// a trace for 30 days: its state files, and what the process keeps in memory about them.
var tolerance = struct {
	heapShare, heapBytes, heapPerTrace float64
	goroutines, files                  int
	diskBytes, diskPerTrace            float64
}{
	heapShare: 0.05, heapBytes: 512 << 10, heapPerTrace: 2 << 10,
	goroutines: 8, files: 8,
	diskBytes: 512 << 10, diskPerTrace: 16 << 10,
}

// judge returns an error for each kind of growth beyond the tolerance.
func judge(begin, end state) error {
	var errs []error
	traces := float64(max(0, end.traces-begin.traces))
	check := func(what string, began, ended, allowed, unit float64, name string) {
		if ended > began+allowed {
			errs = append(errs, fmt.Errorf("%s grew from %.1f to %.1f %s, %.1f beyond the "+
				"%.1f allowed", what, began/unit, ended/unit, name,
				(ended-began-allowed)/unit, allowed/unit))
		}
	}
	check("the live heap", begin.heap, end.heap, tolerance.heapShare*begin.heap+tolerance.heapBytes+
		tolerance.heapPerTrace*traces, 1<<10, "KB")
	check("the number of goroutines", float64(begin.goroutines), float64(end.goroutines),
		float64(tolerance.goroutines), 1, "goroutines")
	check("the number of open files", float64(begin.files), float64(end.files),
		float64(tolerance.files), 1, "files")
	check("the data directory", begin.disk, end.disk, tolerance.diskBytes+
		tolerance.diskPerTrace*traces, 1<<10, "KB")
	return errors.Join(errs...)
}

// verdict prints start, end, difference and tolerance, and judges them.
func verdict(out io.Writer, begin, end state) error {
	n := max(0, end.traces-begin.traces)
	fmt.Fprintf(out, "\n%-28s %10s %10s %10s   %s\n", "", "start", "end", "difference", "allowed")
	row := func(what string, began, ended float64, allowed string) {
		fmt.Fprintf(out, "%-28s %10.0f %10.0f %+10.0f   %s\n", what, began, ended, ended-began,
			allowed)
	}
	row("live heap (KB)", begin.heap/1024, end.heap/1024,
		fmt.Sprintf("%.0f %%, %.0f KB, and %.0f KB for each of %d recordings whose data "+
			"was removed",
			tolerance.heapShare*100, tolerance.heapBytes/1024, tolerance.heapPerTrace/1024, n))
	row("goroutines", float64(begin.goroutines), float64(end.goroutines),
		fmt.Sprint(tolerance.goroutines))
	row("open files", float64(begin.files), float64(end.files), fmt.Sprint(tolerance.files))
	row("data directory (KB)", begin.disk/1024, end.disk/1024,
		fmt.Sprintf("%.0f KB, and %.0f KB for each of those", tolerance.diskBytes/1024,
			tolerance.diskPerTrace/1024))
	row("resident memory (KB)", begin.rss/1024, end.rss/1024,
		"not judged: it depends on the last collection")
	if n > 0 {
		fmt.Fprintf(out, "\nPer recording whose data was removed: %.1f KB of heap and %.1f KB on "+
			"disk. Its state files are kept for 30 days.\n",
			(end.heap-begin.heap)/1024/float64(n), (end.disk-begin.disk)/1024/float64(n))
	}
	err := judge(begin, end)
	if err == nil {
		fmt.Fprintln(out, "\nNothing grew.")
	}
	return err
}

const header = "after     live heap      RSS  goroutines  files  data dir  sessions now   ended"

// look reads and prints the state; what labels it.
func (s *soak) look(ctx context.Context, what string) (state, error) {
	var st state
	heap, err := s.r.LiveHeap(ctx)
	if err != nil {
		return st, err
	}
	if what != "" {
		// Shows where the heap grew: go tool pprof -diff_base start.pprof … end.pprof
		b, err := s.r.Pprof(ctx, "heap")
		if err != nil {
			return st, err
		}
		if err := os.WriteFile(filepath.Join(s.o.Dir, what+".pprof"), b, 0o644); err != nil {
			return st, err
		}
	}
	m, err := s.r.Metrics(ctx)
	if err != nil {
		return st, err
	}
	st.heap, st.goroutines = float64(heap), int(m["go_goroutines"])
	rss, _, err := s.r.RSS()
	if err != nil {
		return st, err
	}
	st.rss = float64(rss)
	if st.files, err = s.r.OpenFiles(); err != nil {
		return st, err
	}
	if err := s.disk(&st); err != nil {
		return st, err
	}
	fmt.Fprintf(s.o.Out, "%-8s %7.0f KB %5.0f MB  %10d  %5d %6.0f KB  %12d  %6d  %s\n",
		time.Since(s.began).Round(time.Second), st.heap/1024, st.rss/(1<<20),
		st.goroutines, st.files, st.disk/1024, s.active.Load(), s.ended.Load(), what)
	return st, nil
}

// disk measures the data directory.
func (s *soak) disk(st *state) error {
	stay := map[string]bool{}
	for _, v := range s.persistent {
		id, err := s.log.joined(context.Background(), v.session.ID)
		if err != nil {
			return err
		}
		stay[id] = true
	}
	root := s.r.DataDir()
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // removed just now
		}
		if err != nil {
			return err
		}
		if d.IsDir() && filepath.Base(filepath.Dir(path)) == "recordings" {
			if stay[d.Name()] {
				return fs.SkipDir
			}
			st.traces++
		}
		info, err := d.Info()
		if err == nil && info.Mode().IsRegular() {
			st.disk += float64(info.Size())
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
}

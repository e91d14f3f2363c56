// Package bench measures what textegress costs: the real binary on real servers, with load
// generators and alternatives in separate processes. It prints figures and does not fail because of
// a bad one. Every run checks that everything sent was recorded and delivered.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// Options of [Run].
type Options struct {
	Dir   string // directory of the servers and recorders; removed after the run
	Quick bool   // fewer and shorter runs, fewer rooms
	Peers bool   // run the peers beside the recorder's cases
	Runs  int    // runs of each case; 0: the default of the case
	Only  string // run only cases whose name has this prefix; "" runs all
	// Profile is a directory for CPU and heap profiles of the recorder under load; "": none.
	Profile string
	Log     io.Writer // progress
}

// benchCase measures one or more figures in each run.
type benchCase struct {
	name string
	// runs is the number of runs, quick the number in a quick benchmark; 0 leaves the case out.
	runs, quick int
	// takes is the duration of one run with peers, quickTakes that of a quick run without them. A
	// test adds them up.
	takes, quickTakes time.Duration
	run               runFunc
	// peers run right after each run of the case, under the same conditions.
	peers []peerCase
}

type runFunc = func(ctx context.Context, w *world) ([]measured, error)

// peerCase is a case run by a peer.
type peerCase struct {
	kind string
	run  runFunc
}

// Run runs the cases. If a case or a peer fails, the report names it, the others still run, and the
// error is ErrIncomplete. With any other error, the report contains the measurements made before
// it.
func Run(ctx context.Context, o Options) (*Report, error) {
	began := time.Now()
	rep := &Report{Quick: o.Quick}
	w, err := newWorld(ctx, o)
	if err != nil {
		return rep, err
	}
	defer w.stop()
	rep.Machine = fmt.Sprintf("%d cores, %s; LiveKit %s and everything else on the same machine",
		runtime.NumCPU(), runtime.Version(), w.servers.LiveKit.Version)
	w.rep = rep
	found := false
	for _, c := range cases() {
		if !strings.HasPrefix(c.name, o.Only) {
			continue
		}
		found = true
		if err := w.runCase(ctx, c); ctx.Err() != nil {
			return rep, ctx.Err()
		} else if err != nil {
			fmt.Fprintf(o.Log, "%s FAILED: %v\n", c.name, err)
			rep.LeftOut = append(rep.LeftOut, fmt.Sprintf("%s: %v", c.name, err))
		}
	}
	if !found {
		return rep, fmt.Errorf("no case begins with %q", o.Only)
	}
	fmt.Fprintf(o.Log, "total: %.0f s\n", time.Since(began).Seconds())
	if len(rep.LeftOut) > 0 {
		return rep, fmt.Errorf("%w: %s", ErrIncomplete, strings.Join(rep.LeftOut, "; "))
	}
	return rep, nil
}

// ErrIncomplete is returned when cases or peers failed: a message was not delivered, or a peer
// could not be run.
var ErrIncomplete = errors.New("not everything was measured")

func (w *world) runCase(ctx context.Context, c benchCase) error {
	runs := c.runs
	if w.o.Quick {
		runs = c.quick
	}
	if w.o.Runs > 0 && (runs > 0 || w.o.Only != "") {
		runs = w.o.Runs
	}
	var spent time.Duration
	left := map[string]bool{} // peers that failed
	for i := range runs {
		began := time.Now()
		if err := w.measure(ctx, c.run); err != nil {
			return err
		}
		for _, p := range c.peers {
			if !w.o.Peers || left[p.kind] {
				continue
			}
			if err := w.measure(ctx, p.run); ctx.Err() != nil {
				return ctx.Err()
			} else if err != nil {
				left[p.kind] = true
				fmt.Fprintf(w.o.Log, "%s, %s FAILED: %v\n", c.name, p.kind, err)
				w.rep.LeftOut = append(w.rep.LeftOut, fmt.Sprintf("%s, %s: %v", c.name, p.kind,
					err))
			}
		}
		took := time.Since(began)
		spent += took
		fmt.Fprintf(w.o.Log, "%-22s run %d of %d: %.0f s\n", c.name, i+1, runs, took.Seconds())
	}
	if runs > 1 {
		fmt.Fprintf(w.o.Log, "%-22s total: %.0f s\n", c.name, spent.Seconds())
	}
	return nil
}

// runLimit bounds a run; a longer one hangs.
const runLimit = 12 * time.Minute

func (w *world) measure(ctx context.Context, run runFunc) error {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	figures, err := run(ctx, w)
	if err != nil {
		return err
	}
	for _, f := range figures {
		w.rep.add(f)
	}
	return nil
}

// profileTo returns the path prefix of a profile's files, or "" if none is taken.
func (o Options) profileTo(name string) string {
	if o.Profile == "" {
		return ""
	}
	return o.Profile + string(os.PathSeparator) + strings.ReplaceAll(name, "/", " per ")
}

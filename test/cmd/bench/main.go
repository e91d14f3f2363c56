// Command bench measures textegress and prints a table. It can compare the results with earlier
// ones.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/syncflow/textegress/test/bench"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	o := bench.Options{Log: os.Stderr}
	flag.StringVar(&o.Dir, "dir", filepath.Join("build", "bench"),
		"`folder` for the servers' state, which is removed at the end")
	flag.BoolVar(&o.Quick, "quick", false, "one shorter run of each case, no case of a thousand "+
		"rooms, no peers")
	flag.BoolVar(&o.Peers, "peers", false, "run the peers even with -quick")
	flag.IntVar(&o.Runs, "runs", 0, "runs of each case, instead of the case's own number")
	flag.StringVar(&o.Only, "only", "", "run only the cases whose name has this `prefix`")
	flag.StringVar(&o.Profile, "profile", "", "existing `folder` for CPU and heap profiles under "+
		"load; they cost a little themselves")
	out := flag.String("out", "", "`file` for the measurements, in the Go benchmark format (default: "+
		"last.txt, last-quick.txt or last-only.txt in the folder of -dir)")
	read := flag.String("read", "", "measure nothing: print the table of this `file`")
	compare := flag.String("compare", "", "compare with this `file` of an earlier run, by benchstat")
	markdown := flag.Bool("markdown", false, "print the table as docs/PERFORMANCE.md has it")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	// Read the earlier file first, so that a wrong name fails before the run of an hour.
	if *compare != "" {
		if _, err := bench.ReadReport(*compare); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var rep *bench.Report
	var err error
	file := *read
	if file != "" {
		rep, err = bench.ReadReport(file)
	} else {
		if file = *out; file == "" {
			file = defaultFile(o)
		}
		rep, err = measure(ctx, o, file)
	}
	if rep == nil {
		return err
	}
	fmt.Println()
	if *markdown {
		rep.Markdown(os.Stdout)
	} else {
		rep.Print(os.Stdout)
	}
	if *compare != "" {
		fmt.Println()
		err = errors.Join(err, bench.Compare(ctx, os.Stdout, *compare, file))
	}
	return err
}

// defaultFile is the file for a run's measurements. A quick run does not overwrite those of a whole
// run.
func defaultFile(o bench.Options) string {
	name := "last.txt"
	switch {
	case o.Only != "":
		name = "last-only.txt"
	case o.Quick:
		name = "last-quick.txt"
	}
	return filepath.Join(o.Dir, name)
}

// measure runs the benchmark and saves its measurements.
func measure(ctx context.Context, o bench.Options, file string) (*bench.Report, error) {
	o.Peers = o.Peers || !o.Quick
	rep, err := bench.Run(ctx, o)
	if rep.Empty() {
		return nil, err
	}
	if werr := rep.Write(file); werr != nil {
		return rep, errors.Join(err, werr)
	}
	fmt.Fprintf(os.Stderr, "the measurements are in %s\n", file)
	return rep, err
}

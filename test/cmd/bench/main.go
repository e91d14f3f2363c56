// Command bench measures textegress and prints a table; it can compare it with an earlier one.
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
	flag.BoolVar(&o.Peers, "peers", false, "run the peers with -quick, too")
	flag.IntVar(&o.Runs, "runs", 0, "runs of each case, instead of the case's own number")
	flag.StringVar(&o.Only, "only", "", "only the cases whose name begins so")
	flag.StringVar(&o.Profile, "profile", "", "existing `folder` for CPU and heap profiles under "+
		"load; they cost a little themselves")
	jsonFile := flag.String("json", "", "`file` for the figures (default: last.json, "+
		"last-quick.json or last-only.json in the folder of -dir)")
	read := flag.String("read", "", "measure nothing: show the figures of this `file`")
	compare := flag.String("compare", "", "compare with the figures of this earlier `file`")
	markdown := flag.Bool("markdown", false, "print the table as docs/PERFORMANCE.md has it")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	// Read first: an hour is long for a wrong name.
	var before *bench.Report
	if *compare != "" {
		var err error
		if before, err = bench.ReadReport(*compare); err != nil {
			return err
		}
	}
	rep, err := measure(o, *read, *jsonFile)
	if rep == nil {
		return err
	}
	fmt.Println()
	if *markdown {
		rep.Markdown(os.Stdout)
	} else {
		rep.Print(os.Stdout)
	}
	if before != nil {
		worse := bench.Compare(os.Stdout, before, rep)
		fmt.Printf("\n%d figures are worse than before\n", worse)
	}
	return err
}

// measure runs the benchmark and keeps its figures, or reads those that were kept.
func measure(o bench.Options, read, jsonFile string) (*bench.Report, error) {
	if read != "" {
		return bench.ReadReport(read)
	}
	o.Peers = o.Peers || !o.Quick
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	rep, err := bench.Run(ctx, o)
	if len(rep.Figures) == 0 {
		return nil, err
	}
	if jsonFile == "" {
		name := "last.json"
		switch {
		case o.Only != "":
			name = "last-only.json" // not the table of a whole run
		case o.Quick:
			name = "last-quick.json"
		}
		jsonFile = filepath.Join(o.Dir, name)
	}
	if werr := rep.Write(jsonFile); werr != nil {
		return rep, errors.Join(err, werr)
	}
	fmt.Fprintf(os.Stderr, "the figures are in %s\n", jsonFile)
	return rep, err
}

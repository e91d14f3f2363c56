// Command bench measures textegress and prints a table.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/syncflow/textegress/devstack/bench"
)

func main() {
	o := bench.Options{Out: os.Stdout, Log: os.Stderr}
	flag.StringVar(&o.Dir, "dir", filepath.Join("build", "bench"), "`folder` for the servers' state, emptied at the end")
	flag.BoolVar(&o.Quick, "quick", false, "one run of each case, and no case of a thousand rooms")
	flag.StringVar(&o.Only, "only", "", "only the cases whose name begins so")
	flag.StringVar(&o.Profile, "profile", "", "existing `folder` for CPU and heap profiles under load; they cost a little themselves")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench.Run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

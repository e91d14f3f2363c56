// Command torture kills, freezes, cuts off and fills up the real binary on real servers for a
// quarter of an hour, and accounts for every message that was sent meanwhile. Its last line is the
// account; it fails if anything is missing that no record states.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/syncflow/textegress/test/torture"
)

func main() {
	var all []string
	for _, s := range torture.Scenarios() {
		all = append(all, s.Name)
	}
	o := torture.Options{Out: os.Stdout}
	flag.Uint64Var(&o.Seed, "seed", uint64(time.Now().Unix()),
		"of everything random; the same seed gives the same faults in the same order")
	flag.IntVar(&o.Kills, "kills", 100, "kill the recorder at least this often")
	flag.DurationVar(&o.Duration, "duration", 15*time.Minute, "go on for at least this long")
	flag.StringVar(&o.Only, "only", "", "names of scenarios, separated by commas; all: "+
		strings.Join(all, ","))
	dir := flag.String("dir", filepath.Join("build", "torture"),
		"folder for the servers' and the recorders' data; kept when something is wrong")
	keep := flag.Bool("keep", false, "keep the data in any case")
	flag.Parse()
	o.Dir = filepath.Join(*dir, fmt.Sprintf("%s-seed-%d", time.Now().Format("20060102-150405"),
		o.Seed))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	fmt.Printf("seed %d, data in %s\n", o.Seed, o.Dir)
	summary, err := torture.Run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\ntorture: %v\n\nRepeat it with: make torture SEED=%d\nThe data "+
			"is kept in %s\n", err, o.Seed, o.Dir)
	} else if !*keep {
		err = os.RemoveAll(o.Dir)
	}
	if summary != "" {
		fmt.Printf("torture, seed %d: %s\n", o.Seed, summary)
	}
	if err != nil {
		os.Exit(1)
	}
}

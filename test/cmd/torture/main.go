// Command torture kills, freezes and disconnects the real binary on real servers and fills its
// disk, for a quarter of an hour, and accounts for every sent message. The account is the last line
// of the output. The command fails if a message is missing and no record states so.
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
		"seed of all random choices; the same seed gives the same faults in the same order")
	flag.IntVar(&o.Kills, "kills", 100, "minimum number of kills of the recorder")
	flag.DurationVar(&o.Duration, "duration", 15*time.Minute, "minimum duration")
	flag.StringVar(&o.Only, "only", "", "names of scenarios, separated by commas; all: "+
		strings.Join(all, ","))
	dir := flag.String("dir", filepath.Join("build", "torture"),
		"folder for the servers' and the recorders' data; kept after a failure")
	keep := flag.Bool("keep", false, "keep the data in any case")
	flag.Parse()
	o.Dir = filepath.Join(*dir, fmt.Sprintf("%s-seed-%d", time.Now().Format("20060102-150405"),
		o.Seed))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	fmt.Printf("seed %d, data in %s\n", o.Seed, o.Dir)
	summary, err := torture.Run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\ntorture: %v\n\nTo repeat it: make torture SEED=%d\nThe data "+
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

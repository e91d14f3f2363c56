// Command soak records sessions for half an hour on real servers. It fails if the recorder's live
// heap, goroutines, open files or disk use grew, or if any sent message is not delivered.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/syncflow/textegress/test/soak"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "\nsoak: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	o := soak.Options{Out: os.Stdout}
	flag.DurationVar(&o.Duration, "duration", 30*time.Minute,
		"how long sessions start and end, including the warm-up (a sixth)")
	flag.Float64Var(&o.Rate, "rate", 30, "sessions started per minute")
	flag.IntVar(&o.Rooms, "rooms", 10, "persistent rooms, open for the whole run")
	dir := flag.String("dir", filepath.Join("build", "soak"),
		"`folder` for the servers' and the recorder's data; kept after a failure")
	keep := flag.Bool("keep", false, "keep the data in any case")
	flag.Parse()
	if flag.NArg() > 0 || o.Duration < time.Minute || o.Rate <= 0 || o.Rooms < 0 {
		return fmt.Errorf("-duration must be at least a minute, -rate above 0 and -rooms not " +
			"negative; no other arguments are allowed")
	}
	o.Dir = filepath.Join(*dir, time.Now().Format("20060102-150405"))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Printf("data in %s\n", o.Dir)
	if err := soak.Run(ctx, o); err != nil {
		return fmt.Errorf("%w\nThe data is kept in %s", err, o.Dir)
	}
	if *keep {
		return nil
	}
	return os.RemoveAll(o.Dir)
}

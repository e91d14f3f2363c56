// Command soak records sessions for half an hour on real servers and fails unless the recorder ends
// where it began: in live heap, goroutines, open files and disk, with everything delivered that was
// sent.
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
		"how long sessions begin and end; a sixth of it is warming up")
	flag.Float64Var(&o.Rate, "rate", 30, "sessions that begin in a minute")
	flag.IntVar(&o.Rooms, "rooms", 10, "rooms that stay for the whole time")
	dir := flag.String("dir", filepath.Join("build", "soak"),
		"`folder` for the servers' and the recorder's data; kept when something is wrong")
	keep := flag.Bool("keep", false, "keep the data in any case")
	flag.Parse()
	if flag.NArg() > 0 || o.Duration < time.Minute || o.Rate <= 0 || o.Rooms < 0 {
		return fmt.Errorf("a duration of at least a minute, a rate above 0 and a number of rooms " +
			"are wanted, and no other argument")
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

// Command loadgen sends numbered messages into many rooms at a steady rate, as a process of its own
// so that its CPU time is measured separately.
//
// It reads a plan (classroom.Load) as JSON from a file and prints the result (classroom.LoadResult)
// as JSON. With -joined it creates that file when all senders have joined. With -go it then waits
// until that file exists.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/syncflow/textegress/test/classroom"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "loadgen:", err)
		os.Exit(1)
	}
}

func run() error {
	plan := flag.String("plan", "/dev/stdin", "`file` with the plan")
	joined := flag.String("joined", "", "`file` to make when all senders have joined")
	start := flag.String("go", "", "`file` to wait for before sending")
	out := flag.String("out", "", "`file` for the result, instead of stdout")
	flag.Parse()
	b, err := os.ReadFile(*plan)
	if err != nil {
		return err
	}
	var p classroom.Load
	if err := json.Unmarshal(b, &p); err != nil {
		return fmt.Errorf("%s: %w", *plan, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	res, err := p.Run(ctx, func() {
		if *joined != "" {
			if err := os.WriteFile(*joined, nil, 0o644); err != nil {
				fmt.Fprintln(os.Stderr, "loadgen:", err)
			}
		}
		awaitFile(ctx, *start)
	})
	if err != nil {
		return err
	}
	if b, err = json.Marshal(res); err != nil {
		return err
	}
	if *out == "" {
		_, err = fmt.Println(string(b))
		return err
	}
	if err := os.WriteFile(*out+".tmp", b, 0o644); err != nil {
		return err
	}
	return os.Rename(*out+".tmp", *out)
}

func awaitFile(ctx context.Context, name string) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for name != "" {
		if _, err := os.Stat(name); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

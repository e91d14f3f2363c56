// Command devstack runs the development servers until it is interrupted.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/syncflow/textegress/devstack"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 || args[0] != "livekit" {
		return fmt.Errorf("usage: devstack livekit [-version 1.13.5]")
	}
	fs := flag.NewFlagSet("devstack", flag.ExitOnError)
	version := fs.String("version", "1.13.5", "LiveKit `version`: 1.13.5 or 1.11.0")
	_ = fs.Parse(args[1:])
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := devstack.StartLiveKit(ctx, devstack.LiveKitOptions{Version: *version})
	if err != nil {
		return err
	}
	fmt.Printf("LIVEKIT_URL=%s\nLIVEKIT_API_KEY=%s\nLIVEKIT_API_SECRET=%s\nLIVEKIT_PID=%d\n", l.URL, l.APIKey, l.APISecret, l.PID())
	<-ctx.Done()
	return l.Close()
}

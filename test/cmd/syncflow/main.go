// Command syncflow runs the stand-in for the SyncFlow API.
package main

import (
	"context"
	"flag"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/syncflow/textegress/test/stack/standin"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	if err := run(log); err != nil {
		log.Error("syncflow", "error", err)
		os.Exit(1)
	}
}

func run(log *slog.Logger) error {
	config := flag.String("config", "syncflow-config.json", "configuration `file`")
	flag.Parse()
	cfg, err := standin.LoadConfig(*config)
	if err != nil {
		return err
	}
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	// Listeners stay in their rooms until the process ends.
	api, err := standin.New(context.Background(), cfg, log)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return err
	}
	return api.Serve(stop, l)
}

// Command syncflow runs the stand-in for the SyncFlow API.
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/syncflow/textegress/devstack/internal/standin"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	handler, err := standin.New(ctx, cfg, log)
	if err != nil {
		return err
	}
	// The real server closes idle connections after five seconds, which a client has to expect.
	srv := &http.Server{Addr: cfg.Addr, Handler: handler, IdleTimeout: 5 * time.Second, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		srv.Close()
	}()
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

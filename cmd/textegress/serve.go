package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/syncflow/textegress/internal/app"
)

type serveCmd struct{}

// Run returns nil after an orderly stop.
func (c *serveCmd) Run(sh *shell) error {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	cfg, err := sh.loadConfig()
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	logger := sh.newLogger(cfg, level)
	for _, warning := range cfg.Warnings {
		logger.Warn("the settings are questionable", "warning", warning)
	}
	a, err := app.New(sh.ctx, app.Options{
		Config: cfg, Logger: logger, LogLevel: level, Load: sh.loadConfig, Version: buildVersion().String(),
	})
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case <-reload:
				_ = a.Reload() // it logs and shows its error itself
			case <-ended:
				return
			}
		}
	}()
	return a.Run(sh.ctx)
}

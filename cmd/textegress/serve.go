package main

import (
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/syncflow/textegress/internal/app"
)

// gcPercent is the default of GOGC. A storm of joins leaves twice as much garbage as the rooms then
// need, and idle rooms allocate so little that the collector does not run for many minutes: with
// Go's own 100 a thousand rooms keep all of that resident. With 50 they take an eighth less (226 KB
// for each instead of 259), and the cost of active rooms stays within the spread of such figures.
// The price is some three seconds of CPU time while a thousand rooms are joined at once.
const gcPercent = 50

type serveCmd struct{}

// Run returns nil after an orderly stop.
func (c *serveCmd) Run(env *environment) error {
	setGCPercent()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	cfg, err := env.loadConfig()
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	logger := env.newLogger(cfg, level)
	for _, warning := range cfg.Warnings {
		logger.Warn("configuration warning", "warning", warning)
	}
	a, err := app.New(app.Options{
		Config: cfg, Logger: logger, LogLevel: level, Load: env.loadConfig,
		Version: buildVersion().String(),
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
				_ = a.Reload() // it logs and reports its error itself
			case <-ended:
				return
			}
		}
	}()
	return a.Run(env.ctx)
}

func setGCPercent() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

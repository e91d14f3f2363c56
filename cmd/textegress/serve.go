package main

import (
	"github.com/syncflow/textegress/internal/app"
)

type serveCmd struct{}

// Run returns nil after an orderly stop.
func (c *serveCmd) Run(sh *shell) error {
	cfg, err := sh.loadConfig()
	if err != nil {
		return err
	}
	logger := sh.newLogger(cfg)
	for _, warning := range cfg.Warnings {
		logger.Warn("the settings are questionable", "warning", warning)
	}
	a, err := app.New(sh.ctx, app.Options{Config: cfg, Logger: logger, Version: buildVersion().String()})
	if err != nil {
		return err
	}
	return a.Run(sh.ctx)
}

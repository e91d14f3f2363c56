package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/spool"
)

// loadConfig reads the settings. Its error lists everything that is wrong with them.
func (env *environment) loadConfig() (*config.Config, error) {
	return config.Load(config.Options{Environ: os.Environ(), File: env.configFile})
}

// diskMinFree is DISK_MIN_FREE, even if other settings are invalid; keepFree is the part of it that
// stays free where recordings are derived.
func (env *environment) diskMinFree() int64 {
	return config.DiskMinFree(config.Options{Environ: os.Environ(), File: env.configFile})
}

func (env *environment) keepFree() int64 { return env.diskMinFree() / 4 }

// dataDirFlag is for commands that need nothing of the settings but the data directory.
type dataDirFlag struct {
	DataDir string `placeholder:"DIR" type:"path" help:"Data directory of the service; by default DATA_DIR of the settings."`
}

func (f dataDirFlag) dataDir(env *environment) (string, error) {
	if f.DataDir != "" {
		return f.DataDir, nil
	}
	c, err := env.loadConfig()
	if err != nil {
		return "", err
	}
	return c.DataDir, nil
}

// newLogger logs to standard error: text for people, JSON for programs. Both escape what
// participants chose. level is set to that of the settings and can be changed later.
func (env *environment) newLogger(c *config.Config, level *slog.LevelVar) *slog.Logger {
	level.Set(c.LogLevel)
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: readableDuration}
	if c.LogFormat == "text" || c.LogFormat != "json" && isTerminal(env.stderr) {
		// The text handler quotes, with escapes, every value that holds a character that is not
		// printable.
		return slog.New(slog.NewTextHandler(env.stderr, options))
	}
	return slog.New(slog.NewJSONHandler(jsonWriter{env.stderr}, options))
}

// readableDuration writes a duration with its unit, in both formats: "3m26s". The JSON handler
// would write a number of nanoseconds without a unit.
func readableDuration(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindDuration {
		return a
	}
	d := a.Value.Duration()
	if d >= time.Second || d <= -time.Second {
		d = d.Round(time.Millisecond)
	}
	a.Value = slog.StringValue(d.String())
	return a
}

// instanceOf is the name of the service that uses the data directory: part of its queue's name.
func instanceOf(c *config.Config) (string, error) {
	if c.Instance != "" {
		return c.Instance, nil
	}
	s, err := spool.OpenReadOnly(c.DataDir)
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }()
	name, err := s.Instance()
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s has no name of an instance yet: no service ever ran on it (%w)",
			c.DataDir, err)
	}
	return name, err
}

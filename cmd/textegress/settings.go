package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/spool"
)

// loadConfig reads the settings. Its error lists all problems in them.
func (env *environment) loadConfig() (*config.Config, error) {
	return config.Load(config.Options{Environ: os.Environ(), File: env.configFile})
}

// diskMinFree returns DISK_MIN_FREE, even if other settings are invalid; keepFree is the part of it
// that stays free on file systems where recordings are rendered.
func (env *environment) diskMinFree() int64 {
	return config.DiskMinFree(config.Options{Environ: os.Environ(), File: env.configFile})
}

func (env *environment) keepFree() int64 { return diskguard.Reserved(env.diskMinFree()) }

// dataDirFlag is for commands whose only setting is the data directory.
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

// newLogger returns a logger that writes text or JSON to standard error. Both formats escape text
// chosen by participants. It sets level to the level of the settings; the level can be changed
// later.
func (env *environment) newLogger(c *config.Config, level *slog.LevelVar) *slog.Logger {
	level.Set(c.LogLevel)
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: readableDuration}
	if c.LogFormat == "text" || c.LogFormat != "json" && isTerminal(env.stderr) {
		// The text handler quotes and escapes every value with a character that is not printable.
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

// instanceOf returns the instance name of the service that uses the data directory. The name is
// part of its queue's name.
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
		return "", fmt.Errorf("%s holds no instance name: no service has run on it yet (%w)",
			c.DataDir, err)
	}
	return name, err
}

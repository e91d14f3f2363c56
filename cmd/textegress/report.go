package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
	recording "github.com/syncflow/textegress/internal/report"
)

type reportCmd struct {
	dataDirFlag

	Recording string `arg:"" name:"recording" help:"A delivered recording (directory or s3://bucket/prefix), or the egress id of one in the data directory."`
	Output    string `short:"o" placeholder:"FILE" type:"path" help:"Where to write it, - for standard output; by default report-<egress id>.html in the working directory."`
	Key       string `name:"e2ee-key-file" type:"path" placeholder:"FILE" help:"For a recording in the data directory: keys as for export."`
}

func (c *reportCmd) Run(env *environment) error {
	id, page, err := c.render(env)
	if err != nil {
		return err
	}
	if c.Output == "-" {
		if _, err := env.stdout.Write(page); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
		return nil
	}
	file := c.Output
	if file == "" {
		file = "report-" + textegress.EscapeName(id) + ".html"
	}
	if err := writeReport(file, page); err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "written: %s, %d bytes\n", escape(file), len(page))
	return nil
}

// render returns the egress id and the report.
func (c *reportCmd) render(env *environment) (id string, page []byte, err error) {
	if !strings.HasPrefix(c.Recording, "s3://") && !isDirectory(c.Recording) {
		return c.derive(env)
	}
	fsys, err := env.openDelivered(c.Recording)
	if err != nil {
		return "", nil, err
	}
	rec, err := textegress.Open(fsys)
	if err != nil {
		return "", nil, err
	}
	var b bytes.Buffer
	if err := recording.Delivered(env.ctx, rec, &b); err != nil {
		return "", nil, err
	}
	return rec.Manifest().EgressID, b.Bytes(), nil
}

// derive returns the report of a recording in the data directory.
func (c *reportCmd) derive(env *environment) (id string, page []byte, err error) {
	source, options, done, err := c.openSpooled(env, c.Recording,
		"name the directory or s3://bucket/prefix of the delivered one")
	if err != nil {
		return "", nil, err
	}
	defer done()
	if options, err = withKeys(env, options, c.Key, source.Info().ProjectID); err != nil {
		return "", nil, err
	}
	page, err = render.Report(env.ctx, source, options, env.keepFree())
	return source.Info().EgressID, page, err
}

func isDirectory(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// writeReport writes a new file that only the current user can read.
func writeReport(file string, page []byte) (err error) {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	defer root.Close() //nolint:errcheck // nothing is written through it any more
	f, err := root.OpenFile(filepath.Base(file), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return usageError(fmt.Errorf("%s exists; remove it, or name another file with -o", file))
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	_, err = f.Write(page)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/merge"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

type mergeCmd struct {
	dataDirFlag

	A         string `arg:"" name:"a" help:"A delivered recording (directory or s3://bucket/prefix), or the egress id of one in the data directory."`
	B         string `arg:"" name:"b" help:"Another recording of the same session, by a deployment with another INSTANCE."`
	Directory string `arg:"" name:"directory" help:"Output directory for the merged recording, new or empty."`
	JSON      bool   `name:"json" help:"Print JSON: egress_id, status, directory, objects, messages, merged, completeness."`
}

type mergeAnswer struct {
	EgressID     string                       `json:"egress_id"`
	Status       string                       `json:"status"`
	Directory    string                       `json:"directory"`
	Objects      int                          `json:"objects"` // without the manifest
	Messages     int64                        `json:"messages"`
	Merged       []textegress.MergedRecording `json:"merged"`
	Completeness textegress.Completeness      `json:"completeness"`
}

func (c *mergeCmd) Run(env *environment) error {
	if err := newOrEmpty(c.Directory); err != nil {
		return err
	}
	var sources [2]render.Source
	for i, name := range []string{c.A, c.B} {
		source, done, err := c.open(env, name)
		if err != nil {
			return err
		}
		defer done()
		sources[i] = source
	}
	manifest, err := merge.Merge(env.ctx, sources[0], sources[1], c.Directory, env.keepFree())
	if _, refused := errors.AsType[*merge.InputError](err); refused {
		return usageError(err)
	}
	if err != nil {
		return err
	}
	answer := mergeAnswer{
		EgressID: manifest.EgressID, Status: string(manifest.Status), Directory: c.Directory,
		Objects:  len(manifest.Objects),
		Messages: manifest.Counts.Messages, Merged: manifest.Merged,
		Completeness: manifest.Completeness,
	}
	if c.JSON {
		return printJSON(env.stdout, answer)
	}
	fmt.Fprintf(env.stdout, "merged: %s, %s, %d objects, %d messages, to %s\n",
		escape(answer.EgressID), answer.Status, answer.Objects, answer.Messages,
		escape(answer.Directory))
	printStatement(env.stdout, manifest.Completeness, manifest.Merged)
	return nil
}

// open opens a recording. An argument that looks like an egress id and is not a directory names a
// recording in the data directory.
func (c *mergeCmd) open(env *environment, name string) (render.Source, func(), error) {
	nothing := func() {}
	isID := strings.HasPrefix(name, "DE_") &&
		!strings.ContainsAny(name, `/\`+string(filepath.Separator))
	if info, err := os.Stat(name); isID && (err != nil || !info.IsDir()) {
		dir, err := c.dataDir(env)
		if err != nil {
			return nil, nothing, err
		}
		s, err := spool.OpenReadOnly(dir)
		if err != nil {
			return nil, nothing, err
		}
		recording, ok := s.Recording(name)
		switch {
		case !ok:
			err = fmt.Errorf("no recording %q in %s; `textegress list` shows the existing ones", name, dir)
		case recording.State() == spool.StateRemoved:
			err = fmt.Errorf("recording %s was delivered to %s and its local data was removed "+
				"after RETENTION; name that place",
				name, recording.Info().KeyPrefix)
		}
		if err != nil {
			return nil, nothing, errors.Join(err, s.Close())
		}
		return render.FromSpool(recording), func() { _ = s.Close() }, nil
	}
	fsys, err := env.openDelivered(name)
	if err != nil {
		return nil, nothing, err
	}
	source, err := render.FromDelivered(fsys)
	if err != nil {
		return nil, nothing, fmt.Errorf("%s: %w", name, err)
	}
	return source, nothing, nil
}

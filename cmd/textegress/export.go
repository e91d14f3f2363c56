package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/export"
	"github.com/syncflow/textegress/internal/spool"
)

type exportCmd struct {
	dataDirFlag

	From string   `placeholder:"PLACE" help:"A delivered recording: a directory or s3://bucket/prefix. Its views are derived again from its raw segments."`
	Args []string `arg:"" name:"egress-id directory" help:"The recording in the data directory (not with --from), and where to write: a directory that is new or empty."`
	JSON bool     `name:"json" help:"Answer as JSON: egress_id, status, directory, objects, messages."`
}

type exportAnswer struct {
	EgressID  string `json:"egress_id"`
	Status    string `json:"status"`
	Directory string `json:"directory"`
	Objects   int    `json:"objects"` // without the manifest
	Messages  int64  `json:"messages"`
}

func (c *exportCmd) Run(sh *shell) error {
	source, options, directory, done, err := c.open(sh)
	if err != nil {
		return err
	}
	defer done()
	if err := newOrEmpty(directory); err != nil {
		return err
	}
	sink, err := export.NewDirectory(directory)
	if err != nil {
		return err
	}
	show, finish := progress(sh.stderr, "exporting")
	manifest, err := export.Build(sh.ctx, source, options, &countingSink{sink: sink, show: show})
	finish()
	if err := errors.Join(err, sink.Close()); err != nil {
		return err
	}
	answer := exportAnswer{
		EgressID: manifest.EgressID, Status: string(manifest.Status), Directory: directory,
		Objects: len(manifest.Objects), Messages: manifest.Counts.Messages,
	}
	if c.JSON {
		return printJSON(sh.stdout, answer)
	}
	fmt.Fprintf(sh.stdout, "exported: %s, %s, %d objects, %d messages, to %s\n",
		escape(answer.EgressID), answer.Status, answer.Objects, answer.Messages, escape(directory))
	return nil
}

// open finds the recording. Its revision is kept, so that the same exporter writes the same bytes as were delivered.
func (c *exportCmd) open(sh *shell) (_ export.Source, o export.Options, directory string, done func(), err error) {
	nothing := func() {}
	if c.From != "" {
		if len(c.Args) != 1 {
			return nil, o, "", nothing, usageError(errors.New("with --from, name exactly one directory to write to"))
		}
		fsys, err := sh.openDelivered(c.From)
		if err != nil {
			return nil, o, "", nothing, err
		}
		source, err := export.FromDelivered(fsys)
		if err != nil {
			return nil, o, "", nothing, err
		}
		delivered, err := textegress.Open(fsys)
		if err != nil {
			return nil, o, "", nothing, err
		}
		return source, export.Options{Revision: delivered.Manifest().Revision}, c.Args[0], nothing, nil
	}
	if len(c.Args) != 2 {
		return nil, o, "", nothing, usageError(errors.New("name the egress id of a recording and a directory to write to, or --from and a directory"))
	}
	dir, err := c.dataDir(sh)
	if err != nil {
		return nil, o, "", nothing, err
	}
	s, err := spool.OpenReadOnly(dir)
	if err != nil {
		return nil, o, "", nothing, err
	}
	done = func() { _ = s.Close() }
	recording, ok := s.Recording(c.Args[0])
	if !ok {
		return nil, o, "", done, fmt.Errorf("there is no recording %q in %s; `textegress list` shows those that are there", c.Args[0], dir)
	}
	if recording.State() == spool.StateRemoved {
		return nil, o, "", done, fmt.Errorf("recording %s was delivered to %s and its local data was removed after the retention time; "+
			"use --from", c.Args[0], recording.Info().KeyPrefix)
	}
	frozen, ok, err := export.LoadFrozen(recording)
	if err != nil {
		return nil, o, "", done, err
	}
	if ok {
		o.Revision = frozen.Revision
	}
	return export.FromSpool(recording), o, c.Args[1], done, nil
}

// newOrEmpty keeps an export from mixing with other files.
func newOrEmpty(directory string) error {
	entries, err := os.ReadDir(directory)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("directory to export to: %w", err)
	case len(entries) > 0:
		return usageError(fmt.Errorf("%s is not empty; name a new directory", directory))
	}
	return nil
}

// countingSink shows how much has been written.
type countingSink struct {
	sink    export.Sink
	written int64
	show    func(done, total int64)
}

func (s *countingSink) Append(key string) (io.WriteCloser, error) {
	w, err := s.sink.Append(key)
	if err != nil {
		return nil, err
	}
	return &countingWriter{WriteCloser: w, sink: s}, nil
}

// Scratch implements [export.Sink].
func (s *countingSink) Scratch() (export.Scratch, error) { return s.sink.Scratch() }

type countingWriter struct {
	io.WriteCloser

	sink *countingSink
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.WriteCloser.Write(p)
	w.sink.written += int64(n)
	w.sink.show(w.sink.written, -1) // nobody knows how much it will be
	return n, err
}

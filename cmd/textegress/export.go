package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/pseudonym"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
)

type exportCmd struct {
	dataDirFlag

	From string   `placeholder:"PLACE" help:"A delivered recording: a directory or s3://bucket/prefix. Its views are derived again from the raw segments."`
	Args []string `arg:"" name:"egress-id directory" help:"A recording in the data directory (not with --from), and the output directory, new or empty."`
	Key  string   `name:"e2ee-key-file" type:"path" placeholder:"FILE" help:"Decrypt end-to-end encrypted packets, as the next revision. FILE holds one passphrase per line (or hex:… or base64:…), or is itself one binary key."`
	JSON bool     `name:"json" help:"Print JSON: egress_id, status, directory, objects, messages, revision, decrypted and undecryptable packets."`
}

type exportAnswer struct {
	EgressID  string `json:"egress_id"`
	Status    string `json:"status"`
	Directory string `json:"directory"`
	Objects   int    `json:"objects"` // without the manifest
	Messages  int64  `json:"messages"`
	Revision  int    `json:"revision"`
	// Counts of end-to-end encrypted packets.
	Decrypted     int64 `json:"decrypted"`
	Undecryptable int64 `json:"undecryptable"`
}

func (c *exportCmd) Run(env *environment) error {
	source, options, directory, done, err := c.open(env)
	if err != nil {
		return err
	}
	defer done()
	if err := newOrEmpty(directory); err != nil {
		return err
	}
	if options, err = withKeys(env, options, c.Key, source.Info().ProjectID); err != nil {
		return err
	}
	if c.Key != "" {
		// the bytes differ from those delivered
		options.Revision = max(options.Revision, 1) + 1
	}
	options.Workers = runtime.GOMAXPROCS(0)
	sink, err := render.NewDirectory(directory)
	if err != nil {
		return err
	}
	guard := render.NewSpaceGuard(render.FreeSpace(directory, env.keepFree()))
	show, finish := progress(env.stderr, "exporting")
	manifest, err := render.Build(env.ctx, source, options,
		&countingSink{sink: guard.Sink(sink), show: show})
	finish()
	if err := errors.Join(err, sink.Close()); err != nil {
		return err
	}
	answer := exportAnswer{
		EgressID: manifest.EgressID, Status: string(manifest.Status), Directory: directory,
		Objects: len(manifest.Objects), Messages: manifest.Counts.Messages,
		Revision:      manifest.Revision,
		Undecryptable: manifest.Completeness.UndecryptablePackets,
	}
	if n := manifest.Counts.DecryptedPackets; n != nil {
		answer.Decrypted = *n
	}
	if err := c.print(env, answer); err != nil {
		return err
	}
	if c.Key != "" && answer.Decrypted == 0 && answer.Undecryptable > 0 {
		return problemsFoundError("%s holds no matching key: none of the %d encrypted packets "+
			"could be decrypted", c.Key, answer.Undecryptable)
	}
	return nil
}

func (c *exportCmd) print(env *environment, answer exportAnswer) error {
	if c.JSON {
		return printJSON(env.stdout, answer)
	}
	fmt.Fprintf(env.stdout, "exported: %s, %s, %d objects, %d messages, to %s\n",
		escape(answer.EgressID), answer.Status, answer.Objects, answer.Messages,
		escape(answer.Directory))
	if answer.Decrypted+answer.Undecryptable > 0 {
		fmt.Fprintf(env.stdout, "encrypted: %d packets decrypted, %d not; this is revision %d\n",
			answer.Decrypted, answer.Undecryptable, answer.Revision)
	}
	return nil
}

// withKeys adds the keys from a file or, without a file, the project's keys from the settings, with
// which the service delivered its recordings. If the settings cannot be read, it adds none.
func withKeys(env *environment, o render.Options, file, projectID string) (render.Options, error) {
	if file != "" {
		text, err := os.ReadFile(file)
		if err == nil {
			o.Keys, err = render.NewKeys(text)
		}
		if err != nil {
			return o, usageError(fmt.Errorf("--e2ee-key-file: %w", err))
		}
		return o, nil
	}
	c, err := env.loadConfig()
	if err != nil {
		return o, nil //nolint:nilerr // most need no key; the result states undecrypted packets
	}
	for _, p := range c.Projects {
		if p.ProjectID == projectID {
			o.Keys, err = project.Keys(p)
			return o, err
		}
	}
	return o, nil
}

// open opens the recording and keeps its revision, so that the same exporter writes the delivered
// bytes again.
func (c *exportCmd) open(env *environment) (_ render.Source, o render.Options, directory string,
	done func(), err error,
) {
	nothing := func() {}
	if c.From != "" {
		if len(c.Args) != 1 {
			return nil, o, "", nothing,
				usageError(errors.New("with --from, name exactly one output directory"))
		}
		fsys, err := env.openDelivered(c.From)
		if err != nil {
			return nil, o, "", nothing, err
		}
		source, err := render.FromDelivered(fsys)
		if err != nil {
			return nil, o, "", nothing, err
		}
		delivered, err := textegress.Open(fsys)
		if err != nil {
			return nil, o, "", nothing, err
		}
		m := delivered.Manifest()
		return source, render.Options{Revision: m.Revision, Views: render.ViewsOf(m)}, c.Args[0],
			nothing, nil
	}
	if len(c.Args) != 2 {
		return nil, o, "", nothing,
			usageError(errors.New("name the egress id of a recording and an output directory, " +
				"or --from and an output directory"))
	}
	source, o, done, err := c.openSpooled(env, c.Args[0], "use --from")
	return source, o, c.Args[1], done, err
}

// openSpooled opens a recording in the data directory, with the options that give the delivered
// bytes again. remedy says how to name one that is only in the bucket. done is never nil.
func (f dataDirFlag) openSpooled(env *environment, id, remedy string) (_ render.Source,
	o render.Options, done func(), err error,
) {
	done = func() {}
	dir, err := f.dataDir(env)
	if err != nil {
		return nil, o, done, err
	}
	s, err := spool.OpenReadOnly(dir)
	if err != nil {
		return nil, o, done, err
	}
	done = func() { _ = s.Close() }
	recording, ok := s.Recording(id)
	if !ok {
		return nil, o, done, fmt.Errorf("no recording %q in %s; `textegress list` shows the "+
			"existing ones", id, dir)
	}
	if recording.State() == spool.StateRemoved {
		return nil, o, done, fmt.Errorf("recording %s was delivered to %s and its local "+
			"data was removed after RETENTION; %s", id, recording.Info().KeyPrefix, remedy)
	}
	frozen, ok, err := delivery.LoadPlan(recording)
	if err != nil {
		return nil, o, done, err
	}
	if ok {
		o.Revision = frozen.Revision
	}
	if info := recording.Info(); info.Pseudonyms {
		if o.Pseudonyms, err = project.Pseudonyms(pseudonym.OpenReadOnly(dir), info); err != nil {
			return nil, o, done, err
		}
	}
	return render.FromSpool(recording), o, done, nil
}

// newOrEmpty refuses a directory that already holds other files.
func newOrEmpty(directory string) error {
	entries, err := os.ReadDir(directory)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("output directory: %w", err)
	case len(entries) > 0:
		return usageError(fmt.Errorf("%s is not empty; name a new directory", directory))
	}
	return nil
}

// countingSink reports the progress of writing.
type countingSink struct {
	sink render.Sink
	show func(done, total int64)

	mu      sync.Mutex // guards the fields below, and show
	written int64
}

func (s *countingSink) Append(key string) (io.WriteCloser, error) {
	w, err := s.sink.Append(key)
	if err != nil {
		return nil, err
	}
	return &countingWriter{WriteCloser: w, sink: s}, nil
}

// Scratch implements [render.Sink].
func (s *countingSink) Scratch() (render.Scratch, error) { return s.sink.Scratch() }

type countingWriter struct {
	io.WriteCloser

	sink *countingSink
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.WriteCloser.Write(p)
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	w.sink.written += int64(n)
	w.sink.show(w.sink.written, -1) // the total is unknown
	return n, err
}

// Package render derives from a recording the objects that are delivered: text views, events.jsonl,
// the files that were sent, metadata.json, the raw segments and the manifest.
//
// Deriving is a pure function: the same recording and options give the same keys with the same
// bytes, on every machine and at every time. It streams, so that memory does not grow with the
// length of a recording but only, by some hundred bytes each, with the number of connections of
// participants and of files; a stream of any size goes through a scratch file. See [decode.Limits]
// for what participants can make it do.
package render

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/segment"
)

// Version names what derives the objects. It changes whenever the same recording would give other
// bytes, and only then, so that an upgrade of the program does not make a second copy of what is
// being delivered.
const Version = "textegress-export/6"

// Options of [Build].
type Options struct {
	// Revision is 1, or higher where objects with other bytes were delivered, or begun to be,
	// before.
	Revision int
	// Exporter is written to the manifest; empty is Version.
	Exporter string
	// Keys decrypt what was sent end-to-end encrypted; nil: there are none. Other keys give other
	// bytes: a new revision.
	Keys *Keys
	// Pseudonyms are needed for a recording that is to be delivered under them
	// (spool.Info.Pseudonyms), and used for no other.
	Pseudonyms redact.Pseudonyms
	// Workers is how many cores an export may occupy [1]. Segments are compressed while lines are
	// derived; neither what is derived nor its order depends on it. See MaxWorkers.
	Workers int
	// WithoutRaw leaves out the raw segments: only what is derived from them is written and listed
	// in the manifest.
	WithoutRaw bool

	maxFiles int // of streams; 0: maxFiles
}

// MaxWorkers bounds Options.Workers: each one holds a window and tables of some megabytes.
const MaxWorkers = 8

// Keys decrypt what was sent end-to-end encrypted.
type Keys = decode.Keys

// NewKeys returns the keys that a text names: one per line, a passphrase or "hex:" or "base64:" and
// a raw key. A text that is binary is one raw key.
func NewKeys(text []byte) (*Keys, error) { return decode.NewKeys(text) }

// Content types of the objects.
const (
	typeText   = "text/plain; charset=utf-8"
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
	typeZstd   = "application/zstd"
)

// errNoPseudonyms keeps a recording that may be delivered under pseudonyms only from being exported
// in any other way.
var errNoPseudonyms = errors.New("export: the recording may be delivered under pseudonyms only, " +
	"and there are none here")

// Build derives all objects of src and writes them to sink, the manifest last. It returns the
// manifest.
//
// A recording need not be sealed; its manifest then has the status ACTIVE and describes what is
// there. An error is one of reading the segments or of writing to the sink; whatever participants
// sent is no reason for one. Error texts do not name keys of views, because those hold identities.
func Build(ctx context.Context, src Source, o Options, sink Sink) (textegress.Manifest, error) {
	if o.Exporter == "" {
		o.Exporter = Version
	}
	if o.Revision == 0 {
		o.Revision = 1
	}
	if src.Info().Pseudonyms && o.Pseudonyms == nil {
		return textegress.Manifest{}, errNoPseudonyms
	}
	sink = &lockedSink{sink: sink}
	b := &builder{src: src, o: o, out: newOutput(sink)}
	if src.Info().Pseudonyms {
		b.names = redact.NewPseudonymizer(o.Pseudonyms)
	}
	defer b.out.abandon()
	b.sum = newSummary(src, o)
	outputs, err := b.derive(ctx)
	if err != nil {
		return textegress.Manifest{}, err
	}
	if err := b.metadata(); err != nil {
		return textegress.Manifest{}, err
	}
	m := b.sum.finish(objects(outputs...))
	if b.names != nil {
		m = b.names.Manifest(m)
		if err := b.names.Save(); err != nil {
			return textegress.Manifest{}, fmt.Errorf("export: %w", err)
		}
	}
	data, err := m.Encode()
	if err != nil {
		return textegress.Manifest{}, err
	}
	return m, b.out.whole(textegress.ManifestName, typeJSON, data)
}

func (b *builder) metadata() error {
	data, err := b.sum.metadata().Encode()
	if err != nil {
		return err
	}
	return b.out.whole(textegress.MetadataName, typeJSON, data)
}

type builder struct {
	src Source
	o   Options
	out *output
	sum *summary

	// nil where participants keep their names
	names *redact.Pseudonymizer
}

// derive writes everything but metadata.json and the manifest. The outputs that it returns hold
// what it has written.
func (b *builder) derive(ctx context.Context) ([]*output, error) {
	if b.o.WithoutRaw || b.names != nil { // raw segments are full of identities
		return []*output{b.out}, b.lines(ctx)
	}
	helpers := newGroup(ctx)
	defer helpers.stop() // also where this goroutine panics
	c, err := newCompression(helpers.ctx, b.src)
	if err != nil {
		return nil, err
	}
	outputs := []*output{b.out}
	for range min(b.o.Workers, MaxWorkers, len(c.segments)) - 1 {
		out := newOutput(b.out.sink)
		outputs = append(outputs, out)
		helpers.run(func(ctx context.Context) error {
			defer out.abandon()
			return c.work(ctx, out)
		})
	}
	err = b.lines(helpers.ctx)
	if err == nil {
		err = b.state()
	}
	if err == nil {
		err = c.work(helpers.ctx, b.out)
	}
	return outputs, helpers.wait(err)
}

// lines reads all frames once and writes events.jsonl and the text views.
func (b *builder) lines(ctx context.Context) error {
	segments, err := b.src.Segments(ctx)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	events, err := b.out.createLarge(textegress.EventsName, typeNDJSON, "events.jsonl")
	if err != nil {
		return err
	}
	w := &lineWriter{
		sum: b.sum, events: events, views: newViews(b.out, b.src.Info().Topic),
		files: newFiles(b.out, b.o.maxFiles), copies: newCopies(),
		names: b.names, ctx: ctx,
	}
	defer w.views.speech.close()
	d := NewLineDecoder(decode.Options{Keys: b.o.Keys, Scratch: b.out.sink.Scratch})
	defer d.Close() //nolint:errcheck // of no consequence
	for f, err := range segment.Read(segments) {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		if err := d.Frame(f, w.write); err != nil {
			return exportError(err)
		}
		b.sum.frame(f, d)
	}
	if err := d.End(w.write); err != nil {
		return exportError(err)
	}
	b.sum.late = d.Late()
	b.sum.forgotten(d.Forgotten())
	events.count = true // also when there is no line
	if err := events.finish(); err != nil {
		return err
	}
	return w.views.finish()
}

// exportError adds what failed, unless the error says it already.
func exportError(err error) error {
	if strings.HasPrefix(err.Error(), "export: ") {
		return err
	}
	return fmt.Errorf("export: %w", err)
}

// lineWriter takes the lines as they are decoded.
type lineWriter struct {
	sum    *summary
	events *object
	views  *views
	files  *files
	copies *copies
	names  *redact.Pseudonymizer // see builder
	ctx    context.Context       // one frame can stand for many lines
	n      int64
	line   []byte
}

func (w *lineWriter) write(l *decode.Line) error {
	if w.ctx.Err() != nil {
		return fmt.Errorf("export: %w", context.Cause(w.ctx))
	}
	w.n++
	m := &l.Message
	m.N = w.n
	w.copies.look(m)
	out := m // what is delivered
	if w.names != nil {
		under := w.names.Message(*m)
		out = &under
	}
	if l.Content != nil {
		if err := w.files.add(out, l.Content); err != nil {
			return err
		}
		m.Stream.Complete, m.Stream.Incomplete = out.Stream.Complete, out.Stream.Incomplete
	}
	w.sum.add(m) // which accounts for connections as they were; the manifest is redacted as a whole
	m = out
	w.line = append(m.AppendJSON(w.line[:0]), '\n')
	if err := w.events.writeLine(w.line); err != nil {
		return err
	}
	return w.views.add(m)
}

// Package render derives from a recording the objects that are delivered: its views, the raw
// segments and the manifest.
//
// Rendering is a pure function: the same recording and options give the same keys with the same
// bytes, on every machine and at any time. It streams, so memory does not grow with the length of a
// recording, only with the number of participants' connections and of files, by some hundred bytes
// each. Large streams go through a scratch file. [decode.Limits] bounds what participants can
// cause.
//
// [LineDecoder] turns frames into lines, each line passes through all views ([View]), and a view
// writes objects ([Output]) to a [Sink]. The summary collects the content of the manifest. To add a
// view, write one like eventsView (view_events.go) and add it to views (view.go).
package render

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/segment"
)

// Version is the exporter named in manifests. It changes only if the same recording gives a
// different manifest or different raw objects, so that an upgrade of the program does not start a
// second copy of a delivery in progress. Views have their own versions, see [Views].
const Version = "textegress-export/6"

// Options of [Build].
type Options struct {
	// Revision is 1, or higher if objects with other bytes were delivered before, even in part.
	Revision int
	// Exporter is written to the manifest [Version].
	Exporter string
	// Keys decrypt end-to-end encrypted content; nil: no keys. Different keys give different bytes
	// and therefore require a new revision.
	Keys *Keys
	// Pseudonyms are required for a recording to be delivered under pseudonyms
	// (spool.Info.Pseudonyms), and unused for others.
	Pseudonyms redact.Pseudonyms
	// Views are the views to render; nil: all current ones. A view or version that this program
	// does not render gives a [ViewError].
	Views Views
	// Workers is how many cores may be used [1], at most [MaxWorkers]. Segments are compressed
	// while lines are rendered; the result does not depend on Workers. With more than one, a panic
	// is not raised in the calling goroutine.
	Workers int
	// WithoutRaw leaves out the raw segments: only the derived objects are written and listed in
	// the manifest.
	WithoutRaw bool

	maxFiles int // of streams; 0: maxFiles
}

// MaxWorkers bounds Options.Workers: each worker holds a window and tables of some megabytes.
const MaxWorkers = 8

// Keys decrypt end-to-end encrypted content.
type Keys = decode.Keys

// NewKeys parses a list of keys, one per line: a passphrase, or "hex:" or "base64:" followed by a
// raw key. Binary input is one raw key.
func NewKeys(text []byte) (*Keys, error) { return decode.NewKeys(text) }

// Content types of the objects.
const (
	typeText   = "text/plain; charset=utf-8"
	typeHTML   = "text/html; charset=utf-8"
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
	typeZstd   = "application/zstd"
)

// errNoPseudonyms is returned for a recording that may be delivered only under pseudonyms, if there
// are none.
var errNoPseudonyms = errors.New("render: the recording may be delivered only under pseudonyms, " +
	"and none are available")

// Build renders all objects of src, writes them to sink, the manifest last, and returns the
// manifest.
//
// A recording need not be sealed; its manifest then has the status ACTIVE and describes what has
// been recorded so far. Errors come only from reading the segments and from writing to the sink,
// never from the content that participants sent. Error texts do not contain the keys of views,
// because those contain identities.
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
	out := newOutput(&lockedSink{sink: sink})
	defer out.close()
	b := &builder{src: src, o: o, out: out, sum: newSummary(src, o)}
	if src.Info().Pseudonyms {
		b.names = redact.NewPseudonymizer(o.Pseudonyms)
	}
	m, err := b.build(ctx)
	if err != nil {
		return textegress.Manifest{}, err
	}
	if b.names != nil {
		if err := b.names.Save(); err != nil {
			return textegress.Manifest{}, fmt.Errorf("render: %w", err)
		}
	}
	data, err := m.Encode()
	if err != nil {
		return textegress.Manifest{}, err
	}
	return m, out.WriteObject(textegress.ManifestName, typeJSON, data)
}

type builder struct {
	src Source
	o   Options
	out *Output
	sum *summary

	names *redact.Pseudonymizer // nil if participants keep their names
}

// build writes everything but the manifest, which it returns.
func (b *builder) build(ctx context.Context) (textegress.Manifest, error) {
	if b.o.WithoutRaw || b.names != nil { // raw segments contain identities
		m, err := b.views(ctx)
		m.Objects = objects(b.out)
		return m, err
	}
	group, ctx := errgroup.WithContext(ctx)
	c, err := newCompression(ctx, b.src)
	if err != nil {
		return textegress.Manifest{}, err
	}
	outputs := []*Output{b.out}
	for range min(b.o.Workers, MaxWorkers, len(c.segments)) - 1 {
		out := newOutput(b.out.sink)
		outputs = append(outputs, out)
		group.Go(func() error { return c.work(ctx, out) })
	}
	m, err := b.views(ctx)
	if err == nil {
		err = b.state()
	}
	if err == nil {
		err = c.work(ctx, b.out)
	}
	if err != nil {
		// The first error is returned and cancels the other goroutines.
		group.Go(func() error { return err })
	}
	err = group.Wait()
	m.Objects = objects(outputs...)
	return m, err
}

// views reads all frames once and renders the views. It returns the manifest without its objects.
func (b *builder) views(ctx context.Context) (m textegress.Manifest, err error) {
	segments, err := b.src.Segments(ctx)
	if err != nil {
		return m, fmt.Errorf("render: %w", err)
	}
	list, err := makeViews(b.o)
	if err != nil {
		return m, err
	}
	for _, v := range list {
		if err := v.Begin(b.src.Info(), b.out); err != nil {
			return m, err
		}
	}
	w := &lineWriter{
		ctx: ctx, sum: b.sum, duplicates: newDuplicateFilter(), names: b.names, views: list,
	}
	if err := b.frames(ctx, segments, w.write); err != nil {
		return m, wrap(err)
	}
	m = b.sum.manifest()
	m.Views = b.o.views().stated()
	if b.names != nil {
		m = b.names.Manifest(m)
	}
	for _, v := range list {
		if err := v.End(m); err != nil {
			return m, wrap(err)
		}
	}
	return m, nil
}

// frames decodes the frames and calls emit for each line.
func (b *builder) frames(ctx context.Context, segments []segment.Source,
	emit func(*decode.Line) error,
) error {
	d := NewLineDecoder(decode.Options{Keys: b.o.Keys, Scratch: b.out.sink.Scratch})
	defer d.Close() //nolint:errcheck // of no consequence
	for f, err := range segment.Read(segments) {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if err := d.Frame(f, emit); err != nil {
			return err
		}
		b.sum.frame(f, d)
	}
	if err := d.End(emit); err != nil {
		return err
	}
	b.sum.late = d.Late()
	b.sum.forgotten(d.Forgotten())
	return nil
}

// wrap adds the failed operation to the error, unless the error states it already.
func wrap(err error) error {
	if strings.HasPrefix(err.Error(), "render: ") {
		return err
	}
	return fmt.Errorf("render: %w", err)
}

// lineWriter passes decoded lines to the views.
type lineWriter struct {
	ctx        context.Context // checked per line, because one frame can give many
	sum        *summary        // nil: there is no manifest
	duplicates *duplicateFilter
	names      *redact.Pseudonymizer // see builder
	views      []View
	n          int64
}

func (w *lineWriter) write(l *decode.Line) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	w.n++
	l.N = w.n
	w.duplicates.mark(&l.Message)
	delivered := l
	if w.names != nil {
		delivered = &decode.Line{Message: w.names.Message(l.Message), Content: l.Content}
	}
	for _, v := range w.views {
		if err := v.Line(delivered); err != nil {
			return err
		}
	}
	if l.Content != nil { // the files view may have left it out
		l.Stream.Complete = delivered.Stream.Complete
		l.Stream.Incomplete = delivered.Stream.Incomplete
	}
	if w.sum != nil {
		w.sum.add(&l.Message) // before redaction; the manifest is redacted as a whole
	}
	return nil
}

// Package export derives from a recording the objects that are delivered: text views, events.jsonl, metadata.json, the
// raw segments and the manifest.
//
// Deriving is a pure function: the same recording and options give the same keys with the same bytes, on every machine
// and at every time. It streams, so that memory does not grow with the length of a recording but only, by some hundred
// bytes each, with the number of connections of participants.
package export

import (
	"context"
	"fmt"
	"io"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/spool"
)

// Version names what derives the objects. It changes whenever the same recording would give other bytes, and only then,
// so that an upgrade of the program does not make a second copy of what is being delivered.
const Version = "textegress-export/2"

// Options of [Build].
type Options struct {
	// Revision is 1, or higher where objects with other bytes were delivered, or begun to be, before.
	Revision int
	// Exporter is written to the manifest; empty is Version.
	Exporter string
}

// Content types of the objects.
const (
	typeText   = "text/plain; charset=utf-8"
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
	typeZstd   = "application/zstd"
)

// Build derives all objects of src and writes them to sink, the manifest last. It returns the manifest.
//
// A recording need not be sealed; its manifest then has the status ACTIVE and describes what is there. An error is one of
// reading the segments or of writing to the sink; whatever participants sent is no reason for one. Error texts do not
// name keys of views, because those hold identities.
func Build(ctx context.Context, src Source, o Options, sink Sink) (textegress.Manifest, error) {
	if o.Exporter == "" {
		o.Exporter = Version
	}
	if o.Revision == 0 {
		o.Revision = 1
	}
	b := &builder{src: src, out: newOutput(sink)}
	defer b.out.abandon()
	b.sum = newSummary(src, o)
	if err := b.lines(ctx); err != nil {
		return textegress.Manifest{}, err
	}
	if err := b.raw(ctx); err != nil {
		return textegress.Manifest{}, err
	}
	metadata, err := b.sum.metadata().Encode()
	if err != nil {
		return textegress.Manifest{}, err
	}
	if err := b.out.whole(textegress.MetadataName, typeJSON, metadata); err != nil {
		return textegress.Manifest{}, err
	}
	m := b.sum.finish(b.out.objects())
	data, err := m.Encode()
	if err != nil {
		return textegress.Manifest{}, err
	}
	return m, b.out.whole(textegress.ManifestName, typeJSON, data)
}

// Derive derives what Build does, but for the raw segments, and keeps nothing: the manifest that it returns lists the views,
// so that what was delivered can be held against the raw segments beside it.
func Derive(ctx context.Context, src Source, o Options) (textegress.Manifest, error) {
	if o.Exporter == "" {
		o.Exporter = Version
	}
	b := &builder{src: src, out: newOutput(nowhere{})}
	defer b.out.abandon()
	b.sum = newSummary(src, o)
	if err := b.lines(ctx); err != nil {
		return textegress.Manifest{}, err
	}
	return b.sum.finish(b.out.objects()), nil
}

// nowhere is a Sink that keeps nothing.
type nowhere struct{}

func (nowhere) Append(string) (io.WriteCloser, error) { return nowhere{}, nil }
func (nowhere) Write(p []byte) (int, error)           { return len(p), nil }
func (nowhere) Close() error                          { return nil }

type builder struct {
	src Source
	out *output
	sum *summary
}

// lines reads all frames once and writes events.jsonl and the text views.
func (b *builder) lines(ctx context.Context) error {
	segments, err := b.src.Segments()
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	events, err := b.out.create(textegress.EventsName, typeNDJSON, "events.jsonl")
	if err != nil {
		return err
	}
	v := newViews(b.out, b.src.Info().Topic)
	var line []byte
	n := int64(0)
	for f, err := range spool.ReadSegments(segments) {
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		if n%256 == 0 && ctx.Err() != nil {
			return fmt.Errorf("export: %w", context.Cause(ctx))
		}
		n++
		m := message(f)
		m.N = n
		b.sum.add(f, m)
		if line, err = m.AppendJSON(line[:0]); err != nil {
			return fmt.Errorf("export: %w", err)
		}
		line = append(line, '\n')
		if err := events.writeLine(line); err != nil {
			return err
		}
		if m.Kind == textegress.KindData || m.Kind == textegress.KindChat {
			if err := v.add(m); err != nil {
				return err
			}
		}
	}
	events.count = true // also when there is no line
	if err := events.finish(); err != nil {
		return err
	}
	return v.finish()
}

func message(f spool.Frame) textegress.Message {
	if f.Type == spool.FrameEvent {
		m, _ := decode.Event(f)
		return m
	}
	m, _ := decode.Packet(f)
	m.PossibleDuplicate = f.PossibleDuplicate
	return m
}

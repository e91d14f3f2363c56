package render

import (
	"context"
	"fmt"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// EventsVersion names the versions that determine the lines of events.jsonl: those of its view, and
// of the view that names the files in lines.
func EventsVersion() string {
	all := CurrentViews()
	return fmt.Sprintf("events/%d+files/%d", all["events"], all["files"])
}

// EventsOptions of [NewEvents].
type EventsOptions struct {
	Keys       *Keys             // see [Options]
	Pseudonyms redact.Pseudonyms // see [Options]
	// Scratch creates the file for the content of open streams.
	Scratch func() (Scratch, error)

	maxFiles int // see [Options]
}

// Events turns the frames of one recording into the lines of events.jsonl as they arrive: with the
// same bytes and numbers as [Build], but without any other object.
type Events struct {
	decoder *LineDecoder
	w       *lineWriter
	saved   int // replaced identities that are durable
}

// NewEvents returns an Events for a recording, which calls emit for each line: with the line as it
// is delivered and its JSON without a line feed. Both are valid until emit returns. Decoding ends
// with an error once ctx ends. The caller must close the Events.
func NewEvents(ctx context.Context, info spool.Info, o EventsOptions,
	emit func(m *textegress.Message, json []byte) error,
) (*Events, error) {
	e := &Events{
		decoder: NewLineDecoder(decode.Options{Keys: o.Keys, Scratch: o.Scratch}),
		w: &lineWriter{
			ctx: ctx, duplicates: newDuplicateFilter(),
			views: []View{newFilesView(o.maxFiles), &liveView{emit: emit}},
		},
	}
	if info.Pseudonyms {
		if o.Pseudonyms == nil {
			return nil, errNoPseudonyms
		}
		e.w.names = redact.NewPseudonymizer(o.Pseudonyms)
	}
	return e, nil
}

// Frame decodes the next frame.
func (e *Events) Frame(f segment.Frame) error { return e.decoder.Frame(f, e.w.write) }

// End emits the lines after those of the last frame.
func (e *Events) End() error { return e.decoder.End(e.w.write) }

// Open returns the streams that have begun and not ended, in the order in which they began.
func (e *Events) Open() []decode.OpenStream {
	list := e.decoder.decoder.Open()
	if e.w.names != nil {
		for i, s := range list {
			list[i].Identity, list[i].ID = e.w.names.OpenStream(s.Identity, s.ID)
			list[i].Name = ""
		}
	}
	return list
}

// Save makes the list of replaced identities durable. It must succeed before a line leaves this
// machine.
func (e *Events) Save() error {
	if e.w.names == nil || e.w.names.Replaced() == e.saved {
		return nil
	}
	if err := e.w.names.Save(); err != nil {
		return fmt.Errorf("render: %w", err)
	}
	e.saved = e.w.names.Replaced()
	return nil
}

// Close releases the scratch file.
func (e *Events) Close() error { return e.decoder.Close() }

// liveView passes on the lines of events.jsonl.
type liveView struct {
	emit func(m *textegress.Message, json []byte) error
	line []byte
}

// Begin implements [View].
func (*liveView) Begin(spool.Info, *Output) error { return nil }

// Line implements [View].
func (v *liveView) Line(l *decode.Line) error {
	v.line = l.AppendJSON(v.line[:0])
	return v.emit(&l.Message, v.line)
}

// End implements [View].
func (*liveView) End(textegress.Manifest) error { return nil }

package render

import (
	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/spool"
)

// eventsView writes events.jsonl: every line with all its fields.
type eventsView struct {
	object *Object
	line   []byte
}

// Begin implements [View].
func (v *eventsView) Begin(_ spool.Info, out *Output) error {
	v.object = out.Create(textegress.EventsName, typeNDJSON, textegress.EventsName)
	v.object.CountLines()
	return nil
}

// Line implements [View].
func (v *eventsView) Line(l *decode.Line) error {
	v.line = append(l.AppendJSON(v.line[:0]), '\n')
	return v.object.WriteLine(v.line)
}

// End implements [View].
func (v *eventsView) End(textegress.Manifest) error { return v.object.Close() }

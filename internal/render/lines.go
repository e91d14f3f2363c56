package render

import (
	"math"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/spool"
)

// tombstones makes the lines of participants who were removed. They stand where the lines of the
// removed frames stood, so that every other line keeps its n.
type tombstones struct {
	late  map[uint64]int64 // by the index of the frame before whose lines they stand; 0: at the end
	count textegress.Forgotten
	last  spool.Frame // without its payload
	// room is how many lines there may be: each line came of a frame, so they are never more than
	// the frames so far. What tells of more is not from us, or its frames are lost.
	room int64
}

// linesPerFrame is more than any frame makes, and firstLines a beginning, so that lost frames
// shorten nothing.
const linesPerFrame, firstLines = 4, 64

// take returns how many of n lines there is room for.
func (t *tombstones) take(n int64) int64 {
	n = max(0, min(n, t.room))
	t.room -= n
	t.count.Lines += n
	return n
}

// frame returns how many lines of kind forgotten stand before those of the frame, and whether the
// frame has none of its own.
func (t *tombstones) frame(f spool.Frame) (lines int64, gone bool) {
	t.last = f
	t.last.Payload = nil
	t.room += linesPerFrame
	lines = t.take(t.late[f.Index])
	delete(t.late, f.Index)
	if f.Type == spool.FrameEvent {
		if ev, err := spool.DecodeEvent(f.Payload); err == nil &&
			ev.Kind == textegress.KindForgotten {
			gone = true
			t.count.Frames++
			lines += t.take(ev.Lines)
			for _, l := range ev.Late {
				if t.late == nil {
					t.late = map[uint64]int64{}
				}
				t.late[l.Index] = min(t.late[l.Index]+min(max(l.Lines, 0), math.MaxInt32),
					math.MaxInt32)
			}
		}
	}
	return lines, gone
}

// end returns how many stand after the last frame's lines.
func (t *tombstones) end() (lines int64) {
	for _, n := range t.late { // also those whose frame is missing: n stays whole
		lines = min(lines+n, math.MaxInt32)
	}
	t.late = nil
	return t.take(lines)
}

// line is one of them.
func (t *tombstones) line() *decode.Line {
	return &decode.Line{Message: textegress.Message{
		Kind: textegress.KindForgotten, Time: time.Unix(0, t.last.UnixNS).UTC(),
		UnixNS: t.last.UnixNS, Epoch: int(t.last.Epoch),
	}}
}

// lineDecoder gives the lines of frames, those of removed participants included.
type lineDecoder struct {
	*decode.Decoder

	tombs tombstones
	gone  bool // the last frame was a tombstone
}

// Decrypted reports whether the last frame came encrypted and was decrypted.
func (d *lineDecoder) Decrypted() bool { return !d.gone && d.Decoder.Decrypted() }

func newLines(o decode.Options) *lineDecoder {
	return &lineDecoder{Decoder: decode.New(o), tombs: tombstones{room: firstLines}}
}

func (d *lineDecoder) frame(f spool.Frame, emit func(*decode.Line) error) error {
	n, gone := d.tombs.frame(f)
	d.gone = gone
	for range n {
		if err := emit(d.tombs.line()); err != nil {
			return err
		}
	}
	if gone {
		return nil
	}
	return d.Frame(f, emit)
}

func (d *lineDecoder) end(emit func(*decode.Line) error) error {
	if err := d.End(emit); err != nil {
		return err
	}
	for range d.tombs.end() {
		if err := emit(d.tombs.line()); err != nil {
			return err
		}
	}
	return nil
}

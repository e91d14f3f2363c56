package render

import (
	"math"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/segment"
)

// LineDecoder turns the frames of a recording into the lines of events.jsonl. It adds tombstones:
// lines of kind forgotten that replace the lines of an erased participant.
type LineDecoder struct {
	decoder   *decode.Decoder
	tombs     tombstones
	tombstone bool // the last frame was a tombstone

	// The result of decode.Event for the last frame, if that was an event.
	event     textegress.Message
	decodable bool
}

// NewLineDecoder returns a decoder for one recording. The caller must close it.
func NewLineDecoder(o decode.Options) *LineDecoder {
	return &LineDecoder{decoder: decode.New(o), tombs: tombstones{allowed: initialLines}}
}

// Frame calls emit for each line that the next frame completes, in order. It returns errors from
// emit and from scratch I/O only, never because of packet content.
func (d *LineDecoder) Frame(f segment.Frame, emit func(*decode.Line) error) error {
	d.event, d.decodable = textegress.Message{}, false
	if f.Type == segment.FrameEvent {
		d.event, d.decodable = decode.Event(f)
	}
	n, tombstone := d.tombs.frame(f, &d.event)
	d.tombstone = tombstone
	if err := d.emitTombstones(n, emit); err != nil || tombstone {
		return err
	}
	if f.Type == segment.FrameEvent {
		return d.decoder.Event(f, d.event, d.decodable, emit)
	}
	return d.decoder.Frame(f, emit)
}

// End calls emit for the lines after those of the last frame.
func (d *LineDecoder) End(emit func(*decode.Line) error) error {
	if err := d.decoder.End(emit); err != nil {
		return err
	}
	return d.emitTombstones(d.tombs.end(), emit)
}

func (d *LineDecoder) emitTombstones(n int64, emit func(*decode.Line) error) error {
	for range n {
		if err := emit(d.tombs.line()); err != nil {
			return err
		}
	}
	return nil
}

// Decrypted reports whether the last frame was encrypted and has been decrypted.
func (d *LineDecoder) Decrypted() bool { return !d.tombstone && d.decoder.Decrypted() }

// Event returns the result of [decode.Event] for the last frame, which was an event.
func (d *LineDecoder) Event() (m textegress.Message, ok bool) { return d.event, d.decodable }

// Envelope describes the packet of the last frame.
func (d *LineDecoder) Envelope() decode.Envelope { return d.decoder.Envelope() }

// Late returns the number of packets that arrived after the line of their stream and are therefore
// in no line.
func (d *LineDecoder) Late() int64 { return d.decoder.Late() }

// Forgotten returns the number of tombstones so far.
func (d *LineDecoder) Forgotten() textegress.Forgotten { return d.tombs.count }

// Close releases the scratch file.
func (d *LineDecoder) Close() error { return d.decoder.Close() }

// tombstones produces the lines that replace those of erased participants. They have the same
// positions, so that every other line keeps its n.
type tombstones struct {
	late  map[uint64]int64 // by the index of the frame whose lines they precede; 0: at the end
	count textegress.Forgotten
	last  segment.Frame // without its payload
	// allowed is the number of further lines that are plausible, because each frame gives a limited
	// number. A tombstone that claims more was not written by this program, or its frames are lost.
	allowed int64
}

const (
	linesPerFrame = 4  // more lines than any frame gives
	initialLines  = 64 // allowance for frames lost at the beginning
)

// take returns how many of n lines are allowed, and deducts them.
func (t *tombstones) take(n int64) int64 {
	n = max(0, min(n, t.allowed))
	t.allowed -= n
	t.count.Lines += n
	return n
}

// frame returns how many tombstones precede the lines of the frame, and whether the frame is itself
// a tombstone without other lines. m is the message of the frame if that is an event.
func (t *tombstones) frame(f segment.Frame, m *textegress.Message) (lines int64, tombstone bool) {
	t.last = f
	t.last.Payload = nil
	t.allowed += linesPerFrame
	lines = t.take(t.late[f.Index])
	delete(t.late, f.Index)
	if m.Kind != textegress.KindForgotten {
		return lines, false
	}
	t.count.Frames++
	ev := m.Event
	if ev == nil {
		return lines, true
	}
	lines += t.take(ev.Lines)
	for _, l := range ev.Late {
		if t.late == nil {
			t.late = map[uint64]int64{}
		}
		t.late[l.Index] = min(t.late[l.Index]+min(max(l.Lines, 0), math.MaxInt32), math.MaxInt32)
	}
	return lines, true
}

// end returns how many tombstones follow the lines of the last frame.
func (t *tombstones) end() (lines int64) {
	for _, n := range t.late { // including those whose frame is missing, so that n has no gaps
		lines = min(lines+n, math.MaxInt32)
	}
	t.late = nil
	return t.take(lines)
}

// line returns one tombstone.
func (t *tombstones) line() *decode.Line {
	return &decode.Line{Message: textegress.Message{
		Kind: textegress.KindForgotten, Time: time.Unix(0, t.last.UnixNS).UTC(),
		UnixNS: t.last.UnixNS, Epoch: int(t.last.Epoch),
	}}
}

package follow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// A batch of lines has at most this many lines and about this many bytes.
const (
	batchLines = 512
	batchBytes = 256 << 10
)

// chunk is a batch of consecutive lines. It does not change once it is published.
type chunk struct {
	lines []Line
	size  int // bytes of JSON
}

func (c *chunk) first() int64 { return c.lines[0].N }
func (c *chunk) last() int64  { return c.lines[len(c.lines)-1].N }

// Decoder decodes one recording for one reader.
type Decoder struct {
	rec    *spool.Recording
	reader *segment.Reader
	events *render.Events
	frame  segment.Frame // the last one read
	held   bool          // frame is not yet to be decoded
	ended  bool

	// The lines decoded and not yet taken. JSON holds the text of all of them, one after the other.
	lines []Line
	ends  []int
	json  []byte
}

// DecoderOptions of [NewDecoder].
type DecoderOptions struct {
	Decoding

	// Scratch creates the file for the content of open streams.
	Scratch func() (render.Scratch, error)
}

// NewDecoder returns a decoder of the lines of rec from the first one on, for a recording that may
// still be written by another process. The lines that it returns need not be durable. Reading ends
// with an error once ctx ends.
func NewDecoder(ctx context.Context, rec *spool.Recording, o DecoderOptions) (*Decoder, error) {
	d := &Decoder{rec: rec}
	var err error
	d.events, err = render.NewEvents(ctx, rec.Info(), render.EventsOptions{
		Keys: o.Keys, Pseudonyms: o.Pseudonyms, Scratch: o.Scratch,
	}, d.emit)
	if err != nil {
		return nil, err
	}
	switch rec.State() {
	case spool.StateOpen:
		list := func() ([]segment.Source, bool, error) { return rec.Growing(ctx) }
		d.reader = segment.Follow(list, segment.ReaderOptions{})
		return d, nil
	case spool.StateRemoved:
		return nil, errors.Join(ErrGone, d.events.Close())
	}
	sources, err := rec.SealedSources(ctx)
	if err != nil {
		return nil, errors.Join(err, d.events.Close())
	}
	// A service that was killed while it removed the segments of a delivered recording left some.
	if rec.State() == spool.StateUploaded && slices.ContainsFunc(sources,
		func(s segment.Source) bool { return s.Open == nil }) {
		return nil, errors.Join(ErrGone, d.events.Close())
	}
	d.reader = segment.NewReader(sources, segment.ReaderOptions{})
	return d, nil
}

func (d *Decoder) emit(m *textegress.Message, json []byte) error {
	d.json = append(d.json, json...)
	d.ends = append(d.ends, len(d.json))
	d.lines = append(d.lines, Line{
		N: m.N, Kind: m.Kind, Topic: m.Topic, Identity: m.Identity, UnixNS: m.UnixNS,
	})
	return nil
}

// Next decodes some frames and returns their lines, possibly none. It returns [segment.ErrNotYet]
// if there is no further frame yet, and io.EOF after the last lines of a complete recording.
func (d *Decoder) Next() ([]Line, error) {
	err := d.decode(nil)
	if c := d.take(); c != nil {
		if err == nil || errors.Is(err, segment.ErrNotYet) || errors.Is(err, io.EOF) {
			return c.lines, nil // the next call returns err again
		}
	}
	return nil, err
}

// decode decodes frames until there are enough lines for a batch. If durable is not nil, frames
// after that index wait.
func (d *Decoder) decode(durable *uint64) error {
	if d.ended {
		return io.EOF
	}
	for len(d.lines) < batchLines && len(d.json) < batchBytes {
		if !d.held {
			if durable != nil && d.reader.NextIndex() > *durable {
				return segment.ErrNotYet
			}
			f, err := d.reader.Next()
			if errors.Is(err, io.EOF) {
				d.ended = true
				if err := d.events.End(); err != nil {
					return err
				}
				return io.EOF
			}
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w: %w", ErrGone, err)
			}
			if err != nil {
				return err
			}
			d.frame = f
		}
		if d.held = durable != nil && d.frame.Index > *durable; d.held {
			// its payload is valid until the next call of Next
			return segment.ErrNotYet
		}
		if err := d.events.Frame(d.frame); err != nil {
			return err
		}
	}
	return nil
}

// take returns the decoded lines, nil if there are none.
func (d *Decoder) take() *chunk {
	if len(d.lines) == 0 {
		return nil
	}
	c, begin := &chunk{lines: d.lines, size: len(d.json)}, 0
	for i, end := range d.ends {
		c.lines[i].JSON = d.json[begin:end:end]
		begin = end
	}
	// The next batch is probably about as large.
	d.lines, d.ends = make([]Line, 0, len(d.lines)), d.ends[:0]
	d.json = make([]byte, 0, min(len(d.json)+len(d.json)/8, 2*batchBytes))
	return c
}

// Pending returns the streams that have begun and not ended. They are in no line yet.
func (d *Decoder) Pending() []decode.OpenStream { return d.events.Open() }

// Close releases the files.
func (d *Decoder) Close() error { return errors.Join(d.reader.Close(), d.events.Close()) }

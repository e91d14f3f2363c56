package segment

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
)

// Read streams the frames of all segments of a recording, in order. It
// holds at most one frame in memory, and a payload is valid until the next frame is read.
//
// A range without a readable frame is yielded at its position, as a frame of type FrameEvent with
// Damage set, whose payload is an Event of kind "corrupt": segment, offset, bytes, and the number
// of missing frames according to the surrounding indexes. It has the UnixNS and Epoch of the
// preceding frame, and the Index of the first missing frame. Frames that are missing without a
// trace (because a segment file is gone) produce such an event with 0 bytes. Read does not report
// the torn tail of the last segment, because its frame was never acknowledged.
//
// A segment that differs from its sealed state is damaged, wherever it is stored. Frames that were
// readable at sealing and no longer are count as missing, even in a torn tail. If no frame is
// missing, Read reports the whole segment as a corrupt range. It does not read bytes beyond the
// sealed size.
//
// An error is yielded only if reading fails, and ends the iteration.
func Read(sources []Source) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		r := NewReader(sources, ReaderOptions{})
		defer r.Close() //nolint:errcheck // reading only
		for {
			f, err := r.Next()
			if errors.Is(err, io.EOF) || !yield(f, err) || err != nil {
				return
			}
		}
	}
}

// ReaderOptions tunes a [Reader]. The zero value reads a whole recording.
type ReaderOptions struct {
	// From is the index of the first frame to return; 0 means the first. The reader reads only the
	// headers of segments that end before From.
	From uint64
	// Partial allows sources that do not start with the recording's first segment. Frames before
	// them do not count as missing.
	Partial bool
}

// Reader reads the frames of a recording, as [Read] does. It can start at an index, and it can
// follow a recording that is still being written, see [Follow].
type Reader struct {
	from     uint64
	list     func() ([]Source, bool, error) // nil: sources is final
	started  bool
	complete bool // sources are final and no longer grow

	sources []Source
	current int // index in sources of the current or last source; -1 before the first
	file    io.ReadCloser
	scanner *Scanner // nil: between two segments, or waiting
	sum     digest   // of the bytes read from the file, if it is compared
	buf     []byte   // of the previous scanner

	// For a growing file, which is closed between reads: offset is the start of the next read,
	// confirmed the offset of damage that was seen once; see step.
	waiting           bool
	offset, confirmed int64

	queue    []Frame // found, not yet returned
	err      error   // what Next returns when the queue is empty
	position uint64  // the index after the frame that was returned last

	// next is the index of the next frame if none is missing. If partial is set, next comes from
	// the first header, and no gap is counted before it.
	next    uint64
	partial bool
	// pending holds the corrupt ranges since the last known index. The next known index determines
	// how many frames are missing in them.
	pending []pendingRange
	unixNS  int64
	epoch   uint16
	header  Header // the last readable header

	// For the current segment: the number of frames read, of frames known to be missing between
	// them, and of damaged ranges.
	frames, missing, damaged int64
	tail                     Finding // its unreported torn tail
}

// NewReader returns a reader of sources, which must be in order.
func NewReader(sources []Source, o ReaderOptions) *Reader {
	return &Reader{
		sources: sources, complete: true, from: o.From, current: -1, next: 1, partial: o.Partial,
		position: max(o.From, 1), confirmed: -1,
	}
}

// Next returns the next frame, whose payload is valid until the next call, and io.EOF at the end.
// For a followed recording it returns [ErrNotYet] if there is no further frame yet. Any other error
// means that reading failed, and is final.
func (r *Reader) Next() (Frame, error) {
	for {
		for len(r.queue) == 0 {
			if r.err != nil {
				return Frame{}, r.err
			}
			if err := r.step(); errors.Is(err, ErrNotYet) {
				return Frame{}, err
			} else if err != nil {
				r.err = err
			}
		}
		f := r.queue[0]
		r.queue = r.queue[:copy(r.queue, r.queue[1:])]
		end := f.Index + 1
		if f.Damage {
			end = f.Index + uint64(f.Event.FramesMissing)
		}
		if max(end, f.Index+1) <= r.from {
			continue
		}
		r.position = max(r.position, end)
		return f, nil
	}
}

// Segment returns the name of the segment of the frame that Next returned last. If that frame
// represents missing frames at the end of a segment, Segment returns the name of the following
// segment.
func (r *Reader) Segment() string {
	if r.current < 0 {
		return ""
	}
	return r.sources[r.current].Name
}

// Header returns the header of the current segment or, if it is not readable, the last readable
// header before it.
func (r *Reader) Header() Header { return r.header }

// NextIndex returns the index of the next frame, from which a later reader can continue.
func (r *Reader) NextIndex() uint64 { return r.position }

// TornTail returns the offset of the torn tail of the last segment, and false if it has none. The
// result is valid once Next has returned io.EOF.
func (r *Reader) TornTail() (offset int64, ok bool) { return r.tail.Offset, r.tail.Size > 0 }

// Close closes the current file and returns its error.
func (r *Reader) Close() error {
	r.queue, r.err = nil, errors.New("segment reader is closed")
	if r.file == nil {
		return nil
	}
	r.scanner = nil
	return r.closeFile()
}

// step advances the reader by one finding or state change, and queues the resulting frames. It
// returns io.EOF at the end of the recording.
func (r *Reader) step() error {
	if !r.started {
		r.started = true
		return r.start()
	}
	if r.scanner == nil {
		return r.nextSegment()
	}
	found, err := r.scanner.Next()
	ended := errors.Is(err, io.EOF)
	switch {
	case err != nil && !ended:
		return r.wrap(err)
	case r.growing() && (ended || found.Kind == FoundTorn ||
		found.Kind == FoundCorrupt && found.nextIndex == 0):
		return r.wait()
	case ended:
		return r.wrap(r.endSegment())
	case r.list != nil && found.Kind == FoundCorrupt && r.confirmed != found.Offset:
		// The reader may have read part of a frame that is being written, or that replaces a failed
		// write. Only damage that persists at the next read counts.
		r.confirmed = found.Offset
		r.suspend()
		return r.wrap(r.closeFile())
	}
	r.offset = found.Offset + found.Size
	if r.scanner.ok {
		r.offset = max(r.offset, HeaderSize)
	}
	return r.wrap(r.take(found))
}

func (r *Reader) start() error {
	if r.list != nil {
		if err := r.refresh(); err != nil {
			return err
		}
	}
	if r.from > 1 {
		return r.seek()
	}
	return nil
}

// seek sets the position to the last segment that starts at or before r.from.
func (r *Reader) seek() error {
	for i, src := range slices.Backward(r.sources) {
		h, ok, err := readHeader(src)
		if err != nil {
			return fmt.Errorf("read segment %s: %w", src.Name, err)
		}
		if ok && h.FirstIndex <= r.from {
			r.current, r.partial = i-1, true
			return nil
		}
	}
	return nil
}

func readHeader(src Source) (h Header, ok bool, err error) {
	if src.Open == nil {
		return Header{}, false, nil
	}
	f, err := src.Open()
	if err != nil {
		return Header{}, false, err
	}
	s, err := NewScanner(f)
	if err != nil {
		return Header{}, false, errors.Join(err, f.Close())
	}
	h, ok = s.Header()
	return h, ok, f.Close()
}

func (r *Reader) nextSegment() error {
	switch {
	case r.waiting:
		r.waiting = false
		return r.wrap(r.resume())
	case r.current+1 < len(r.sources):
		r.current++
		r.offset, r.confirmed = 0, -1
		return r.wrap(r.open())
	case !r.complete:
		if err := r.refresh(); err != nil {
			return err
		}
		if r.current+1 == len(r.sources) && !r.complete {
			return ErrNotYet
		}
		return nil
	}
	if err := r.finish(); err != nil {
		return err
	}
	r.position = max(r.position, r.next)
	return io.EOF
}

func (r *Reader) wrap(err error) error {
	if err != nil && !errors.Is(err, ErrNotYet) {
		return fmt.Errorf("read segment %s: %w", r.Segment(), err)
	}
	return err
}

// open starts reading the current segment.
func (r *Reader) open() error {
	src := r.sources[r.current]
	if src.Open == nil {
		if src.Expected != nil {
			r.addLost(Finding{}, src.Expected.Frames)
		}
		return nil
	}
	if err := r.openFile(); err != nil {
		return err
	}
	from := io.Reader(r.file)
	if src.Expected != nil && r.list == nil {
		if src.Expected.SHA256 != "" {
			from = io.LimitReader(from, src.Expected.Size+1) // one more byte detects a longer file
		}
		r.sum = digest{Hash: sha256.New()}
		from = io.TeeReader(from, &r.sum)
	}
	r.frames, r.missing, r.damaged, r.tail = 0, 0, 0, Finding{}
	s, err := newScanner(from, r.buf)
	if err != nil {
		return errors.Join(err, r.closeFile())
	}
	r.scanner = s
	h, ok := s.Header()
	if !ok {
		return nil
	}
	r.header = h
	if r.partial {
		r.next, r.partial = h.FirstIndex, false
	}
	if r.unixNS == 0 {
		r.unixNS = h.CreatedUnixNS
	}
	err = r.resolve(h.FirstIndex)
	r.missing, r.damaged = 0, 0 // the gap was before this segment
	return err
}

func (r *Reader) closeFile() error {
	err := r.file.Close()
	r.file = nil
	return err
}

func (r *Reader) endSegment() error {
	r.buf, r.scanner = r.scanner.buffer(), nil
	err := r.closeFile()
	if src := r.sources[r.current]; err == nil && src.Expected != nil && r.list == nil {
		r.compare(src, r.sum.size, r.sum.hex())
	}
	return err
}

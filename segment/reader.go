package segment

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
)

// Read streams the frames of all segments of a recording, in order. It
// holds at most one frame in memory, and a payload is valid until the next frame is read.
//
// A range without a readable frame is yielded where it lies, as a frame with Damage set, of type
// FrameEvent, whose payload is an Event of kind "corrupt": segment, offset,
// bytes, and how many frames are missing according to the indexes around it. Its UnixNS and
// Epoch are those of the frame before, its Index is that of the first missing
// frame. Frames that are missing without a trace (a segment file is gone) are
// such an event with 0 bytes. The torn tail of the last segment is not
// mentioned: its frame was never acknowledged.
//
// A segment that is not as it was sealed is damaged, wherever it lies: what was
// readable then and is not now is missing, a torn tail included; and where nothing
// is missing, all of the segment is such a range. What is behind its sealed size is
// not read.
//
// An error is yielded only where reading fails, and ends the iteration.
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
	// Partial: the sources need not begin with the recording's first segment, and what is before
	// them is not missing.
	Partial bool
}

// Reader reads the frames of a recording, as [Read] does.
type Reader struct {
	sources []Source
	current int // in sources: the one that is being read, or was read last; -1 before the first
	file    io.ReadCloser
	scanner *Scanner
	sum     digest // of what was read of the file, where it is compared
	buf     []byte // of the scanner before

	queue []Frame // found, not yet returned
	err   error   // what Next returns when the queue is empty

	// next is the index of the next frame if none is missing; partial
	// takes it from the first header instead of counting a gap before it.
	next    uint64
	partial bool
	// pending are the corrupt ranges at the end of a segment, for which only a
	// later segment tells how many frames are missing.
	pending []pendingRange
	unixNS  int64
	epoch   uint16
	header  Header // the last readable one

	// Of the segment that is being read: frames that were read, that are known to
	// be missing between them, and the ranges that are damaged.
	frames, missing, damaged int64
	tail                     Finding // its torn tail that is not mentioned
}

type pendingRange struct {
	event      Event
	minMissing uint64 // frames that are missing if no index tells
}

// NewReader returns a reader of sources, which are in order.
func NewReader(sources []Source, o ReaderOptions) *Reader {
	return &Reader{sources: sources, current: -1, next: 1, partial: o.Partial}
}

// Next returns the next frame, whose payload is valid until the next call, io.EOF at the end, and
// any other error where reading failed, which is final.
func (r *Reader) Next() (Frame, error) {
	for len(r.queue) == 0 {
		if r.err == nil {
			r.err = r.step()
			continue
		}
		return Frame{}, r.err
	}
	f := r.queue[0]
	r.queue = r.queue[:copy(r.queue, r.queue[1:])]
	return f, nil
}

// Segment returns the name of the segment in which the reader is: that of the frame that Next
// returned last, or, where it stands for frames at the end of a segment, the one after it.
func (r *Reader) Segment() string {
	if r.current < 0 {
		return ""
	}
	return r.sources[r.current].Name
}

// Header returns the header of the segment in which the reader is, or of the last one before it
// whose header is readable.
func (r *Reader) Header() Header { return r.header }

// NextIndex returns, after Next has returned io.EOF, the index of the frame that would come next.
func (r *Reader) NextIndex() uint64 { return r.next }

// Close ends the reading. The error is that of closing the file.
func (r *Reader) Close() error {
	r.queue, r.err = nil, errors.New("segment reader is closed")
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file, r.scanner = nil, nil
	return err
}

// step reads on until something is queued or known. io.EOF: it was the last.
func (r *Reader) step() error {
	if r.scanner == nil {
		if r.current+1 == len(r.sources) {
			if err := r.finish(); err != nil {
				return err
			}
			return io.EOF
		}
		r.current++
		return r.wrap(r.open())
	}
	found, err := r.scanner.Next()
	if errors.Is(err, io.EOF) {
		return r.wrap(r.endSegment())
	}
	if err != nil {
		return r.wrap(err)
	}
	return r.take(found)
}

func (r *Reader) wrap(err error) error {
	if err != nil {
		return fmt.Errorf("read segment %s: %w", r.Segment(), err)
	}
	return nil
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
	var err error
	if r.file, err = src.Open(); err != nil {
		r.file = nil
		return err
	}
	from := io.Reader(r.file)
	if src.Expected != nil {
		if src.Expected.SHA256 != "" {
			from = io.LimitReader(from, src.Expected.Size+1) // one more tells that it is longer
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
	r.missing, r.damaged = 0, 0 // that was before it
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
	if err == nil && r.sources[r.current].Expected != nil {
		r.compare(r.sources[r.current], r.sum.size, r.sum.hex())
	}
	return err
}

// compare compares a segment with what it was when the recording was sealed.
func (r *Reader) compare(src Source, size int64, sum string) {
	was := src.Expected
	if was.Name != "" && was.SHA256 == "" {
		return // nothing was measured
	}
	if size == was.Size && sum == was.SHA256 && r.frames == was.Frames {
		return
	}
	lost := was.Frames - r.frames - r.missing
	for _, p := range r.pending {
		if p.event.Segment == src.Name {
			lost -= int64(p.minMissing)
		}
	}
	switch {
	case r.tail.Size > 0:
		r.addPending(r.tail, uint64(max(lost, 0)))
	case lost > 0:
		r.addLost(Finding{Offset: size}, lost)
	case r.damaged == 0:
		// which of its bytes are others, nothing tells
		r.addPending(Finding{Size: size}, 0)
	}
}

// addLost adds frames of the segment to what is missing at its end.
func (r *Reader) addLost(at Finding, frames int64) {
	if n := len(r.pending); n > 0 {
		r.pending[n-1].minMissing += uint64(frames)
		return
	}
	r.addPending(at, uint64(frames))
}

// take accounts for a finding.
func (r *Reader) take(found Finding) error {
	switch found.Kind {
	case FoundFrame:
		if err := r.resolve(found.Frame.Index); err != nil {
			return err
		}
		r.queue = append(r.queue, found.Frame)
		r.next = found.Frame.Index + 1
		r.frames++
		r.unixNS, r.epoch = found.Frame.UnixNS, found.Frame.Epoch
	case FoundTorn:
		if r.current == len(r.sources)-1 {
			r.tail = found
		} else {
			r.addPending(found, 0)
		}
	case FoundCorrupt:
		least := found.intactHeaders
		if found.Offset >= HeaderSize || !r.scanner.ok {
			least = max(least, 1)
		}
		r.addPending(found, least)
		if found.nextIndex != 0 {
			return r.resolve(found.nextIndex)
		}
	}
	return nil
}

func (r *Reader) addPending(found Finding, minMissing uint64) {
	r.damaged++
	r.pending = append(r.pending, pendingRange{
		event: Event{
			Kind: KindCorrupt, Segment: r.Segment(), Offset: found.Offset, Bytes: found.Size,
		},
		minMissing: minMissing,
	})
}

// resolve queues the pending ranges, now that index is known to come next. What
// is missing goes to the first of them; where there is none, a gap without bytes
// is queued.
func (r *Reader) resolve(index uint64) error {
	missing := int64(0)
	if index > r.next {
		missing = int64(min(index-r.next, math.MaxInt64))
	}
	r.missing += missing
	if missing > 0 && len(r.pending) == 0 {
		r.addPending(Finding{}, 0)
	}
	for _, p := range r.pending {
		p.event.FramesMissing = missing
		if err := r.queueDamage(p.event); err != nil {
			return err
		}
		missing = 0
	}
	r.pending = r.pending[:0]
	r.next = max(r.next, index)
	return nil
}

// finish queues what no later index explains.
func (r *Reader) finish() error {
	for _, p := range r.pending {
		p.event.FramesMissing = int64(min(p.minMissing, math.MaxInt64))
		if err := r.queueDamage(p.event); err != nil {
			return err
		}
		r.next += p.minMissing
	}
	r.pending = nil
	return nil
}

func (r *Reader) queueDamage(ev Event) error {
	payload, err := EncodeEvent(ev)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	r.queue = append(r.queue, Frame{
		Type: FrameEvent, Epoch: r.epoch, Index: r.next, UnixNS: r.unixNS, Payload: payload,
		Damage: true,
	})
	return nil
}

package spool

import (
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/syncflow/textegress"
)

// SegmentSource is a segment wherever it is: in the spool or, decompressed, in a
// delivered recording.
type SegmentSource struct {
	Name string
	Open func() (io.ReadCloser, error)
}

// ReadSegments streams the frames of all segments of a recording, in order. It
// holds at most one frame in memory, and a payload is valid until the iteration
// goes on.
//
// A range without a readable frame is yielded where it lies, as a frame of type
// FrameEvent whose payload is an Event of kind "corrupt": segment, offset,
// bytes, and how many frames the indexes tell to be missing. Its UnixNS and
// Epoch are those of the frame before, its Index is that of the first missing
// frame. Frames that are missing without a trace (a segment file is gone) are
// such an event with 0 bytes. The torn tail of the last segment is not
// mentioned: nobody was ever told that this frame had been written.
//
// An error is yielded only where reading fails, and ends the iteration.
func ReadSegments(segments []SegmentSource) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		w := walk{expect: 1, yield: yield}
		for i, seg := range segments {
			if !w.segment(seg, i == len(segments)-1) {
				return
			}
		}
		w.finish()
	}
}

// walk goes over the segments of one recording and accounts for the indexes.
type walk struct {
	yield func(Frame, error) bool
	// expect is the index of the next frame if none is missing; unknownStart
	// takes it from the first header instead of counting a gap before it.
	expect       uint64
	unknownStart bool
	// pending are the corrupt ranges at the end of a segment, for which only a
	// later segment tells how many frames are missing.
	pending []pendingRange
	unixNS  int64
	epoch   uint16
	buf     []byte
	// Of the last segment walked: where its torn tail begins (-1: it has none),
	// whether its header was readable.
	torn     int64
	headerOK bool
	created  int64 // of the last readable header
	// inventing: what is being yielded stands for a corrupt range.
	inventing bool
}

type pendingRange struct {
	event Event
	least uint64 // frames that are missing if no index tells
}

// segment returns false where the iteration is over.
func (w *walk) segment(seg SegmentSource, last bool) bool {
	r, err := seg.Open()
	if err != nil {
		w.yield(Frame{}, fmt.Errorf("read segment %s: %w", seg.Name, err))
		return false
	}
	goOn, err := w.scan(r, seg.Name, last)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		w.yield(Frame{}, fmt.Errorf("read segment %s: %w", seg.Name, err))
		return false
	}
	return goOn
}

func (w *walk) scan(r io.Reader, name string, last bool) (goOn bool, err error) {
	w.torn, w.headerOK = -1, false
	s, err := newScanner(r, w.buf)
	if err != nil {
		return false, err
	}
	defer func() { w.buf = s.buffer() }()
	if w.headerOK = s.ok; s.ok {
		w.created = s.header.createdUnixNS
		if w.unknownStart {
			w.expect, w.unknownStart = s.header.firstIndex, false
		}
		if w.unixNS == 0 {
			w.unixNS = s.header.createdUnixNS
		}
		if !w.resolve(s.header.firstIndex, name) {
			return false, nil
		}
	}
	for {
		it, err := s.next()
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		switch it.kind {
		case itemFrame:
			if !w.resolve(it.frame.Index, name) || !w.yield(it.frame, nil) {
				return false, nil
			}
			w.expect = it.frame.Index + 1
			w.unixNS, w.epoch = it.frame.UnixNS, it.frame.Epoch
		case itemTorn:
			w.torn = it.offset
			if !last {
				w.hold(name, it, 0)
			}
		case itemCorrupt:
			least := it.known
			if it.offset >= headerLen || !s.ok {
				least = max(least, 1)
			}
			w.hold(name, it, least)
			if it.nextIndex != 0 && !w.resolve(it.nextIndex, name) {
				return false, nil
			}
		}
	}
}

func (w *walk) hold(name string, it item, least uint64) {
	w.pending = append(w.pending, pendingRange{
		event: Event{Kind: textegress.KindCorrupt, Segment: name, Offset: it.offset, Bytes: it.size},
		least: least,
	})
}

// resolve yields the pending ranges, now that index is known to come next. What
// is missing goes to the first of them; where there is none, a gap without bytes
// is yielded.
func (w *walk) resolve(index uint64, name string) bool {
	missing := int64(0)
	if index > w.expect {
		missing = int64(index - w.expect)
	}
	if missing > 0 && len(w.pending) == 0 {
		w.hold(name, item{}, 0)
	}
	for _, p := range w.pending {
		p.event.FramesMissing = missing
		if !w.yieldEvent(p.event) {
			return false
		}
		missing = 0
	}
	w.pending = w.pending[:0]
	w.expect = max(w.expect, index)
	return true
}

// finish yields what no later index explains.
func (w *walk) finish() {
	for _, p := range w.pending {
		p.event.FramesMissing = int64(p.least)
		if !w.yieldEvent(p.event) {
			return
		}
		w.expect += p.least
	}
	w.pending = nil
}

func (w *walk) yieldEvent(ev Event) bool {
	payload, err := EncodeEvent(ev)
	if err != nil {
		w.yield(Frame{}, fmt.Errorf("encode event: %w", err))
		return false
	}
	w.inventing = true
	defer func() { w.inventing = false }()
	return w.yield(Frame{Type: FrameEvent, Epoch: w.epoch, Index: w.expect, UnixNS: w.unixNS, Payload: payload}, nil)
}

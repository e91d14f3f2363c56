package spool

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"sync/atomic"

	"github.com/syncflow/textegress"
)

// SegmentSource is a segment wherever it is: in the spool or, decompressed, in a
// delivered recording.
type SegmentSource struct {
	Name string
	// Open is nil where the segment is missing.
	Open func() (io.ReadCloser, error)
	// Sealed is what was measured of the segment when the recording was sealed; see
	// HoldAgainst. nil: not known. Without a name: it was not there.
	Sealed *SegmentInfo
	// Silent counts the reads of the file that somebody has stopped waiting for, of
	// whoever has this source of the recording. nil: nobody counts.
	Silent *atomic.Int32
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
// A segment that is not as it was sealed is damaged, wherever it lies: what was
// readable then and is not now is missing, a torn tail included; and where nothing
// is missing, all of the segment is such a range. What is behind its sealed size is
// not read.
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
	// Of the segment that is being walked: frames that were read, that are known to
	// be missing between them, and the ranges that are damaged.
	read, missing, damaged int64
	tail                   item // its torn tail that is not mentioned
}

type pendingRange struct {
	event Event
	least uint64 // frames that are missing if no index tells
}

// segment returns false where the iteration is over.
func (w *walk) segment(seg SegmentSource, last bool) bool {
	if seg.Open == nil {
		w.lost(seg.Name, item{}, seg.Sealed.Frames)
		return true
	}
	r, err := seg.Open()
	if err != nil {
		w.yield(Frame{}, fmt.Errorf("read segment %s: %w", seg.Name, err))
		return false
	}
	var from io.Reader = r
	sum := digest{Hash: sha256.New()}
	if seg.Sealed != nil {
		if seg.Sealed.SHA256 != "" {
			from = io.LimitReader(r, seg.Sealed.Size+1) // one more tells that it is longer
		}
		from = io.TeeReader(from, &sum)
	}
	goOn, err := w.scan(from, seg.Name, last)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		w.yield(Frame{}, fmt.Errorf("read segment %s: %w", seg.Name, err))
		return false
	}
	if goOn && seg.Sealed != nil {
		w.compare(seg, sum.size, hex.EncodeToString(sum.Sum(nil)))
	}
	return goOn
}

// compare holds a segment against what it was when the recording was sealed.
func (w *walk) compare(seg SegmentSource, size int64, sum string) {
	was := seg.Sealed
	if was.Name != "" && was.SHA256 == "" {
		return // nothing was measured
	}
	if size == was.Size && sum == was.SHA256 && w.read == was.Frames {
		return
	}
	lost := was.Frames - w.read - w.missing
	for _, p := range w.pending {
		if p.event.Segment == seg.Name {
			lost -= int64(p.least)
		}
	}
	switch {
	case w.tail.size > 0:
		w.hold(seg.Name, w.tail, uint64(max(lost, 0)))
	case lost > 0:
		w.lost(seg.Name, item{offset: size}, lost)
	case w.damaged == 0:
		w.hold(seg.Name, item{size: size}, 0) // which of its bytes are others, nothing tells
	}
}

// lost adds frames of a segment to what is missing at its end.
func (w *walk) lost(segment string, at item, frames int64) {
	if n := len(w.pending); n > 0 {
		w.pending[n-1].least += uint64(frames)
		return
	}
	w.hold(segment, at, uint64(frames))
}

func (w *walk) scan(r io.Reader, name string, last bool) (goOn bool, err error) {
	w.torn, w.headerOK = -1, false
	w.read, w.missing, w.damaged, w.tail = 0, 0, 0, item{}
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
		w.missing, w.damaged = 0, 0 // that was before it
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
			w.read++
			w.unixNS, w.epoch = it.frame.UnixNS, it.frame.Epoch
		case itemTorn:
			w.torn = it.offset
			if last {
				w.tail = it
			} else {
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
	w.damaged++
	w.pending = append(w.pending, pendingRange{
		event: Event{
			Kind: textegress.KindCorrupt, Segment: name, Offset: it.offset,
			Bytes: it.size,
		},
		least: least,
	})
}

// resolve yields the pending ranges, now that index is known to come next. What
// is missing goes to the first of them; where there is none, a gap without bytes
// is yielded.
func (w *walk) resolve(index uint64, name string) bool {
	missing := int64(0)
	if index > w.expect {
		missing = int64(min(index-w.expect, math.MaxInt64))
	}
	w.missing += missing
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
		p.event.FramesMissing = int64(min(p.least, math.MaxInt64))
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
	return w.yield(Frame{
		Type: FrameEvent, Epoch: w.epoch, Index: w.expect, UnixNS: w.unixNS,
		Payload: payload,
	}, nil)
}

package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/segment"
)

// keepBuffer is the largest encoding buffer, in bytes, that a writer keeps between two frames.
// Larger buffers would add up over a thousand recordings.
const keepBuffer = 64 << 10

// Writer appends to one recording. Its methods are safe for concurrent use.
//
// A writer starts a new segment when the current one is full or old, when it cannot cut a torn
// frame off it, and when its fsync fails. It syncs the old segment once more (not after a failed
// fsync, which must not be retried on the same file) and never writes to it again.
type Writer struct {
	recording *Recording
	spool     *Spool

	recorded atomic.Uint64
	durable  atomic.Uint64
	dirty    atomic.Bool // in the syncer's queue
	// times of the oldest frame that waits for a sync and of the oldest one that is being synced,
	// unix ns; 0: none
	waitsSince, syncsSince atomic.Int64

	// syncMu is held while syncing, sealing or closing. It is taken before mu and, unlike mu, held
	// over an fsync. It also guards synced, dirSynced and startErr of the segments.
	syncMu   sync.Mutex
	sealed   bool
	failures int       // consecutive failed fsyncs
	notUntil time.Time // the syncer does not sync the writer before this time

	// mu is held over one write(2) and never over an fsync, so that an Append waits for the disk
	// only if the kernel blocks the write.
	mu        sync.Mutex
	segment   *openSegment   // nil: the next Append starts one
	retired   []*openSegment // to be synced and closed
	unsynced  []string       // segments of an earlier process, to be synced; they precede retired
	follower  Follower       // nil: segments start without a state
	number    uint32         // of the next segment
	nextIndex uint64
	buf       []byte
	steps     steps
	syncErr   error // the first failed fsync
	ended     error // the reason why nothing can be appended any more
}

// openSegment is an open segment file.
type openSegment struct {
	name   string
	file   durable.File
	header segment.Header
	began  int64 // on the monotonic clock

	size   int64  // guarded by Writer.mu
	frames uint64 // guarded by Writer.mu
	head   uint64 // number of state frames at the start of the segment

	synced    uint64 // frames that are durable
	dirSynced bool   // the file's name is durable
	startErr  error  // a failed StartSync, as final as a failed Sync
}

// Append writes f to the recording with one write(2) and assigns its Index and MonoNS. When it
// returns nil, the frame survives the death of the process. When it returns an error, the frame is
// not in the recording, and a later Append may succeed, for example when space becomes available on
// a full disk (see diskguard.IsFull). Append does not retain the payload.
func (w *Writer) Append(f segment.Frame) error {
	if err := w.spool.disk.Writable(); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	return w.append(f)
}

// AppendReserved is Append for the few small frames without which the recording would be wrong,
// such as the start of an outage. If the disk is full, the ballast is released for them.
func (w *Writer) AppendReserved(f segment.Frame) error {
	return w.spool.disk.WithBallast(func() error { return w.append(f) })
}

// Writable returns an error that diskguard.IsFull recognises if the disk was found full, and nil
// otherwise.
func (w *Writer) Writable() error { return w.spool.disk.Writable() }

func (w *Writer) append(f segment.Frame) error {
	if len(f.Payload) > segment.MaxPayload {
		return fmt.Errorf("append: %w: %d bytes", segment.ErrTooLarge, len(f.Payload))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended != nil {
		return fmt.Errorf("append: %w", w.ended)
	}
	now := w.spool.clock.Read()
	if w.steps.parted(now) {
		var err error
		if now, err = w.stateStep(f.Epoch); err != nil {
			return err
		}
	}
	return w.write(f, now)
}

// stateStep appends an event if the time of day was set, and returns the reading of the clocks.
// Called with mu held.
func (w *Writer) stateStep(epoch uint16) (Reading, error) {
	now, ev, commit := w.steps.look()
	if ev == nil {
		commit()
		return now, nil
	}
	payload, err := segment.EncodeEvent(*ev)
	if err != nil {
		return now, fmt.Errorf("append: %w", err)
	}
	if err := w.write(segment.Frame{Type: segment.FrameEvent, Epoch: epoch, Payload: payload},
		now); err != nil {
		return now, err
	}
	commit()
	w.spool.log.Warn("the clock of this machine was set", "egress_id", w.recording.ID(), "by",
		time.Duration(ev.OffsetNS).String())
	return now, nil
}

// write appends a frame with one write(2). Called with mu held.
func (w *Writer) write(f segment.Frame, now Reading) error {
	size := int64(segment.FrameHeaderSize + len(f.Payload))
	if w.segment != nil && (w.segment.frames > w.segment.head &&
		w.segment.size+size > w.spool.segmentSize || w.expired(now.MonoNS)) {
		w.rotate()
	}
	if w.segment == nil {
		if err := w.begin(now); err != nil {
			return fmt.Errorf("begin segment: %w", w.spool.metrics.count(opCreate, err))
		}
	}
	seg := w.segment
	f.Index = w.nextIndex
	f.MonoNS = now.MonoNS - seg.began
	if f.UnixNS == 0 {
		f.UnixNS = now.UnixNS
	}
	w.buf = seg.header.AppendFrame(w.buf[:0], &f)
	n, err := seg.file.Write(w.buf)
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	if cap(w.buf) > keepBuffer {
		w.buf = nil
	}
	if err != nil {
		w.truncateTorn(seg)
		return fmt.Errorf("append: %w", w.spool.metrics.count(opWrite, err))
	}
	w.steps.last = now.UnixNS
	if w.waitsSince.Load() == 0 {
		w.waitsSince.Store(now.UnixNS)
	}
	seg.size += size
	seg.frames++
	w.count()
	if w.follower != nil {
		w.follower.Frame(f)
	}
	w.markDirty()
	return nil
}

// count counts a frame that was written. Called with mu held.
func (w *Writer) count() {
	w.nextIndex++
	w.recorded.Add(1)
	w.spool.metrics.recorded.Inc()
}

// begin opens the next segment and writes its header and, if there are earlier frames, the state.
// Called with mu held.
func (w *Writer) begin(now Reading) error {
	for {
		name := segment.Name(w.number)
		file, err := w.spool.fs.Create("segment", w.recording.path(name))
		if errors.Is(err, fs.ErrExist) {
			w.number++
			continue
		}
		if err != nil {
			return err
		}
		h := segment.NewHeader(w.number, w.nextIndex, now.UnixNS)
		b, head := w.appendState(h.Append(nil), &h)
		n, err := file.Write(b)
		if err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
		if err != nil {
			// The segment holds no frame. If it cannot be removed here, recovery removes it.
			return errors.Join(err, file.Close(),
				w.spool.fs.Remove("segment", w.recording.path(name)))
		}
		w.number++
		w.segment = &openSegment{
			name: name, file: file, header: h,
			began: now.MonoNS, size: int64(len(b)), frames: head, head: head,
		}
		for range head {
			w.count()
		}
		return nil
	}
}

// rotate retires the current segment, so that the next Append starts a new one. Called with mu
// held.
func (w *Writer) rotate() {
	w.retired = append(w.retired, w.segment)
	w.segment = nil
	w.markDirty()
}

// truncateTorn removes the part of a frame that a failed write may have left, so that later frames
// do not follow it. If that fails too, later frames go to another segment. Called with mu held.
func (w *Writer) truncateTorn(seg *openSegment) {
	if err := seg.file.Truncate(seg.size); err != nil {
		_ = w.spool.metrics.count(opTruncate, err)
		w.rotate()
	}
}

// Recorded returns the number of frames that this writer has written.
func (w *Writer) Recorded() uint64 { return w.recorded.Load() }

// Durable returns the number of frames that this writer has written and that survive a power
// failure.
func (w *Writer) Durable() uint64 { return w.durable.Load() }

// DurableUpTo returns the time at which the oldest frame was written that is not yet durable, zero
// if there is none. Frames of a segment whose fsync failed are left out, see [Writer.Suspect].
func (w *Writer) DurableUpTo() time.Time {
	waits := w.waitsSince.Load() // before syncsSince, to which sync moves it
	ns := cmp.Or(w.syncsSince.Load(), waits)
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// Close syncs and releases the recording without sealing it: it stays open, and a later Writer
// continues it. It returns the error of Sync.
func (w *Writer) Close() error {
	w.syncMu.Lock()
	defer w.syncMu.Unlock()
	if w.sealed || !w.end(ErrClosed) {
		return nil
	}
	return w.finish()
}

// end makes every later Append fail with reason. It returns false if the writer had already ended
// with that reason.
func (w *Writer) end(reason error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := !errors.Is(w.ended, reason)
	w.ended = reason
	return first
}

// finish syncs, closes the files and releases the recording. Called with syncMu
// held and after end.
func (w *Writer) finish() error {
	w.mu.Lock()
	if w.segment != nil {
		w.retired = append(w.retired, w.segment)
		w.segment = nil
	}
	w.mu.Unlock()
	w.sync()
	w.recording.release(w)
	return w.failed()
}

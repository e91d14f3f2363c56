package spool

import (
	"fmt"
	"slices"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
)

func (w *Writer) markDirty() {
	if w.dirty.CompareAndSwap(false, true) {
		w.spool.syncer.add(w)
	}
}

// Sync makes every frame durable for which Append has returned. An error is final: once an fsync
// has failed, every later Sync returns that error, although later frames go to a new segment that
// may become durable.
func (w *Writer) Sync() error {
	w.syncMu.Lock()
	defer w.syncMu.Unlock()
	w.sync()
	return w.failed()
}

// failed returns the first failed fsync.
func (w *Writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.syncErr
}

// Suspect reports whether an fsync of this recording has ever failed, in this process or an earlier
// one.
func (w *Writer) Suspect() bool { return w.recording.Suspect() }

// startSync starts the write-back of the data that sync will make durable. Called with syncMu held.
func (w *Writer) startSync() {
	w.mu.Lock()
	segments := append(make([]*openSegment, 0, len(w.retired)+1), w.retired...)
	if w.segment != nil {
		segments = append(segments, w.segment)
	}
	w.mu.Unlock()
	for _, seg := range segments {
		if seg.startErr == nil {
			seg.startErr = seg.file.StartSync()
		}
	}
}

// sync syncs the current segment and the retired and recovered ones. Called with syncMu held.
func (w *Writer) sync() {
	type job struct {
		*openSegment
		upTo   uint64
		retire bool
	}
	var jobs []job
	w.mu.Lock()
	unsynced := slices.Clone(w.unsynced)
	last := w.nextIndex - 1 // this and all earlier frames are in these segments
	for _, seg := range w.retired {
		jobs = append(jobs, job{seg, seg.frames, true})
	}
	if w.segment != nil {
		jobs = append(jobs, job{w.segment, w.segment.frames, false})
	}
	w.syncsSince.Store(w.waitsSince.Load())
	w.waitsSince.Store(0)
	w.mu.Unlock()
	defer w.syncsSince.Store(0)
	for _, name := range unsynced {
		w.syncRecovered(name)
	}
	for _, j := range jobs {
		err := w.syncSegment(j.openSegment, j.upTo)
		if err != nil {
			w.retireSegment(j.openSegment, err)
		}
		if err != nil || j.retire {
			// Close errors are ignored: synced files have nothing to lose, unsynced
			// ones are already marked suspect.
			_ = j.file.Close()
			w.settled(j.openSegment)
		}
	}
	w.recording.advance(last)
}

// settled removes a segment that is durable or suspect from the retired ones.
func (w *Writer) settled(seg *openSegment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retired = slices.DeleteFunc(w.retired, func(other *openSegment) bool { return other == seg })
}

func (w *Writer) syncSegment(seg *openSegment, upTo uint64) error {
	if seg.startErr != nil {
		return seg.startErr
	}
	if seg.dirSynced && seg.synced == upTo {
		return nil
	}
	start := time.Now()
	err := seg.file.Sync()
	if err == nil && !seg.dirSynced {
		err = w.spool.fs.SyncDir("sync-segment", w.recording.dir)
	}
	w.spool.metrics.fsync.Observe(time.Since(start).Seconds())
	if err != nil {
		return err
	}
	seg.dirSynced = true
	n := upTo - seg.synced
	seg.synced = upTo
	w.durable.Add(n)
	w.spool.metrics.durable.Add(float64(n))
	w.failures = 0
	return nil
}

// maxPause bounds the pause between two fsyncs on a disk where every fsync fails. Each failure
// costs a new segment.
const maxPause = time.Minute

// retireSegment ends a segment after a failed fsync. Its frames never count as
// durable, and the recording is suspect.
func (w *Writer) retireSegment(seg *openSegment, err error) {
	_ = w.spool.metrics.count(opSync, err)
	w.spool.log.Error("cannot make a segment durable; continuing in a new one",
		"egress_id", w.recording.ID(), "segment", seg.name, "error", err)
	w.mu.Lock()
	if w.segment == seg {
		w.segment = nil
	}
	if w.syncErr == nil {
		w.syncErr = fmt.Errorf("segment %s is not durable: %w", seg.name, err)
	}
	w.mu.Unlock()
	w.failures++
	pauses := backoff.Policy{
		First: 2 * w.spool.syncer.interval, Max: maxPause, Jitter: backoff.None,
	}
	w.notUntil = time.Now().Add(pauses.Delay(w.failures))
	w.spool.syncFailed(w.recording.ID())
	w.recording.markSuspect(seg.name)
}

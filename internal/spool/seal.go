package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/syncflow/textegress/internal/durable"
)

// Seal ends the recording permanently: it syncs everything and measures the segments. When it
// returns nil, sealed.json survives a power failure. Seal sets Segments and Suspect, and
// EndedUnixNS if it is 0. A failed fsync makes the recording suspect but does not prevent sealing.
//
// After the call, nothing can be appended, even if Seal returns an error. After an error, Seal can
// be called again. If an earlier call wrote sealed.json and then failed or crashed, the existing
// sealed.json counts.
func (w *Writer) Seal(s Sealed) error {
	w.syncMu.Lock()
	defer w.syncMu.Unlock()
	if w.sealed {
		return nil
	}
	w.mu.Lock()
	closed := errors.Is(w.ended, ErrClosed)
	if !closed {
		w.ended = ErrSealed
	}
	w.mu.Unlock()
	if closed {
		return fmt.Errorf("seal recording %s: %w", w.recording.ID(), ErrClosed)
	}
	if err := w.spool.disk.WithBallast(func() error { return w.seal(s) }); err != nil {
		return fmt.Errorf("seal recording %s: %w", w.recording.ID(),
			w.spool.metrics.count(opState, err))
	}
	w.sealed = true
	w.recording.dropJoin()
	w.recording.release(w)
	return nil
}

func (w *Writer) seal(s Sealed) error {
	r := w.recording
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	old, err := w.spool.fs.ReadFile("seal", r.path(sealedName))
	switch {
	case err == nil:
		// An earlier call renamed sealed.json into place, but its last fsync failed.
		there, err := DecodeSealed(old)
		if err != nil {
			return fmt.Errorf("damaged: %w", err)
		}
		if err := w.spool.fs.SyncDir("seal", r.dir); err != nil {
			return err
		}
		r.setSealed(there)
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	w.mu.Lock()
	if w.segment != nil {
		w.retired = append(w.retired, w.segment)
		w.segment = nil
	}
	w.mu.Unlock()
	w.sync() // a failure makes the recording suspect
	if s.Segments, err = r.readSegments(); err != nil {
		return err
	}
	s.Suspect = s.Suspect || r.Suspect()
	if s.EndedUnixNS == 0 {
		s.EndedUnixNS = time.Now().UnixNano()
	}
	data, err := encodeState(s)
	if err != nil {
		return err
	}
	if err := durable.WriteFileOnce(w.spool.fs, "seal", r.path(sealedName), data); err != nil {
		return err
	}
	r.setSealed(s)
	return nil
}

func (r *Recording) setSealed(s Sealed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sealed, r.state = s, StateSealed
	r.notify()
}

// Suspect reports whether an fsync of one of its segments has ever failed, in this process or an
// earlier one. Data of a suspect recording may be readable but not on the disk.
func (r *Recording) Suspect() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.suspect || r.sealed.Suspect
}

func (r *Recording) isUnsyncable(segment string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unsyncable[segment]
}

// firstUnsyncable returns the name of the first segment whose fsync failed in this process, or ""
// if none failed.
func (r *Recording) firstUnsyncable() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.suspectSegment
}

// markSuspect records a failed fsync, also across restarts. Writing suspect.json is best effort on
// a failing disk. sealed.json records it too, if this process lives to write it.
func (r *Recording) markSuspect(segment string) {
	r.mu.Lock()
	first := !r.suspect
	r.suspect = true
	if r.suspectSegment == "" {
		r.suspectSegment = segment
	}
	if r.unsyncable == nil {
		r.unsyncable = make(map[string]bool)
	}
	r.unsyncable[segment] = true
	r.mu.Unlock()
	if !first {
		return
	}
	data, err := encodeState(struct {
		Segment string `json:"segment"`
		UnixNS  int64  `json:"unix_ns"`
	}{segment, time.Now().UnixNano()})
	if err == nil {
		err = r.spool.disk.WithBallast(func() error {
			return durable.WriteFileOnce(r.spool.fs, "suspect",
				r.path(suspectName), data)
		})
	}
	if err != nil {
		_ = r.spool.metrics.count(opState, err)
		r.spool.log.Error("cannot write suspect.json after a failed fsync", "egress_id", r.ID(), "error", err)
	}
}

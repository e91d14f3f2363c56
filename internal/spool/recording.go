package spool

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
)

// Names in the directory of a recording.
const (
	recordingName = "recording.json"
	sealedName    = "sealed.json"
	exportName    = "export.json"
	uploadedName  = "uploaded.json"
	suspectName   = "suspect.json"
	joinName      = "join.json"
	stagingName   = "objects"
	damagedSuffix = ".damaged"
)

// Recording is one recording in the spool. Its methods are safe for concurrent
// use.
type Recording struct {
	spool    *Spool
	dir      string
	info     Info
	readOnly bool

	// stateMu is held while a state file is written, so that there is one
	// writer of each; it is taken before mu.
	stateMu sync.Mutex

	mu      sync.Mutex // guards the fields below; never held over I/O
	state   State
	sealed  Sealed
	suspect bool
	// suspectSegment is the first whose fsync failed in this process.
	suspectSegment string
	writer         *Writer
	// unsyncable are the segments whose fsync failed in this process: another
	// one that succeeded would prove nothing.
	unsyncable map[string]bool
	silent     map[string]*atomic.Int32 // by segment, see localSource
}

// ID returns the egress id.
func (r *Recording) ID() string { return r.info.EgressID }

// Info returns what recording.json holds.
func (r *Recording) Info() Info { return r.info }

// Dir returns the directory of the recording.
func (r *Recording) Dir() string { return r.dir }

// State returns how far the recording has come.
func (r *Recording) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Sealed returns what sealed.json holds; false where the recording is open.
func (r *Recording) Sealed() (Sealed, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sealed
	s.Segments = slices.Clone(s.Segments)
	return s, r.state != StateOpen
}

// StagingDir returns where derived objects may be kept before they are
// delivered. It may not exist, it is not durable, and RemoveData removes it.
func (r *Recording) StagingDir() string { return filepath.Join(r.dir, stagingName) }

func (r *Recording) path(name string) string { return filepath.Join(r.dir, name) }

// Writer returns the writer of an open recording, of which there is one at a
// time. It recovers: the torn tail that a crash may have left is cut, all
// segments are made durable, and the first Append begins a new segment, with
// the next index.
func (r *Recording) Writer() (*Writer, error) { return r.resume(nil) }

func (r *Recording) resume(f Follower) (*Writer, error) {
	w, err := r.openWriter(f)
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", r.ID(), err)
	}
	return w, nil
}

func (r *Recording) openWriter(f Follower) (*Writer, error) {
	if r.readOnly {
		return nil, ErrReadOnly
	}
	w := &Writer{recording: r, spool: r.spool, follower: f, steps: newSteps(r.spool.clock)}
	r.mu.Lock()
	switch {
	case r.state != StateOpen:
		r.mu.Unlock()
		return nil, ErrSealed
	case r.writer != nil:
		r.mu.Unlock()
		return nil, ErrBusy
	}
	r.writer = w // reserved; nobody else can see w yet but Close, which waits for syncMu
	w.syncMu.Lock()
	defer w.syncMu.Unlock()
	r.mu.Unlock()
	if r.spool.isClosed() { // looked at after w is registered, so that Close sees w or we see Close
		r.release(w)
		return nil, ErrClosed
	}
	if err := w.prepare(); err != nil {
		r.release(w)
		return nil, r.spool.metrics.count(opRead, err)
	}
	return w, nil
}

func (r *Recording) currentWriter() *Writer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writer
}

func (r *Recording) release(w *Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writer == w {
		r.writer = nil
	}
}

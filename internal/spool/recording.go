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
	stopName      = "stop.json"
	runsName      = "runs.json"
	requestsName  = "requests.json"
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

	// stateMu serialises the writes of state files. It is taken before mu.
	stateMu sync.Mutex

	mu      sync.Mutex // guards the fields below; never held over I/O
	state   State
	sealed  Sealed
	suspect bool
	stop    Stop     // see [Recording.Stop]
	runs    []string // see [Recording.AddRun]
	// requests are the ids of the API requests that found this recording, oldest first.
	requests []string
	// suspectSegment is the first segment whose fsync failed in this process.
	suspectSegment string
	writer         *Writer
	// unsyncable is the set of segments whose fsync failed in this process. A later successful
	// fsync of such a segment proves nothing.
	unsyncable map[string]bool
	silent     map[string]*atomic.Int32 // by segment name, see localSource
	progress   Progress                 // without its State, see [Recording.Watch]
	changed    chan struct{}            // nil: nobody watches
	replaced   atomic.Bool              // a copy of progress.Replaced
}

// ID returns the egress id.
func (r *Recording) ID() string { return r.info.EgressID }

// Info returns the content of recording.json.
func (r *Recording) Info() Info { return r.info }

// Dir returns the directory of the recording.
func (r *Recording) Dir() string { return r.dir }

// State returns the state of the recording.
func (r *Recording) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Sealed returns the content of sealed.json, and false if the recording is open.
func (r *Recording) Sealed() (Sealed, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sealed
	s.Segments = slices.Clone(s.Segments)
	return s, r.state != StateOpen
}

// StagingDir returns the directory for derived objects before their delivery. The directory may not
// exist and is not durable. RemoveData removes it.
func (r *Recording) StagingDir() string { return filepath.Join(r.dir, stagingName) }

func (r *Recording) path(name string) string { return filepath.Join(r.dir, name) }

// Writer returns the writer of an open recording. A recording has at most one writer at a time.
// Writer runs recovery: it cuts the torn tail that a crash may have left and makes all segments
// durable. The first Append starts a new segment with the next index.
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
	r.writer = w // reserved; only Close can see w now, and it waits for syncMu
	w.syncMu.Lock()
	defer w.syncMu.Unlock()
	r.mu.Unlock()
	// checked after w is registered: either Close sees w or this check sees Close
	if r.spool.isClosed() {
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

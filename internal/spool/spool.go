package spool

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/durable"
)

// The defaults of Options.
const (
	DefaultSyncInterval = 200 * time.Millisecond
	DefaultSegmentSize  = 64 << 20
	DefaultSegmentAge   = 15 * time.Minute
)

// Names in the data directory.
const (
	lockName       = "lock"
	instanceName   = "instance"
	recordingsName = "recordings"
	quarantineName = "quarantine"
	forgetSuffix   = ".forgotten" // of a directory that is being removed
)

// Options tunes a Spool. The zero value is usable.
type Options struct {
	// SyncInterval is how long a written frame may wait for the fdatasync that
	// makes it survive a power failure: the recovery point objective. 0 means
	// DefaultSyncInterval.
	SyncInterval time.Duration
	// SegmentSize is the size in bytes at which a segment is closed; a frame is
	// never split. A closed segment was synced for the last time and is never
	// written again, so what befalls the one that is being written, a failed fsync
	// above all, concerns at most this much. 0 means DefaultSegmentSize.
	SegmentSize int64
	// SegmentAge is how long after its first frame a segment is closed however
	// small it is, give or take a tenth: the same bound in time. A recording in
	// which nothing happens makes no further segments. 0 means DefaultSegmentAge.
	SegmentAge time.Duration
	// DiskMinFree is the free space in bytes below which no recording of a new
	// session is begun, so that so much is left to those that are open when the
	// disk fills up. A sixteenth of it is the size of the ballast, which is released when a
	// write that cannot wait finds no space: see Writer.AppendReserved. 0: the disk
	// is not watched, and there is no ballast.
	DiskMinFree int64
	Logger      *slog.Logger          // nil: silent
	FS          durable.FS            // nil: the operating system's
	Clock       Clock                 // nil: the operating system's
	Registerer  prometheus.Registerer // nil: the metrics are not exported
}

// Spool is the local store of recordings of one process. Its methods are safe
// for concurrent use.
type Spool struct {
	dir         string
	fs          durable.FS
	clock       Clock
	log         *slog.Logger
	metrics     *metrics
	segmentSize int64
	segmentAge  time.Duration
	disk        *diskguard.Guard
	syncer      *syncer   // nil: read-only
	lock        io.Closer // nil: read-only
	done        chan struct{}
	maintenance sync.WaitGroup

	mu         sync.Mutex // guards the fields below; not held over I/O, except by Instance
	recordings map[string]*Recording
	sessions   map[sessionOf][]*Recording // the same, by session
	failed     map[string]time.Time       // egress id: its last failed fsync
	problems   []Problem
	instance   string
	closed     bool
}

// sessionOf names a session: its id is that of its project.
type sessionOf struct{ project, session string }

// Problem is a directory that is not a usable recording.
type Problem struct {
	Path string // where it is now
	Err  error
}

// Close syncs and closes all writers, stops the syncer and releases the lock.
func (s *Spool) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed || s.lock == nil {
		return nil
	}
	close(s.done)
	s.maintenance.Wait()
	s.syncer.stop()
	var errs []error
	for _, r := range s.Recordings() {
		if w := r.currentWriter(); w != nil {
			errs = append(errs, w.Close())
		}
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// Dir returns the data directory.
func (s *Spool) Dir() string { return s.dir }

func (s *Spool) recordingsDir() string { return filepath.Join(s.dir, recordingsName) }

// Problems returns the directories that were no usable recordings when the spool
// was opened.
func (s *Spool) Problems() []Problem { return slices.Clone(s.problems) }

const instanceAlphabet = "abcdefghijklmnopqrstuvwxyz234567" // 32 letters, so that b&31 is unbiased

// Instance returns the name of this data directory's service: 8 random
// characters of [a-z2-7], made once and durable when they are returned.
func (s *Spool) Instance() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.instance != "" {
		return s.instance, nil
	}
	path := filepath.Join(s.dir, instanceName)
	b, err := s.fs.ReadFile("instance", path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || err != nil && s.lock == nil {
		return "", fmt.Errorf("instance name: %w", err)
	}
	if err != nil {
		b = make([]byte, 8)
		_, _ = rand.Read(b) // never fails, see crypto/rand
		for i := range b {
			b[i] = instanceAlphabet[b[i]&31]
		}
		b = append(b, '\n')
	}
	if s.lock != nil { // also where it exists: its name may not be durable yet
		if err := durable.WriteFileOnce(s.fs, "instance", path, b); err != nil {
			return "", s.metrics.count(opState, err)
		}
	}
	name := string(bytes.TrimSpace(b))
	if !validEgressID(name) {
		return "", fmt.Errorf("instance name: %s is damaged", path)
	}
	s.instance = name
	return name, nil
}

// Create begins a recording. When it returns nil, recording.json survives a
// power failure. It completes info: FormatVersion, and where they are missing
// EgressID, CreatedUnixNS, Part. While there is less free space than
// Options.DiskMinFree it fails with an error that wraps diskguard.ErrLow; a further
// part of a session that was being recorded is begun as long as there is any.
func (s *Spool) Create(info Info) (*Recording, error) {
	if s.lock == nil {
		return nil, fmt.Errorf("create recording: %w", ErrReadOnly)
	}
	info.FormatVersion = FormatVersion
	info.EgressID = cmp.Or(info.EgressID, NewEgressID())
	info.CreatedUnixNS = cmp.Or(info.CreatedUnixNS, time.Now().UnixNano())
	info.Part = cmp.Or(info.Part, 1)
	if !validEgressID(info.EgressID) {
		return nil, errors.New("create recording: egress id is not a plain name")
	}
	data, err := encodeState(info)
	if err != nil {
		return nil, fmt.Errorf("create recording: %w", err)
	}
	r := &Recording{
		spool: s, dir: filepath.Join(s.recordingsDir(), info.EgressID), info: info,
		state: StateOpen,
	}
	if s.isClosed() {
		return nil, fmt.Errorf("create recording: %w", ErrClosed)
	}
	if err := s.disk.Admit(info.Part > 1); err != nil {
		s.metrics.refused.Inc()
		return nil, fmt.Errorf("create recording: %w", err)
	}
	if err := s.makeRecording(r.dir, data); err != nil {
		return nil, fmt.Errorf("create recording: %w", s.metrics.count(opCreate, err))
	}
	s.mu.Lock()
	s.register(r)
	s.mu.Unlock()
	return r, nil
}

// register makes r the recording of its id, in the place of another where there is one.
// Called with mu held, or before anybody else knows the spool.
func (s *Spool) register(r *Recording) {
	s.unregister(r.ID())
	s.recordings[r.ID()] = r
	of := sessionOf{r.info.ProjectID, r.info.SessionID}
	s.sessions[of] = append(s.sessions[of], r)
}

// unregister removes the recording with this id, if there is one. Called with mu held.
func (s *Spool) unregister(id string) {
	r, ok := s.recordings[id]
	if !ok {
		return
	}
	delete(s.recordings, id)
	of := sessionOf{r.info.ProjectID, r.info.SessionID}
	left := slices.DeleteFunc(s.sessions[of], func(other *Recording) bool { return other == r })
	if len(left) == 0 {
		delete(s.sessions, of)
		return
	}
	s.sessions[of] = left
}

func (s *Spool) makeRecording(dir string, info []byte) error {
	if err := s.fs.Mkdir("create", dir); err != nil {
		return err
	}
	err := durable.WriteFileOnce(s.fs, "create", filepath.Join(dir, recordingName), info)
	if err == nil {
		err = s.fs.SyncDir("create", s.recordingsDir())
	}
	if err != nil {
		// The error says that there is no recording, so none may be found after a restart.
		_, derr := s.discard(dir)
		return errors.Join(err, derr)
	}
	return nil
}

// discard removes a recording's directory at one stroke: after a crash it is
// found complete or not at all. gone says that it has lost its name.
func (s *Spool) discard(dir string) (gone bool, err error) {
	to := dir + forgetSuffix
	if err := s.fs.Rename("forget", dir, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err // not there: an earlier call got this far
	}
	err = s.fs.SyncDir("forget", s.recordingsDir())
	return true, errors.Join(err, s.fs.RemoveAll("forget", to))
}

// Recordings returns all recordings, the oldest first, those of one instant by
// session and part.
func (s *Spool) Recordings() []*Recording {
	s.mu.Lock()
	all := make([]*Recording, 0, len(s.recordings))
	for _, r := range s.recordings {
		all = append(all, r)
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *Recording) int {
		return cmp.Or(cmp.Compare(a.info.CreatedUnixNS, b.info.CreatedUnixNS),
			cmp.Compare(a.info.SessionID, b.info.SessionID),
			cmp.Compare(a.info.Part, b.info.Part), cmp.Compare(a.info.EgressID, b.info.EgressID))
	})
	return all
}

// Latest returns the recording of a project's session that has the highest part,
// false where there is none. It costs the same with any number of recordings.
func (s *Spool) Latest(projectID, sessionID string) (*Recording, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found *Recording
	for _, r := range s.sessions[sessionOf{projectID, sessionID}] {
		if found == nil || r.info.Part > found.info.Part {
			found = r
		}
	}
	return found, found != nil
}

// Recording returns the recording with this id.
func (s *Spool) Recording(egressID string) (*Recording, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.recordings[egressID]
	return r, ok
}

func (s *Spool) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

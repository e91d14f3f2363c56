package spool

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
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
	forgetSuffix   = ".forgotten" // suffix of a directory that is being removed
)

// Options tunes a Spool. The zero value is usable.
type Options struct {
	// SyncInterval is the longest time that a written frame waits for the fdatasync that makes it
	// durable: the recovery point objective. 0 means DefaultSyncInterval.
	SyncInterval time.Duration
	// SegmentSize is the size in bytes at which a segment is closed. Frames are never split. A
	// closed segment has had its last sync and is never written again, so a fault in the current
	// segment, such as a failed fsync, affects at most this many bytes. 0 means DefaultSegmentSize.
	SegmentSize int64
	// SegmentAge is the age at which a segment is closed regardless of its size, within a tenth. It
	// bounds the effect of a fault in time. A recording that receives no frames starts no new
	// segments. 0 means DefaultSegmentAge.
	SegmentAge time.Duration
	// DiskMinFree is the free space in bytes below which no recording of a new session starts. It
	// keeps this space for the open recordings when the disk fills up. The ballast is a sixteenth
	// of it and is released when an urgent write finds no space: see Writer.AppendReserved. If
	// DiskMinFree is 0, the disk is not monitored and there is no ballast.
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

	exclusionsMu sync.Mutex // held while the exclusions change; taken before mu

	mu         sync.Mutex // guards the fields below; not held over I/O, except by Instance
	recordings map[string]*Recording
	sessions   map[sessionOf][]*Recording // the recordings, by session
	failed     map[string]time.Time       // time of the last failed fsync, by egress id
	problems   []Problem
	instance   string
	closed     bool
	excluded   exclusions
}

// sessionOf identifies a session. A session id is scoped to its project.
type sessionOf struct{ project, session string }

// Problem is a directory that is not a usable recording.
type Problem struct {
	Path string // its current path
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

// Problems returns the directories that were not usable recordings when the spool was opened.
func (s *Spool) Problems() []Problem { return slices.Clone(s.problems) }

const instanceAlphabet = "abcdefghijklmnopqrstuvwxyz234567" // 32 letters, so that b&31 is unbiased

// Instance returns the name of this data directory's service: 8 random characters of [a-z2-7]. The
// name is generated once and is durable when Instance returns.
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
	if s.lock != nil { // even if the file exists, because its name may not be durable yet
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

// Create starts a recording. When it succeeds, recording.json survives a power failure. Create sets
// FormatVersion, and EgressID, CreatedUnixNS and Part if they are missing. While free space is
// below Options.DiskMinFree, Create fails with an error that wraps diskguard.ErrLow. A further part
// of a session is an exception: it starts as long as there is any free space.
func (s *Spool) Create(info Info) (*Recording, error) {
	if s.lock == nil {
		return nil, fmt.Errorf("create recording: %w", ErrReadOnly)
	}
	info.FormatVersion = FormatVersion
	info.EgressID = cmp.Or(info.EgressID, NewEgressID())
	info.CreatedUnixNS = cmp.Or(info.CreatedUnixNS, time.Now().UnixNano())
	info.Part = cmp.Or(info.Part, 1)
	if !validEgressID(info.EgressID) {
		return nil, errors.New("create recording: the egress id is not a plain file name")
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

// register adds r to the index and replaces any recording with the same id. Called with mu held, or
// before other goroutines can use the spool.
func (s *Spool) register(r *Recording) {
	s.unregister(r.ID())
	s.recordings[r.ID()] = r
	for _, id := range r.sessionIDs() {
		of := sessionOf{r.info.ProjectID, id}
		s.sessions[of] = append(s.sessions[of], r)
	}
}

// unregister removes the recording with this id, if there is one. Called with mu held.
func (s *Spool) unregister(id string) {
	r, ok := s.recordings[id]
	if !ok {
		return
	}
	delete(s.recordings, id)
	for _, id := range r.sessionIDs() {
		of := sessionOf{r.info.ProjectID, id}
		left := slices.DeleteFunc(s.sessions[of], func(other *Recording) bool { return other == r })
		if len(left) == 0 {
			delete(s.sessions, of)
			continue
		}
		s.sessions[of] = left
	}
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
		// The error means that there is no recording, so recovery must not find one after a
		// restart.
		_, derr := s.discard(dir)
		return errors.Join(err, derr)
	}
	return nil
}

// discard removes a recording's directory atomically: after a crash, recovery finds it complete or
// not at all. gone reports that the directory has lost its name.
func (s *Spool) discard(dir string) (gone bool, err error) {
	to := dir + forgetSuffix
	if err := s.fs.Rename("forget", dir, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err // ErrNotExist: an earlier call got this far
	}
	err = s.fs.SyncDir("forget", s.recordingsDir())
	return true, errors.Join(err, s.fs.RemoveAll("forget", to))
}

// Recordings returns all recordings, oldest first. Recordings with equal creation times are ordered
// by session and part.
func (s *Spool) Recordings() []*Recording {
	return s.Select(func(*Recording) bool { return true })
}

// All yields all recordings in no particular order. No lock of the spool is held meanwhile.
func (s *Spool) All() iter.Seq[*Recording] {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.recordings))
	s.mu.Unlock()
	return slices.Values(all)
}

// Select returns the recordings for which keep returns true, in the order of [Spool.Recordings]. No
// lock of the spool is held while keep is called.
func (s *Spool) Select(keep func(*Recording) bool) []*Recording {
	var all []*Recording
	for r := range s.All() {
		if keep(r) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b *Recording) int {
		if c := cmp.Compare(a.info.CreatedUnixNS, b.info.CreatedUnixNS); c != 0 {
			return c // almost always: the rest would cost most of the time
		}
		return cmp.Or(cmp.Compare(a.info.SessionID, b.info.SessionID),
			cmp.Compare(a.info.Part, b.info.Part), cmp.Compare(a.info.EgressID, b.info.EgressID))
	})
	return all
}

// Latest returns the recording of a project's session with the highest part, and false if there is
// none. The id may be that of a run that continued the session, see [Recording.AddRun]. Its cost
// does not depend on the number of recordings in the spool.
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

package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/durable"
)

// Open opens the spool in dir, creates the directory if needed, and takes its lock: at most one
// process records into a data directory. Opening always runs recovery: each recording gets the
// state that its files determine. A directory that is not a recording is logged, moved to
// <dir>/quarantine, and does not affect other recordings.
func Open(dir string, o Options) (*Spool, error) {
	s := newSpool(dir, o)
	if err := s.open(); err != nil {
		if s.lock != nil {
			err = errors.Join(err, s.lock.Close())
		}
		return nil, fmt.Errorf("open spool %s: %w", dir, err)
	}
	interval := cmp.Or(max(o.SyncInterval, 0), DefaultSyncInterval)
	s.syncer = startSyncer(interval, s.log)
	s.maintenance.Go(s.runMaintenance)
	return s, nil
}

// OpenReadOnly opens the spool in dir for reading, without its lock: another process may be
// recording into it. It changes nothing. The spool reflects the state at the time of the call.
func OpenReadOnly(dir string) (*Spool, error) {
	s := newSpool(dir, Options{})
	if err := s.load(true); err != nil {
		return nil, fmt.Errorf("open spool %s: %w", dir, err)
	}
	return s, nil
}

func newSpool(dir string, o Options) *Spool {
	s := &Spool{
		dir: dir, fs: o.FS, clock: o.Clock, log: o.Logger, done: make(chan struct{}),
		segmentSize: cmp.Or(max(o.SegmentSize, 0), DefaultSegmentSize),
		segmentAge:  cmp.Or(max(o.SegmentAge, 0), DefaultSegmentAge),
		recordings:  make(map[string]*Recording), sessions: make(map[sessionOf][]*Recording),
		failed: make(map[string]time.Time),
	}
	if s.fs == nil {
		s.fs = durable.OS{}
	}
	if s.clock == nil {
		s.clock = systemClock{}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.metrics = newMetrics(o.Registerer, s)
	s.disk = diskguard.New(s.fs, dir, diskguard.Options{
		MinFree: o.DiskMinFree, Logger: s.log,
		Failed: func(op string, err error) { _ = s.metrics.count(op, err) },
	})
	s.fs = s.disk.FS()
	return s
}

func (s *Spool) open() error {
	if err := durable.MkdirAll(s.fs, "mkdir-data", s.dir); err != nil {
		return err
	}
	lock, err := s.fs.Lock("lock", filepath.Join(s.dir, lockName))
	if err != nil {
		return err
	}
	s.lock = lock
	if err := durable.MkdirAll(s.fs, "mkdir-data", s.recordingsDir()); err != nil {
		return err
	}
	s.disk.Start()
	s.loadExclusions()
	return s.load(false)
}

// load fills s.recordings from the disk.
func (s *Spool) load(readOnly bool) error {
	if !readOnly {
		// A process that was killed while it created a recording may have left a directory that is
		// visible but not durable. A power failure would remove it with everything recorded into it
		// from now on.
		if err := s.fs.SyncDir("load", s.recordingsDir()); err != nil {
			return err
		}
	}
	entries, err := s.fs.ReadDir("load", s.recordingsDir())
	if err != nil {
		return err
	}
	if !readOnly {
		changed, err := s.recoverReplacements(entries, "")
		if err != nil {
			return err
		}
		if changed {
			if entries, err = s.fs.ReadDir("load", s.recordingsDir()); err != nil {
				return err
			}
		}
	}
	for _, e := range entries {
		path := filepath.Join(s.recordingsDir(), e.Name())
		if !e.IsDir() {
			continue
		}
		// In read-only mode, another process may be writing this replacement.
		if strings.HasSuffix(e.Name(), replacementSuffix) {
			continue
		}
		if strings.HasSuffix(e.Name(), forgetSuffix) {
			if !readOnly {
				s.sweep(path)
			}
			continue
		}
		r, err := s.loadRecording(path, readOnly)
		switch {
		case err == nil:
			s.register(r)
		case readOnly:
			s.problems = append(s.problems, Problem{path, err})
		default:
			s.handleUnreadable(path, err)
		}
	}
	return nil
}

func (s *Spool) loadRecording(dir string, readOnly bool) (*Recording, error) {
	b, err := s.fs.ReadFile("load", filepath.Join(dir, recordingName))
	if errors.Is(err, fs.ErrNotExist) {
		segments, err := listSegments(s.fs, dir)
		if err != nil {
			return nil, err
		}
		return nil, &notRecordingError{reason: "no " + recordingName, empty: len(segments) == 0}
	}
	if err != nil {
		return nil, err
	}
	info, err := DecodeInfo(b)
	if _, newer := errors.AsType[*newerError](err); newer {
		return nil, err
	}
	if err != nil {
		return nil, &notRecordingError{reason: "damaged: " + err.Error()}
	}
	if info.EgressID != filepath.Base(dir) {
		return nil, &notRecordingError{reason: recordingName + " does not belong to this directory"}
	}
	if !info.hasOwnPrefix() {
		// An edited key_prefix must not make the service overwrite or remove another recording.
		was := info.KeyPrefix
		info = info.WithOwnPrefix()
		s.log.Error("key_prefix in recording.json does not belong to the recording; using its "+
			"own prefix",
			"egress_id", info.EgressID, "key_prefix", was, "taken", info.KeyPrefix)
	}
	r := &Recording{spool: s, dir: dir, info: info, readOnly: readOnly}
	if err := r.load(); err != nil {
		return nil, err
	}
	return r, nil
}

// sweep removes a leftover directory.
func (s *Spool) sweep(path string) {
	if err := s.fs.RemoveAll("forget", path); err != nil {
		s.log.Error("cannot remove an incomplete recording", "path", path, "error",
			s.metrics.count(opRemove, err))
	}
}

package spool

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/syncflow/textegress/internal/durable"
)

// notRecordingError says that a directory will never be a recording, in contrast
// to one that cannot be read now.
type notRecordingError struct {
	reason string
	empty  bool // a leftover of a Create that never returned
}

func (e *notRecordingError) Error() string { return e.reason }

// handleUnreadable deals with a directory that could not be loaded.
func (s *Spool) handleUnreadable(path string, err error) {
	notRecording, ok := errors.AsType[*notRecordingError](err)
	switch {
	case !ok:
		// It may be readable tomorrow, or by a newer program.
		_ = s.metrics.count(opRead, err)
	case notRecording.empty:
		// Create made the directory, the process died before recording.json:
		// nobody was told of this recording.
		s.sweep(path)
		return
	default:
		moved, merr := s.quarantine(path)
		if merr == nil {
			path = moved
		}
		err = errors.Join(err, merr)
	}
	s.problems = append(s.problems, Problem{path, err})
	s.log.Error("not a usable recording", "path", path, "error", err)
}

func (s *Spool) quarantine(path string) (string, error) {
	dir := filepath.Join(s.dir, quarantineName)
	if err := durable.MkdirAll(s.fs, "quarantine", dir); err != nil {
		return "", err
	}
	to := filepath.Join(dir, filepath.Base(path))
	for n := 2; ; n++ {
		taken, err := s.fs.Exists("quarantine", to)
		if err != nil {
			return "", err
		}
		if !taken {
			break
		}
		to = filepath.Join(dir, fmt.Sprintf("%s-%d", filepath.Base(path), n))
	}
	if err := s.fs.Rename("quarantine", path, to); err != nil {
		return "", err
	}
	return to, errors.Join(s.fs.SyncDir("quarantine", dir),
		s.fs.SyncDir("quarantine", s.recordingsDir()))
}

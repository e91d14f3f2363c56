package spool

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/syncflow/textegress/internal/durable"
)

// notRecordingError reports that a directory is not and cannot become a recording, as opposed to
// one that cannot be read now.
type notRecordingError struct {
	reason string
	empty  bool // left over from a Create that never returned
}

func (e *notRecordingError) Error() string { return e.reason }

// handleUnreadable deals with a directory that could not be loaded.
func (s *Spool) handleUnreadable(path string, err error) {
	notRecording, ok := errors.AsType[*notRecordingError](err)
	switch {
	case !ok:
		// The directory may become readable later, or a newer program may read it.
		_ = s.metrics.count(opRead, err)
	case notRecording.empty:
		// Create made the directory, but the process died before it wrote recording.json. Create
		// did not return this recording to any caller.
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
	s.log.Error("unusable recording directory", "path", path, "error", err)
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

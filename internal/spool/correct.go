package spool

import (
	"fmt"
	"path/filepath"

	"github.com/syncflow/textegress/internal/durable"
)

// Correct sets the room and the key prefix of an open recording whose recorder was never in a room
// because the announcement named the wrong one. When Correct returns nil, the correction survives a
// power failure. After an error, recording.json holds either the old or the new content. The
// returned recording replaces r, which must no longer be used.
func (s *Spool) Correct(r *Recording, roomName, keyPrefix string) (*Recording, error) {
	corrected, err := s.correct(r, roomName, keyPrefix)
	if err != nil {
		return nil, fmt.Errorf("recording %s: correct its room: %w", r.ID(), err)
	}
	return corrected, nil
}

func (s *Spool) correct(r *Recording, roomName, keyPrefix string) (*Recording, error) {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	switch {
	case r.readOnly:
		return nil, ErrReadOnly
	case s.isClosed():
		return nil, ErrClosed
	case r.currentWriter() != nil:
		return nil, ErrBusy
	case r.State() != StateOpen:
		return nil, fmt.Errorf("%w: %s", ErrState, r.State())
	}
	info := r.Info()
	info.RoomName, info.KeyPrefix = roomName, keyPrefix
	data, err := encodeState(info)
	if err != nil {
		return nil, err
	}
	write := func() error {
		return durable.ReplaceFile(s.fs, "correct", filepath.Join(r.dir, recordingName), data)
	}
	if err := s.disk.WithBallast(write); err != nil {
		return nil, s.metrics.count(opState, err)
	}
	// Info is read without a lock, so the correction needs a new Recording.
	corrected, err := s.loadRecording(r.dir, false)
	if err != nil {
		return nil, s.metrics.count(opRead, err)
	}
	s.mu.Lock()
	s.register(corrected)
	s.mu.Unlock()
	return corrected, nil
}

package spool

import (
	"fmt"
	"path/filepath"

	"github.com/syncflow/textegress/internal/durable"
)

// Correct gives an open recording the room and the place of delivery that it should have had from
// the beginning, for a recording that was never in a room: its announcement named a wrong one.
// When it returns nil, that survives a power failure; after an error recording.json is the old or
// the new one. r is not to be used any more: the recording that is returned has taken its place.
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
	// A recording of its own, because Info is read without a lock.
	corrected, err := s.loadRecording(r.dir, false)
	if err != nil {
		return nil, s.metrics.count(opRead, err)
	}
	s.mu.Lock()
	s.register(corrected)
	s.mu.Unlock()
	return corrected, nil
}

package egressinfo

import (
	"fmt"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// Joined reports whether the recorder was in the room, and the sid of the first run of the room
// that it joined. It reads the segments up to the frame of the join, which is one of the first.
// Once the local data of a delivered recording is removed, Joined uses the final status: the
// recorder of a recording that ended normally has joined. The sid is then unknown.
func Joined(rec *spool.Recording) (roomSID string, joined bool, err error) {
	for f, err := range rec.Frames() {
		if err != nil {
			return "", false, fmt.Errorf("has recording %s joined its room? %w", rec.ID(), err)
		}
		switch f.Type {
		case segment.FrameEvent:
			e, err := segment.DecodeEvent(f.Payload)
			if err == nil && e.Kind == segment.KindJoined {
				return e.RoomSID, true, nil
			}
		case segment.FrameState:
			s, err := segment.DecodeState(f.Payload)
			if err == nil && len(s.RoomSIDs) > 0 {
				return s.RoomSIDs[0], true, nil
			}
		case segment.FramePacket:
			return "", true, nil // the frame of the join is damaged
		}
	}
	sealed, ok := rec.Sealed()
	return "", ok && sealed.Status == textegress.StatusComplete, nil
}

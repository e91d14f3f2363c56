// Package status describes recordings in the data directory as /status.json does, for the service
// and for the commands that work without it.
package status

import (
	"time"

	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/web"
)

// Stored returns what the files of a recording state. Status is "" while the recording is open,
// because only its recorder knows it.
func Stored(rec *spool.Recording) web.RecordingStatus {
	i := rec.Info()
	s := web.RecordingStatus{
		EgressID: i.EgressID, ProjectID: i.ProjectID, SessionID: i.SessionID, RoomName: i.RoomName,
		Part: i.Part, StartedAt: time.Unix(0, i.CreatedUnixNS).UTC(), State: string(rec.State()),
		Suspect: rec.Suspect(),
	}
	if sealed, ok := rec.Sealed(); ok {
		s.Status, s.Reason = string(sealed.Status), sealed.Reason
	}
	return s
}

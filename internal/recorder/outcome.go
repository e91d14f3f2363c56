package recorder

import (
	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/room"
)

// The reasons of a sealed recording that the recorder itself determines. For LiveKit's reasons, see
// [room.Reason].
const (
	ReasonServiceStopped = "service_stopped" // the session may continue; a further part follows
	ReasonUnreachable    = "unreachable"     // the session may continue; a further part follows
	ReasonSessionEnded   = "session_ended"   // the authority reports the end
	ReasonRoomMissing    = "room_missing"    // no room of that name for the whole rejoin window
	ReasonRoomReplaced   = "room_replaced"   // the room of that name belongs to another session
	ReasonInternalError  = "internal_error"  // the recorder failed; a further part follows
	// ReasonStopped: somebody stopped the recording. The session is not recorded again unless
	// somebody asks for it.
	ReasonStopped = "stopped"
	// ReasonOptedOut: the room's creator withdrew the room. A further part follows if the creator
	// admits the recorder again.
	ReasonOptedOut = "opted_out"
)

// The causes of outages other than the end of a connection, for which see [room.Reason].
// docs/FORMAT.md lists all causes.
const (
	causeJoinFailed     = "join_failed"
	causeLateChannels   = "slow_join"
	causeProcessDied    = "process_died"
	causeServiceStopped = "service_stopped"
	causeDiskFull       = "disk_full"
	causeDisk           = "disk" // any other write error
)

// Resumable reports whether a session whose recording was sealed for the given reason gets a
// further part if the session is still running. A room closing does not end its session, which
// continues when people return after a break. The other reasons are final: the platform reports
// that the session has ended, an administrator removed the recorder, somebody stopped the
// recording, or the room's name now belongs to another session. After [ReasonOptedOut], only a new
// announcement leads to a further part.
func Resumable(reason string) bool {
	switch reason {
	case ReasonServiceStopped, ReasonUnreachable, ReasonInternalError, ReasonRoomMissing,
		string(room.ReasonRoomClosed), string(room.ReasonRoomDeleted),
		string(room.ReasonDuplicateIdentity):
		return true
	}
	return false
}

// Removed reports whether a recording was sealed because an administrator removed the recorder from
// the room. The session is then not recorded again unless an operator requests it.
func Removed(reason string) bool { return reason == string(room.ReasonParticipantRemoved) }

// verdict is the decision after a connection or an attempt to join: either another attempt, or the
// end of the recording, with the status and reason to seal it with.
type verdict struct {
	ended  bool
	status textegress.Status
	reason string
}

// joinAgain is the verdict that the recorder tries to join again.
var joinAgain = verdict{}

func endWith(status textegress.Status, reason string) verdict {
	return verdict{ended: true, status: status, reason: reason}
}

// sessionOver returns the verdict that the session has ended: COMPLETE if the room was ever joined,
// otherwise ABORTED.
func (r *Recorder) sessionOver(reason string) verdict {
	if !r.rec.everJoined() {
		return endWith(textegress.StatusAborted, reason)
	}
	return endWith(textegress.StatusComplete, reason)
}

// removed returns the verdict that an administrator removed the recorder, which does not join
// again.
func (r *Recorder) removed() verdict {
	r.log.Warn("an administrator removed the recorder from the room: the session is no longer " +
		"recorded, unless an operator asks for it with `textegress record`")
	return endWith(textegress.StatusAborted, string(room.ReasonParticipantRemoved))
}

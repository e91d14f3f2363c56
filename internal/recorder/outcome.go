package recorder

import (
	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/room"
)

// The reasons of a sealed recording that the recorder itself decides. The
// others are LiveKit's, see [room.Reason].
const (
	ReasonServiceStopped = "service_stopped" // the session may continue; a further part follows
	ReasonUnreachable    = "unreachable"     // likewise
	ReasonSessionEnded   = "session_ended"   // the authority says so
	ReasonRoomMissing    = "room_missing"    // no room of that name for the whole rejoin window
	ReasonRoomReplaced   = "room_replaced"   // the room of that name belongs to another session
	ReasonInternalError  = "internal_error"  // the recorder failed; a further part follows
)

// The causes of outages that are not the reason why a connection ended, see [room.Reason].
// docs/FORMAT.md lists all of them.
const (
	causeJoinFailed     = "join_failed"
	causeLateChannels   = "slow_join"
	causeProcessDied    = "process_died"
	causeServiceStopped = "service_stopped"
	causeDiskFull       = "disk_full"
	causeDisk           = "disk" // any other write error
)

// Resumable reports whether a session whose recording was sealed for this reason gets a further
// part if it turns out to be still running. A room closing does not end its session, which
// continues when people return after a break. The other reasons are final: the platform says that
// the session is over, an administrator removed the recorder, or the room's name now belongs to
// another session.
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
// the room. The session is then not recorded again unless an operator asks for it.
func Removed(reason string) bool { return reason == string(room.ReasonParticipantRemoved) }

// verdict is what follows a connection or a try to join: another try, or the end of the recording,
// which is sealed with a status and a reason.
type verdict struct {
	ended  bool
	status textegress.Status
	reason string
}

// joinAgain is the verdict that the session is not over.
var joinAgain = verdict{}

func endWith(status textegress.Status, reason string) verdict {
	return verdict{ended: true, status: status, reason: reason}
}

// sessionOver is the verdict that the session is over: COMPLETE where the room was ever joined.
func (r *Recorder) sessionOver(reason string) verdict {
	if !r.rec.everJoined() {
		return endWith(textegress.StatusAborted, reason)
	}
	return endWith(textegress.StatusComplete, reason)
}

// removed is the verdict that an administrator removed the recorder: it does not join again.
func (r *Recorder) removed() verdict {
	r.log.Warn("an administrator removed the recorder from the room: the session is no longer " +
		"recorded, unless an operator asks for it with `textegress record`")
	return endWith(textegress.StatusAborted, string(room.ReasonParticipantRemoved))
}

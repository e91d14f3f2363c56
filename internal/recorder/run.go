package recorder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncflow/textegress/internal/room"
)

// On platforms where a session is one run of a room, the room of that name may have another sid
// when the recorder reconnects. Either the room was closed and opened again, which is another
// session. Or the server crashed: a server that keeps rooms only in memory loses their sids, and
// its participants recreate the room, which continues the session.
//
// The recorder accepts a run as a continuation only if all of these conditions hold; otherwise it
// seals the recording with [ReasonRoomReplaced], and the run is recorded as a separate session:
//
//   - The recorder was in the room, and lost the connection less than the rejoin window ago,
//     without a report from the server that the room ended.
//   - The server keeps its rooms in memory. With a shared store, a run keeps its sid in a crash.
//   - The server process has changed: it has another node id.
//   - A participant is in the room.
//   - No other recording has the run.

// errUndecided rejects a room that may or may not continue the session.
var errUndecided = errors.New("it is not known yet whether the room continues the session")

// formerRun states which runs of the room a join accepts in addition to the session's run.
type formerRun struct {
	is  bool   // sessions are runs
	run string // id of the session's run
	// nodeID is the node of the last connection. It is set if a run on another node continues the
	// session.
	nodeID   string
	eligible bool // another run may continue the session; without nodeID, that is undecided
}

// checkRun is checkRoom for platforms where a session is one run of a room.
func (h *handler) checkRun(in room.Info, named string) error {
	switch f := h.former; {
	case named == f.run:
		return nil
	case !f.eligible:
		return ErrOtherSession
	case f.nodeID == "":
		return errUndecided
	case in.NodeID == "" || in.NodeID == f.nodeID:
		return ErrOtherSession
	case len(in.Participants) == 0:
		return errUndecided // it may be a room that only our own join has made
	}
	if err := h.keepRun(in.RoomSID); err != nil {
		return err
	}
	h.log.Info("the server was restarted and its participants made the room again: the session "+
		"continues", "room_sid", in.RoomSID)
	return nil
}

// mayContinue reports whether another run may continue the session, by the conditions that do not
// depend on the run.
func (j *joiner) mayContinue() bool {
	r := j.r
	if !r.o.Runs || !r.rec.everJoined() || r.lostAt.IsZero() || j.lastNode == "" ||
		r.o.SingleNode == nil || r.o.Continue == nil {
		return false
	}
	if !j.lastUntil.IsZero() && !time.Now().Before(j.lastUntil) {
		return false // an earlier process was in the room too long ago
	}
	return time.Since(r.lostAt) < r.o.RejoinWindow
}

// findRun looks for the session's room before a join, because a join would create it. It returns
// errNoRoom if there is none, ErrOtherSession if the room is another session's, and the runs that
// the join accepts.
func (j *joiner) findRun(ctx context.Context) (formerRun, error) {
	r := j.r
	former := formerRun{is: true, run: r.spooled.Run(), eligible: j.mayContinue()}
	if r.o.FindRoom == nil {
		return former, nil
	}
	find, cancel := context.WithTimeout(ctx, existsTimeout)
	defer cancel()
	found, ok, err := r.o.FindRoom(find)
	switch {
	case errors.Is(err, ErrNoKey):
		return former, nil
	case err != nil:
		return former, fmt.Errorf("look for the room: %w", err)
	case !ok:
		return former, errNoRoom
	case found.SID == former.run:
		return former, nil
	case !former.eligible:
		return former, ErrOtherSession
	}
	single, err := r.o.SingleNode(find)
	switch {
	case err != nil:
		return former, fmt.Errorf("ask how the server keeps its rooms: %w", err)
	case !single:
		return former, ErrOtherSession
	}
	former.nodeID = j.lastNode
	return former, nil
}

// runReplaced returns what follows when the authority reports that another run of the session's
// room is open.
func (j *joiner) runReplaced(a answer) (grant, verdict, error) {
	if !j.mayContinue() {
		return grant{}, j.r.sessionOver(ReasonRoomReplaced), nil
	}
	if g, ok := j.fallbackGrant(); ok {
		return g, joinAgain, nil // the join shows which node the run is on
	}
	if a.err == nil {
		a.err = errNoToken
	}
	return grant{}, joinAgain, a.err
}

// isOver reports whether a run that was never joined has ended: its room does not exist, and a sid
// does not return after a crash.
func (j *joiner) isOver(ctx context.Context) bool {
	return j.r.o.Runs && !j.r.rec.everJoined() && j.roomKnownMissing(ctx)
}

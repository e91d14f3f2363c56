package recorder

import (
	"context"
	"errors"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/segment"
)

// The pauses and timeouts of the join loop. The API and LiveKit each receive at most one request
// per pause. The first retry follows almost immediately, because every moment out of the room may
// cost data.
const (
	longestPause    = 10 * time.Second
	roomMissingPoll = 3 * time.Second
	stateTimeout    = 90 * time.Second
	joinTimeout     = 20 * time.Second
	leaveTimeout    = 5 * time.Second
	// A room that is empty and names no session was probably created by our own join. The recorder
	// leaves it immediately and joins it again after emptyRoomPause at the earliest.
	emptyRoomPause    = 30 * time.Second
	longestEmptyPause = 10 * time.Minute
	// maxDuplicates is the number of consecutive times that another participant may take our
	// identity, which is random, before the recording counts as failed.
	maxDuplicates = 5
	// A connection shorter than goodConnection counts as a failed attempt, so that there is a pause
	// if a server accepts and then drops us.
	goodConnection = time.Minute
	// LiveKit keeps the reliable packets of the last 2 s (1.13: 10 s) for a joining participant.
	// Channels that open later miss packets.
	keptForJoining = 2 * time.Second
)

// errNeverJoined means that the service stopped before the first join.
var errNeverJoined = errors.New("stopped before the first join")

// recordUntilEnded joins the room, waits until the connection ends, and rejoins, until the session
// has ended or ctx is done. An error means that the recording stays open on disk.
func (r *Recorder) recordUntilEnded(ctx context.Context) (verdict, error) {
	if r.o.Excluded && r.stopReason() == "" {
		return endWith(textegress.StatusAborted, string(room.ReasonParticipantRemoved)), nil
	}
	j := &joiner{r: r, unknownSince: time.Now()}
	defer j.cancelQuestion()
	j.loadGrant()
	askFirst := !r.o.Fresh
	for {
		if stopped(ctx) {
			return r.stopVerdict()
		}
		v, err := r.joinOnce(ctx, j, askFirst)
		if err != nil || v.ended {
			return v, err
		}
		askFirst = true
	}
}

// joinOnce tries to join once and, if that succeeds, records until the connection ends. It returns
// after the pause before the next attempt.
func (r *Recorder) joinOnce(ctx context.Context, j *joiner, askFirst bool) (verdict, error) {
	h := newHandler(ctx, r)
	g, v, err := j.admission(ctx, askFirst)
	switch {
	case v.ended:
		return v, nil
	case err != nil:
		return j.handleJoinError(ctx, h, err)
	case g.token == "" || !r.waitWritable(ctx):
		return joinAgain, nil
	}
	began := time.Now()
	h.unconfirmed = g.own && !r.o.RoomConfirmed && !r.rec.everJoined()
	conn, err := j.join(ctx, h, g)
	if err != nil {
		return j.handleJoinError(ctx, h, err)
	}
	j.unknownSince = time.Now()
	v, err = r.recordConnection(ctx, conn, h, j)
	if err != nil || v.ended {
		return v, err
	}
	if time.Since(began) >= goodConnection {
		j.failures = 0
	} else {
		j.pause(ctx)
	}
	return joinAgain, nil
}

// stopVerdict returns the verdict when somebody stops the recording, or when the service stops. In
// the second case, a recording without a join stays open: there is nothing to deliver, and the next
// start continues it.
func (r *Recorder) stopVerdict() (verdict, error) {
	if reason := r.stopReason(); reason != "" {
		return r.sessionOver(reason), nil
	}
	if !r.rec.everJoined() {
		return joinAgain, errNeverJoined
	}
	return endWith(textegress.StatusComplete, ReasonServiceStopped), nil
}

// recordConnection waits for the end of a connection and returns the verdict. If the session has
// not ended, it states the outage.
func (r *Recorder) recordConnection(ctx context.Context, conn Conn, h *handler, j *joiner,
) (verdict, error) {
	r.opened()
	r.log.Info("joined", "epoch", h.epoch)
	r.endAway()
	if opened := time.Now(); opened.Sub(h.joined) > keptForJoining {
		if err := r.writeLateChannels(ctx, opened, h.joined.UnixNano()); err != nil {
			r.leave(ctx, conn)
			return joinAgain, err
		}
	}
	if !h.maybeMade {
		j.cancelQuestion()
	}
	v := r.waitForDisconnect(ctx, conn, h, j)
	h.dropHeld()
	if v.ended {
		return v, nil
	}
	end := conn.End()
	r.disconnected()
	r.beginAway()
	r.log.Info("left the room", "reason", string(end.Reason))

	if since, err := h.writeError(); err != nil {
		if err := r.writeDiskOutage(ctx, err, since); err != nil {
			return joinAgain, err
		}
	}
	switch {
	case end.Reason == room.ReasonRoomDeleted || end.Reason == room.ReasonRoomClosed:
		return r.sessionOver(string(end.Reason)), nil
	case end.Reason == room.ReasonParticipantRemoved:
		return r.removed(), nil
	case end.Reason == room.ReasonLeft && stopped(ctx):
		return r.stopVerdict()
	case end.Reason == room.ReasonDuplicateIdentity:
		if j.duplicates++; j.duplicates >= maxDuplicates {
			return endWith(textegress.StatusFailed, string(end.Reason)), nil
		}
	default:
		j.duplicates = 0
	}
	r.lostAt = time.Now()
	since := r.rec.outageSinceNS()
	if !end.LastReceived.IsZero() {
		// Participant events may have arrived over the websocket while the data channels were
		// silent.
		since = min(since, end.LastReceived.UnixNano())
	}
	return joinAgain, r.writeOutage(ctx, string(end.Reason), since)
}

// waitForDisconnect waits for the end of a connection. In a room that our own join may have
// created, it queries the authority meanwhile and leaves immediately if the session has ended.
func (r *Recorder) waitForDisconnect(ctx context.Context, conn Conn, h *handler, j *joiner,
) verdict {
	ask := h.maybeMade
	var askLater, save <-chan time.Time
	if interval := r.saveInterval(); interval > 0 {
		j.saveGrant()
		every := time.NewTicker(interval)
		defer every.Stop()
		save = every.C
	}
	for {
		var answers <-chan answer
		if ask && askLater == nil {
			if j.question == nil {
				j.question = r.ask(ctx, query{state: true})
			}
			answers = j.question.answer
		}
		select {
		case <-conn.Done():
			return joinAgain
		case <-ctx.Done():
			r.leave(ctx, conn)
			return joinAgain
		case <-h.broken:
			r.leave(ctx, conn)
			return joinAgain
		case <-save:
			j.saveGrant()
		case <-askLater:
			askLater = nil
		case a := <-answers:
			j.cancelQuestion()
			switch {
			case a.panicked != nil:
				r.leave(ctx, conn)
				panic(a.panicked)
			case a.state == session.Ended:
				r.leave(ctx, conn)
				return r.sessionOver(ReasonSessionEnded)
			case a.state == 0 && a.grant.token == "": // the state is unknown
				askLater = time.After(emptyRoomPause)
			default:
				ask = false
			}
		}
	}
}

// writeLateChannels states the time between the join and the opening of the data channels as a
// separate outage. If the end cannot be written, the outage lasts until the next join, which
// overstates the gap rather than understating it.
func (r *Recorder) writeLateChannels(ctx context.Context, opened time.Time, joinedNS int64) error {
	if err := r.writeOutage(ctx, causeLateChannels, joinedNS); err != nil {
		return err
	}
	if err := r.rec.event(opened.UnixNano(),
		segment.Event{Kind: textegress.KindOutageEnded}); err != nil {
		r.log.Error("cannot write that the data channels have opened", "error", err)
	}
	return nil
}

func stopped(ctx context.Context) bool { return ctx.Err() != nil }

func (r *Recorder) leave(ctx context.Context, conn Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	conn.Leave(ctx)
	<-conn.Done()
}

// state requests the state of the session from the authority, with a timeout.
func (r *Recorder) state(ctx context.Context) (session.State, error) {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	return r.o.Authority.State(ctx)
}

// handleJoinError returns the verdict on a failed attempt to join. If another attempt follows, it
// returns after the pause before it. An error means that the recording stays open on disk.
func (j *joiner) handleJoinError(ctx context.Context, h *handler, err error) (verdict, error) {
	r := j.r
	r.noteJoinError(err.Error())
	accepted := r.disconnected()
	h.dropHeld()
	if since, lost := h.writeError(); lost != nil {
		if err := r.writeDiskOutage(ctx, lost, since); err != nil {
			return joinAgain, err
		}
	} else if accepted { // the join was accepted, then the connection failed
		r.lostAt = time.Now()
		if err := r.writeOutage(ctx, causeJoinFailed, r.rec.outageSinceNS()); err != nil {
			return joinAgain, err
		}
	}
	switch {
	case stopped(ctx):
		return joinAgain, nil // the loop ends
	case errors.Is(err, session.ErrEnded):
		return r.sessionOver(ReasonSessionEnded), nil
	case errors.Is(err, session.ErrWrongRoom) && !r.rec.everJoined():
		return joinAgain, err
	case errors.Is(err, ErrOtherSession) && r.o.Runs:
		return r.sessionOver(ReasonRoomReplaced), nil
	case errors.Is(err, ErrOtherSession) && h.unconfirmed, errors.Is(err, errUnconfirmedRoom):
		// The announcement may have named a wrong room. The authority grants no token for a wrong
		// room.
		j.needAuthority, j.wrongRoom = true, true
		j.pause(ctx)
		return joinAgain, nil
	case errors.Is(err, ErrOtherSession):
		return r.sessionOver(ReasonRoomReplaced), nil
	case errors.Is(err, errNoRoom):
		return j.roomMissing(ctx), nil
	case errors.Is(err, errEmptyRoom):
		r.log.Warn("the room is empty and names no session; left it again")
		j.needAuthority = h.unconfirmed
		j.noteEmptyRoom()
		if !j.needAuthority { // otherwise the authority is queried first
			_ = backoff.Sleep(ctx, emptyRoomPause)
		}
		return joinAgain, nil
	}
	if end, ok := errors.AsType[*room.DisconnectError](err); ok {
		if v := j.endedWhileJoining(end.Disconnect.Reason); v.ended {
			return v, nil
		}
	}
	if time.Since(j.unknownSince) > r.o.GiveUpAfter {
		r.log.Error("nothing that knows whether the session runs could be reached; the "+
			"recording is sealed, and a new part begins if the session turns out to run",
			"platform", r.o.Platform, "for", time.Since(j.unknownSince).Round(time.Second),
			"error", err)
		return r.sessionOver(ReasonUnreachable), nil
	}
	if j.failures == 0 || j.failures%20 == 0 {
		r.log.Warn("cannot join; trying again", "tries", j.failures+1, "error", err)
	}
	j.pause(ctx)
	return joinAgain, nil
}

// endedWhileJoining returns the verdict if LiveKit ended the connection before the data channels
// were open.
func (j *joiner) endedWhileJoining(reason room.Reason) verdict {
	switch reason {
	case room.ReasonRoomDeleted, room.ReasonRoomClosed:
		return j.r.sessionOver(string(reason))
	case room.ReasonParticipantRemoved:
		return j.r.removed()
	case room.ReasonDuplicateIdentity:
		if j.duplicates++; j.duplicates >= maxDuplicates {
			return endWith(textegress.StatusFailed, string(reason))
		}
	}
	return joinAgain
}

// joinPauses gives the pauses between attempts to join.
var joinPauses = backoff.Policy{First: 100 * time.Millisecond, Max: longestPause}

// pause waits before the next attempt. Pauses grow exponentially, with jitter, so that the
// recorders of a restarted server do not all join at the same moment.
func (j *joiner) pause(ctx context.Context) {
	j.failures++
	_ = backoff.Sleep(ctx, joinPauses.Delay(j.failures))
}

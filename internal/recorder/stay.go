package recorder

import (
	"context"
	"errors"
	mrand "math/rand/v2"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/segment"
)

// The pauses of the rejoin loop. API and LiveKit are both asked at most once a
// pause; the first retry is almost at once because every moment away may cost
// data.
const (
	firstPause      = 100 * time.Millisecond
	longestPause    = 10 * time.Second
	roomMissingPoll = 3 * time.Second
	stateTimeout    = 90 * time.Second
	joinTimeout     = 20 * time.Second
	leaveTimeout    = 5 * time.Second
	// A room that was empty and unnamed when we joined was probably made by our
	// join. It is left at once and not touched again for this long.
	emptyRoomPause    = 30 * time.Second
	longestEmptyPause = 10 * time.Minute
	// How often in a row another participant may take our identity, which is
	// random, before this recording counts as failed.
	maxDuplicates = 5
	// A stay of less than this counts as a failed try: a server that lets us in and
	// throws us out again is not asked without a pause.
	goodStay = time.Minute
	// LiveKit keeps reliable packets for a participant who joins, 2 s long (1.13:
	// 10 s). Channels that open later than that have missed something.
	keptForJoining = 2 * time.Second
)

// The causes of outages that are not the reason of a stay's end, see [room.Reason].
// docs/FORMAT.md lists all of them.
const (
	causeJoinFailed     = "join_failed"
	causeSlowJoin       = "slow_join"
	causeProcessDied    = "process_died"
	causeServiceStopped = "service_stopped"
)

// errNotBegun: the service stopped before the room was joined for the first time.
var errNotBegun = errors.New("stopped before the first join")

// ended is how a recording ends: what is sealed, and why.
type ended struct {
	status textegress.Status
	reason string
}

// stay joins, waits for the end, and joins again, until the session is over or
// ctx is done. An error means that the recording stays open on disk.
func (r *Recorder) stay(ctx context.Context) (textegress.Status, string, error) {
	if r.o.Excluded {
		return textegress.StatusAborted, string(room.ReasonParticipantRemoved), nil
	}
	t := &tries{r: r, unknownSince: time.Now()}
	defer t.drop()
	t.kept()
	check := !r.o.Fresh
	for {
		if ctx.Err() != nil {
			return r.stopped()
		}
		h := newHandler(ctx, r)
		g, e, err := t.admission(ctx, check)
		check = true
		if e != nil {
			return e.status, e.reason, nil
		}
		if err == nil && (g.token == "" || !r.writable(ctx)) {
			continue
		}
		began := time.Now()
		var conn Conn
		if err == nil {
			h.unsure = g.own && !r.o.RoomConfirmed && !r.everJoined()
			conn, err = t.join(ctx, h, g)
		}
		if err != nil {
			e, err := t.refused(ctx, h, err)
			if err != nil {
				return "", "", err
			}
			if e != nil {
				return e.status, e.reason, nil
			}
			continue
		}
		t.unknownSince = time.Now()
		e, err = r.attend(ctx, conn, h, t)
		if err != nil {
			return "", "", err
		}
		if e != nil {
			return e.status, e.reason, nil
		}
		if time.Since(began) >= goodStay {
			t.n = 0
		} else {
			t.pause(ctx)
		}
	}
}

// stopped is the end by our own will. A recording that was never in the room
// stays open: there is nothing to deliver, and the next start goes on with it.
func (r *Recorder) stopped() (textegress.Status, string, error) {
	if e := r.over(ReasonServiceStopped); e.status == textegress.StatusComplete {
		return e.status, e.reason, nil
	}
	return "", "", errNotBegun
}

// over is the end of the session: COMPLETE if we were ever in the room.
func (r *Recorder) over(reason string) *ended {
	if !r.everJoined() {
		return &ended{textegress.StatusAborted, reason}
	}
	return &ended{textegress.StatusComplete, reason}
}

func (r *Recorder) everJoined() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.roomSIDs) > 0
}

// removed is the end by the will of an administrator, which we respect.
func (r *Recorder) removed() *ended {
	r.log.Warn("an administrator removed the recorder from the room: the session is not " +
		"recorded any more, " +
		"unless an operator asks for it with `textegress record`")
	return &ended{textegress.StatusAborted, string(room.ReasonParticipantRemoved)}
}

// attend waits for the end of one stay and says what it means: the end of the
// session, or nil for an outage, which it has then stated.
func (r *Recorder) attend(ctx context.Context, conn Conn, h *handler, t *tries) (*ended, error) {
	r.log.Info("joined", "epoch", h.epoch)
	r.comeBack()
	if opened := time.Now(); opened.Sub(h.joined) > keptForJoining {
		if err := r.slowJoin(ctx, opened, h.joined.UnixNano()); err != nil {
			r.leave(ctx, conn)
			return nil, err
		}
	}
	if !h.fresh {
		t.drop()
	}
	if e := r.wait(ctx, conn, h, t); e != nil {
		return e, nil
	}
	end := conn.End()
	r.mu.Lock()
	r.connected = false
	r.mu.Unlock()
	r.goAway()
	r.log.Info("left the room", "reason", string(end.Reason))

	if since, lost := h.lost(); lost != nil {
		if err := r.diskOutage(ctx, lost, since); err != nil {
			return nil, err
		}
	}
	switch {
	case end.Reason == room.ReasonRoomDeleted || end.Reason == room.ReasonRoomClosed:
		return r.over(string(end.Reason)), nil
	case end.Reason == room.ReasonParticipantRemoved:
		return r.removed(), nil
	case end.Reason == room.ReasonLeft && stopped(ctx):
		return &ended{textegress.StatusComplete, ReasonServiceStopped}, nil
	case end.Reason == room.ReasonDuplicateIdentity:
		if t.duplicates++; t.duplicates >= maxDuplicates {
			return &ended{textegress.StatusFailed, string(end.Reason)}, nil
		}
	default:
		t.duplicates = 0
	}
	r.lostAt = time.Now()
	since := r.sinceNS()
	if !end.LastReceived.IsZero() {
		// Who came and went may have been told over the websocket while the data channels were
		// silent.
		since = min(since, end.LastReceived.UnixNano())
	}
	return nil, r.stateOutage(ctx, string(end.Reason), since)
}

// wait waits for the end of a stay. In a room that our own join has perhaps made it asks meanwhile
// whether the session is over, and leaves at once if it is.
func (r *Recorder) wait(ctx context.Context, conn Conn, h *handler, t *tries) *ended {
	doubt := h.fresh
	var again, keep <-chan time.Time
	if pause := r.keepPause(); pause > 0 {
		t.keep()
		every := time.NewTicker(pause)
		defer every.Stop()
		keep = every.C
	}
	for {
		var answers <-chan answer
		if doubt && again == nil {
			if t.question == nil {
				t.question = r.ask(ctx, asked{state: true})
			}
			answers = t.question.answer
		}
		select {
		case <-conn.Done():
			return nil
		case <-ctx.Done():
			r.leave(ctx, conn)
			return nil
		case <-h.broken:
			r.leave(ctx, conn)
			return nil
		case <-keep:
			t.keep()
		case <-again:
			again = nil
		case a := <-answers:
			t.drop()
			switch {
			case a.panicked != nil:
				r.leave(ctx, conn)
				panic(a.panicked)
			case a.state == SessionEnded:
				r.leave(ctx, conn)
				return r.over(ReasonSessionEnded)
			case a.state == 0 && a.grant.token == "": // nobody knows
				again = time.After(emptyRoomPause)
			default:
				doubt = false
			}
		}
	}
}

// slowJoin states the time between the join and the opening of the data channels
// as an outage of its own. Where its end cannot be written it lasts until the next
// join: rather too much is said to be missing than too little.
func (r *Recorder) slowJoin(ctx context.Context, opened time.Time, joinedNS int64) error {
	if err := r.stateOutage(ctx, causeSlowJoin, joinedNS); err != nil {
		return err
	}
	if err := r.event(opened.UnixNano(),
		segment.Event{Kind: textegress.KindOutageEnded}); err != nil {
		r.log.Error("cannot write that the data channels have opened", "error", err)
		return nil
	}
	r.mu.Lock()
	r.inOutage = false
	r.mu.Unlock()
	return nil
}

func stopped(ctx context.Context) bool { return ctx.Err() != nil }

func (r *Recorder) leave(ctx context.Context, conn Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	conn.Leave(ctx)
	<-conn.Done()
}

// sinceNS is where an outage begins: at the last frame before it. Nothing proves
// that what was sent later would have arrived.
func (r *Recorder) sinceNS() int64 { return r.lastFrameNS.Load() }

// state asks the authority, bounded in time.
func (r *Recorder) state(ctx context.Context) (SessionState, error) {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	return r.o.Authority.State(ctx)
}

// refused handles a failed try: it returns the end of the recording, or nil
// after a pause. An error means that the recording stays open on disk.
func (t *tries) refused(ctx context.Context, h *handler, err error) (*ended, error) {
	r := t.r
	r.cannotJoin(err.Error())
	r.mu.Lock()
	wasIn := r.connected
	r.connected = false
	r.mu.Unlock()
	if since, lost := h.lost(); lost != nil {
		if err := r.diskOutage(ctx, lost, since); err != nil {
			return nil, err
		}
	} else if wasIn { // the room accepted us, then the connection failed
		r.lostAt = time.Now()
		if err := r.stateOutage(ctx, causeJoinFailed, r.sinceNS()); err != nil {
			return nil, err
		}
	}
	var end *room.DisconnectError
	switch {
	case stopped(ctx):
		return nil, nil // the loop sees it
	case errors.Is(err, ErrSessionEnded):
		return r.over(ReasonSessionEnded), nil
	case errors.Is(err, ErrWrongRoom) && !r.everJoined():
		return nil, err
	case errors.Is(err, errOtherSession) && h.unsure, errors.Is(err, errUnsureRoom):
		// The announcement may have named a wrong room; the authority grants no token for that.
		t.doubt, t.foreign = true, true
		t.pause(ctx)
		return nil, nil
	case errors.Is(err, errOtherSession):
		return r.over(ReasonRoomReplaced), nil
	case errors.Is(err, errNoRoom):
		return t.roomMissing(ctx), nil
	case errors.Is(err, errEmptyRoom):
		r.log.Warn("the room is empty and names no session; left it again")
		t.doubt = h.unsure
		t.leftEmpty()
		if !t.doubt { // else the authority is asked first
			sleep(ctx, emptyRoomPause)
		}
		return nil, nil
	case errors.As(err, &end):
		switch end.Disconnect.Reason {
		case room.ReasonRoomDeleted, room.ReasonRoomClosed:
			return r.over(string(end.Disconnect.Reason)), nil
		case room.ReasonParticipantRemoved:
			return r.removed(), nil
		case room.ReasonDuplicateIdentity:
			if t.duplicates++; t.duplicates >= maxDuplicates {
				return &ended{textegress.StatusFailed, string(end.Disconnect.Reason)}, nil
			}
		}
	}
	if time.Since(t.unknownSince) > r.o.GiveUpAfter {
		r.log.Error("neither LiveKit nor SyncFlow could be reached; the recording is sealed, and "+
			"goes on as a new part when the session turns out to run",
			"for", time.Since(t.unknownSince).Round(time.Second), "error", err)
		return r.over(ReasonUnreachable), nil
	}
	if t.n == 0 || t.n%20 == 0 {
		r.log.Warn("cannot join; trying again", "tries", t.n+1, "error", err)
	}
	t.pause(ctx)
	return nil, nil
}

// pause waits before the next try: exponential, with jitter so that the rooms of
// a restarted server do not all come back in the same moment.
func (t *tries) pause(ctx context.Context) {
	d := longestPause
	if t.n < 7 {
		d = min(firstPause<<t.n, longestPause)
	}
	t.n++
	sleep(ctx, d/2+mrand.N(d/2+1))
}

// sleep waits for d, and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

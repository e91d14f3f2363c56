package recorder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"strings"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/spool"
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
	emptyRoomPause = 30 * time.Second
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
	t := &tries{r: r, unknownSince: time.Now()}
	check := !r.o.Fresh
	for {
		if ctx.Err() != nil {
			return r.stopped()
		}
		if check {
			if e, again := t.check(ctx); e != nil {
				return e.status, e.reason, nil
			} else if again {
				continue
			}
		}
		check = true
		if !r.writable(ctx) {
			continue
		}
		h := newHandler(ctx, r)
		began := time.Now()
		conn, err := t.join(ctx, h)
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
		e, err := r.attend(ctx, conn, h, t)
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
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.roomSIDs) == 0 {
		return &ended{textegress.StatusAborted, reason}
	}
	return &ended{textegress.StatusComplete, reason}
}

// attend waits for the end of one stay and says what it means: the end of the
// session, or nil for an outage, which it has then stated.
func (r *Recorder) attend(ctx context.Context, conn Conn, h *handler, t *tries) (*ended, error) {
	r.log.Info("joined", "epoch", h.epoch)
	r.comeBack()
	if opened := time.Now(); opened.UnixNano()-h.joinedNS > keptForJoining.Nanoseconds() {
		if err := r.slowJoin(ctx, opened, h.joinedNS); err != nil {
			r.leave(ctx, conn)
			return nil, err
		}
	}
	if h.fresh {
		// Perhaps our own join has just made the room of a session that is over.
		if st, err := r.state(ctx); err == nil && st == SessionEnded {
			r.leave(ctx, conn)
			return r.over(ReasonSessionEnded), nil
		}
	}
	select {
	case <-conn.Done():
	case <-ctx.Done():
		r.leave(ctx, conn)
	case <-h.broken:
		r.leave(ctx, conn)
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
		// Somebody wants us out; we respect that.
		return &ended{textegress.StatusAborted, string(end.Reason)}, nil
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
	if !end.Heard.IsZero() {
		// Who came and went may have been told over the websocket while the data channels were silent.
		since = min(since, end.Heard.UnixNano())
	}
	return nil, r.stateOutage(ctx, string(end.Reason), since)
}

// slowJoin states the time between the join and the opening of the data channels
// as an outage of its own. Where its end cannot be written it lasts until the next
// join: rather too much is said to be missing than too little.
func (r *Recorder) slowJoin(ctx context.Context, opened time.Time, joinedNS int64) error {
	if err := r.stateOutage(ctx, causeSlowJoin, joinedNS); err != nil {
		return err
	}
	if err := r.event(opened.UnixNano(), spool.Event{Kind: textegress.KindOutageEnded}); err != nil {
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

// tries is the state of the joining loop between two stays.
type tries struct {
	r            *Recorder
	n            int       // failed tries and short stays since the last good stay
	duplicates   int       // stays in a row that ended with DUPLICATE_IDENTITY
	unknownSince time.Time // since when nobody could tell whether the session runs
	url, token   string    // of the last stay, usable while the authority is away
}

// check asks whether there is a room to join, because joining would make it. It
// returns the end of the recording, or again after a pause if it is to be asked
// once more.
func (t *tries) check(ctx context.Context) (e *ended, again bool) {
	r := t.r
	st, err := r.state(ctx)
	switch {
	case err != nil:
		// Nobody knows. The token decides: it is asked for next, and only what
		// the authority grants, or granted for this very room, is used.
		return nil, false
	case st == SessionEnded:
		return r.over(ReasonSessionEnded), false
	case st == SessionRoomMissing:
		since := r.lostAt
		if since.IsZero() {
			since = time.Unix(0, r.info.CreatedUnixNS)
		}
		if time.Since(since) > r.o.RejoinWindow {
			return r.over(ReasonRoomMissing), false
		}
		r.cannotJoin("LiveKit has no room of this name; waiting for REJOIN_WINDOW whether it comes back")
		sleep(ctx, roomMissingPoll)
		return nil, true
	}
	t.unknownSince = time.Now()
	return nil, false
}

// join asks for a token and joins under a new identity.
func (t *tries) join(ctx context.Context, h *handler) (Conn, error) {
	r := t.r
	identity := "textegress-" + strings.TrimPrefix(r.info.EgressID, "DE_") + "-" + strings.ToLower(rand.Text()[:6])
	jctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	url, token, err := r.o.Authority.Token(jctx, identity)
	switch {
	case err == nil:
		t.unknownSince = time.Now()
	case errors.Is(err, ErrSessionEnded) || ctx.Err() != nil:
		return nil, err
	case t.token != "" && time.Since(r.lostAt) < r.o.RejoinWindow:
		// The authority is away, LiveKit perhaps is not: the earlier token is good
		// for hours, and our earlier self under that identity is gone.
		url, token = t.url, t.token
		r.log.Warn("no new token; joining again with the earlier one", "error", err)
	default:
		return nil, fmt.Errorf("ask for a token: %w", err)
	}
	rctx, cancel2 := context.WithTimeout(ctx, joinTimeout)
	defer cancel2()
	started := time.Now()
	conn, err := r.o.Room.Join(rctx, room.JoinOptions{
		URL: url, Token: token, Handler: h,
		NewToken: func(ctx context.Context) (string, error) {
			_, tok, err := r.o.Authority.Token(ctx, identity)
			return tok, err
		},
		StillThere: func(ctx context.Context) (bool, error) {
			st, err := r.state(ctx)
			return st == SessionRunning, err
		},
	})
	r.o.Metrics.join(err, time.Since(started))
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	t.url, t.token = url, token
	return conn, nil
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
	var end *room.EndError
	switch {
	case stopped(ctx):
		return nil, nil // the loop sees it
	case errors.Is(err, ErrSessionEnded):
		return r.over(ReasonSessionEnded), nil
	case errors.Is(err, errOtherSession):
		return r.over(ReasonRoomReplaced), nil
	case errors.Is(err, errEmptyRoom):
		r.log.Warn("the room is empty and names no session; left it again")
		sleep(ctx, emptyRoomPause)
		return nil, nil
	case errors.As(err, &end):
		switch end.End.Reason {
		case room.ReasonRoomDeleted, room.ReasonRoomClosed:
			return r.over(string(end.End.Reason)), nil
		case room.ReasonParticipantRemoved:
			return &ended{textegress.StatusAborted, string(end.End.Reason)}, nil
		case room.ReasonDuplicateIdentity:
			if t.duplicates++; t.duplicates >= maxDuplicates {
				return &ended{textegress.StatusFailed, string(end.End.Reason)}, nil
			}
		}
	}
	if time.Since(t.unknownSince) > r.o.GiveUpAfter {
		r.log.Error("neither LiveKit nor SyncFlow could be reached; the recording is sealed, and goes on as a new part when the session turns out to run",
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

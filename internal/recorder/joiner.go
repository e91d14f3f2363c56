package recorder

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
)

// missingPauses gives the pauses between checks whether a missing room exists again. After a
// restart of LiveKit, its participants return immediately.
var missingPauses = backoff.Policy{
	First: 250 * time.Millisecond, Max: roomMissingPoll, Jitter: backoff.None,
}

// emptyRoomPauses gives the pauses before the next join after an empty room.
var emptyRoomPauses = backoff.Policy{
	First: emptyRoomPause, Max: longestEmptyPause, Jitter: backoff.None,
}

// existsTimeout bounds a check whether a room exists.
const existsTimeout = 3 * time.Second

var (
	// errEmptyBefore means that a join would most likely create the room again.
	errEmptyBefore = errors.New("the room was empty and named no session a moment ago")
	// errNoRoom means that, according to LiveKit, the room does not exist.
	errNoRoom = errors.New("LiveKit has no room of this name")
	// errNoToken means that we could make a token ourselves when the question to the authority
	// started, but now cannot.
	errNoToken = errors.New("no token to join with")
)

// joiner decides how and when to join. Its state persists across connections. Only the goroutine of
// [Recorder.Run] uses it.
type joiner struct {
	r            *Recorder
	failures     int       // failed attempts and short connections since the last good connection
	duplicates   int       // consecutive connections that ended with DUPLICATE_IDENTITY
	unknownSince time.Time // time since which it is unknown whether the session is running
	missing      int       // consecutive answers that the room is missing
	question     *question // pending question to the authority; nil: none

	lastNode string // node of the server in the last connection; "": not known
	last     grant  // grant of the last connection, usable while the authority does not answer
	// end of the use of a grant saved by an earlier process; zero: last is not from one
	lastUntil time.Time
	notSaved  bool // the last attempt to save the grant for a restart failed

	ownRefused bool // LiveKit has refused a token that we made
	// a token that we made may have led into a wrong room, so the authority must grant one
	needAuthority bool
	// a token that we made has led into a room that is not confirmed as the session's
	wrongRoom bool

	empty      int       // joins into an empty room that names no session
	emptyUntil time.Time // no join before this time, unless the session is known to be running
}

// cancelQuestion cancels the pending question, if any.
func (j *joiner) cancelQuestion() {
	if j.question != nil {
		j.question.cancel()
		j.question = nil
	}
}

// noteEmptyRoom records that our join has most likely created a room. Until the session is known to
// be running, the next join is delayed, longer each time.
func (j *joiner) noteEmptyRoom() {
	j.empty++
	j.emptyUntil = time.Now().Add(emptyRoomPauses.Delay(j.empty))
}

// newIdentity returns an identity that is random and therefore unique in the room.
func (j *joiner) newIdentity() string {
	id := strings.TrimPrefix(j.r.info.EgressID, "DE_")
	return "textegress-" + id + "-" + strings.ToLower(rand.Text()[:6])
}

// admission waits for a token to join with. If askFirst is true, it first queries the authority for
// the existence of the room, because a join would create it. It returns the verdict if the
// recording ends, an error if there is no token, and an empty grant if the caller must call it
// again.
//
// After an unclean loss of the connection, it queries the authority in the background. While the
// authority does not answer, the recorder joins with its own token or that of the last connection.
// The join shows which session the room belongs to, see [handler.Joined].
func (j *joiner) admission(ctx context.Context, askFirst bool) (grant, verdict, error) {
	r := j.r
	if !askFirst {
		if g, ok := j.ownGrant(); ok {
			return g, joinAgain, nil
		}
	}
	if j.question == nil {
		_, own := j.ownGrant()
		j.question = r.ask(ctx, query{state: askFirst, token: !own, identity: j.newIdentity()})
	}
	var unanswered <-chan time.Time
	if _, ok := j.fallbackGrant(); ok {
		patience := time.NewTimer(time.Until(j.question.began.Add(answerTimeout)))
		defer patience.Stop()
		unanswered = patience.C
	}
	select {
	case <-ctx.Done():
		return grant{}, joinAgain, nil
	case a := <-j.question.answer:
		j.cancelQuestion()
		return j.admit(ctx, a)
	case <-unanswered:
		g, _ := j.fallbackGrant()
		j.logFallback(fmt.Errorf("%s has not answered for %v; still waiting", r.o.Platform,
			answerTimeout))
		return g, joinAgain, nil
	}
}

// admit converts an answer of the authority to the results of admission.
func (j *joiner) admit(ctx context.Context, a answer) (grant, verdict, error) {
	r := j.r
	if a.panicked != nil {
		panic(a.panicked)
	}
	if a.state != session.Empty {
		j.missing = 0
	}
	switch {
	case a.state == session.Ended:
		return grant{}, r.sessionOver(ReasonSessionEnded), nil
	case a.state == session.Replaced:
		return j.runReplaced(a)
	case a.state == session.Empty:
		return grant{}, j.roomMissing(ctx), nil
	case errors.Is(a.err, session.ErrWrongRoom) && !r.rec.everJoined():
		return grant{}, joinAgain, a.err
	case a.state == session.Running:
		j.unknownSince, j.emptyUntil = time.Now(), time.Time{}
	case a.grant.token != "":
		j.unknownSince = time.Now()
	}
	if a.grant.token != "" {
		// the token is valid for the session's room only
		j.needAuthority, j.wrongRoom, r.o.RoomConfirmed = false, false, true
		// a session that counts as started does not prove that its room exists
		if time.Now().Before(j.emptyUntil) {
			return grant{}, joinAgain, errEmptyBefore
		}
		return a.grant, joinAgain, nil
	}
	g, ok := j.fallbackGrant()
	switch {
	case !ok:
		return grant{}, joinAgain, cmp.Or(a.err, errNoToken)
	case a.err != nil:
		j.logFallback(a.err)
	}
	return g, joinAgain, nil
}

// roomMissing pauses while a missing room may come back. After the rejoin window, it ends the
// recording.
func (j *joiner) roomMissing(ctx context.Context) verdict {
	r := j.r
	since := r.lostAt
	if since.IsZero() {
		since = r.created
	}
	if time.Since(since) > r.o.RejoinWindow || j.isOver(ctx) {
		return r.sessionOver(ReasonRoomMissing)
	}
	r.noteJoinError("nobody is in the room, or LiveKit has none of this name; waiting for " +
		"somebody to come back, for REJOIN_WINDOW")
	j.missing++
	_ = backoff.Sleep(ctx, missingPauses.Delay(j.missing))
	return joinAgain
}

// ownGrant makes a token with our own key. It returns false if there is no key or if the authority
// must grant the token.
func (j *joiner) ownGrant() (grant, bool) {
	if j.r.o.OwnToken == nil || j.ownRefused || j.needAuthority {
		return grant{}, false
	}
	return j.makeGrant()
}

func (j *joiner) makeGrant() (grant, bool) {
	identity := j.newIdentity()
	url, token, err := j.r.o.OwnToken(identity)
	if err != nil {
		if !errors.Is(err, ErrNoKey) {
			j.r.noteJoinError(err.Error())
		}
		return grant{}, false
	}
	return grant{url: url, token: token, identity: identity, own: true}, true
}

// fallbackGrant returns a token to join with while the authority does not answer: a token of our
// own, or that of the last connection, which is valid for hours and whose identity is free again.
func (j *joiner) fallbackGrant() (grant, bool) {
	r := j.r
	if time.Now().Before(j.emptyUntil) {
		return grant{}, false
	}
	if g, ok := j.ownGrant(); ok {
		return g, true
	}
	if j.lastUsable() {
		return j.last, true
	}
	// our token was refused, perhaps because a clock was wrong, or the room was empty
	if r.o.OwnToken != nil && !j.wrongRoom {
		return j.makeGrant()
	}
	return grant{}, false
}

func (j *joiner) logFallback(why error) {
	if j.failures == 0 {
		j.r.log.Warn("no new token from the platform; joining with another one",
			"platform", j.r.o.Platform, "error", why)
	}
}

// join joins the room with g, unless LiveKit reports that the room does not exist.
func (j *joiner) join(ctx context.Context, h *handler, g grant) (Conn, error) {
	r := j.r
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if err := j.look(ctx, h); err != nil {
		return nil, err
	}
	started := time.Now()
	conn, err := r.o.Room.Join(ctx, room.JoinOptions{
		URL: g.url, Token: g.token, Handler: h,
		RefreshToken: func(ctx context.Context) (string, error) {
			if g.own {
				_, token, err := r.o.OwnToken(g.identity)
				return token, err
			}
			_, token, err := r.o.Authority.Token(ctx, g.identity)
			return token, err
		},
		RoomExists: func(ctx context.Context) (bool, error) {
			st, err := r.state(ctx)
			return st == session.Running, err
		},
	})
	r.o.Metrics.join(err, time.Since(started))
	if h.nodeID != "" { // the room was accepted, even if the connection failed afterwards
		j.lastNode = h.nodeID
	}
	if err != nil {
		j.noteOwnRefused(g, err)
		return nil, fmt.Errorf("join: %w", err)
	}
	j.last, j.lastUntil, j.empty, j.emptyUntil = g, time.Time{}, 0, time.Time{}
	j.needAuthority, j.wrongRoom = false, false
	return conn, nil
}

// look looks for the room before a join, because a join would create it.
func (j *joiner) look(ctx context.Context, h *handler) (err error) {
	switch {
	case j.r.o.Runs:
		h.former, err = j.findRun(ctx)
		return err
	case j.roomKnownMissing(ctx):
		return errNoRoom
	}
	return nil
}

// roomKnownMissing reports whether LiveKit confirms that the room does not exist. If the query
// fails, the join shows whether LiveKit can be reached.
func (j *joiner) roomKnownMissing(ctx context.Context) bool {
	if j.r.o.FindRoom == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, existsTimeout)
	defer cancel()
	_, exists, err := j.r.o.FindRoom(ctx)
	return err == nil && !exists
}

// noteOwnRefused records that LiveKit refused a token that we made. The next token is then
// requested from the authority.
func (j *joiner) noteOwnRefused(g grant, err error) {
	refused, ok := errors.AsType[*room.JoinError](err)
	if !g.own || !ok || j.ownRefused ||
		refused.Status != http.StatusUnauthorized && refused.Status != http.StatusForbidden {
		return
	}
	j.ownRefused = true
	j.r.log.Error("LiveKit refuses a token made with the project's LIVEKIT__API_KEY and "+
		"LIVEKIT__API_SECRET; asking the platform for one",
		"platform", j.r.o.Platform, "error", err)
}

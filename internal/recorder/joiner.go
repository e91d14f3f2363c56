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

// missingPauses are the pauses between two checks whether a missing room exists again. After a
// restart of LiveKit its participants return immediately.
var missingPauses = backoff.Policy{
	First: 250 * time.Millisecond, Max: roomMissingPoll, Jitter: backoff.None,
}

// emptyRoomPauses are the pauses before the next join after an empty room.
var emptyRoomPauses = backoff.Policy{
	First: emptyRoomPause, Max: longestEmptyPause, Jitter: backoff.None,
}

// existsTimeout bounds the check whether a room exists.
const existsTimeout = 3 * time.Second

var (
	// errEmptyBefore: joining would most likely create the room again.
	errEmptyBefore = errors.New("the room was empty and named no session a moment ago")
	// errNoRoom: LiveKit says that the room does not exist.
	errNoRoom = errors.New("LiveKit has no room of this name")
	// errNoToken: we could make a token ourselves when the authority was asked, and now cannot.
	errNoToken = errors.New("no token to join with")
)

// joiner decides how and when to join. Its state persists across connections. Only the goroutine of
// [Recorder.Run] uses it.
type joiner struct {
	r            *Recorder
	failures     int       // failed tries and short connections since the last good connection
	duplicates   int       // connections in a row that ended with DUPLICATE_IDENTITY
	unknownSince time.Time // since when it is not known whether the session runs
	missing      int       // answers in a row that the room is missing
	question     *question // under way to the authority; nil: none

	last      grant     // of the last connection, usable while the authority does not answer
	lastUntil time.Time // not zero: an earlier process had it, and it may be used until then
	notSaved  bool      // the last try to save it for a restart failed

	ownRefused    bool // LiveKit has refused a token that we made
	needAuthority bool // a token that we made may have led into a wrong room: ask the authority
	wrongRoom     bool // it has led into a room that is not known to be the session's

	empty      int       // joins that found an empty room without a session
	emptyUntil time.Time // no room is joined before this, unless the authority grants a token
}

// cancelQuestion cancels the question, if there is one.
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

// newIdentity returns a random identity, so that it is unique in the room.
func (j *joiner) newIdentity() string {
	id := strings.TrimPrefix(j.r.info.EgressID, "DE_")
	return "textegress-" + id + "-" + strings.ToLower(rand.Text()[:6])
}

// admission waits for a token to join with. If askFirst, it first asks whether the room exists,
// because joining would create it. It returns the end of the recording, or an error if there is no
// token, or an empty grant if the caller must call it again.
//
// After an unclean loss of the connection, it asks the authority in the background. While the
// authority does not answer, the recorder joins anyway, with a token of its own or that of the last
// connection. The join shows which session the room belongs to, see [handler.Joined].
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
		j.logFallback(fmt.Errorf("SyncFlow has not answered for %v; still waiting", answerTimeout))
		return g, joinAgain, nil
	}
}

// admit turns an answer of the authority into an admission.
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
		// it is valid for the session's room only
		j.needAuthority, j.wrongRoom, r.o.RoomConfirmed = false, false, true
		// that the session counts as started does not prove that the room exists
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

// roomMissing waits a moment for a missing room, or ends the recording.
func (j *joiner) roomMissing(ctx context.Context) verdict {
	r := j.r
	since := r.lostAt
	if since.IsZero() {
		since = r.created
	}
	if time.Since(since) > r.o.RejoinWindow {
		return r.sessionOver(ReasonRoomMissing)
	}
	r.noteJoinError("LiveKit has no room of this name; waiting for it to come back, for " +
		"REJOIN_WINDOW")
	j.missing++
	_ = backoff.Sleep(ctx, missingPauses.Delay(j.missing))
	return joinAgain
}

// ownGrant returns a token that we made ourselves, false if we have no key or must ask the
// authority anyway.
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

// fallbackGrant returns a token to join with while the authority does not answer: one of our own,
// or that of the last connection, which is valid for hours and whose identity is free again.
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
	// ours was refused, perhaps because a clock was wrong; or the room was empty
	if r.o.OwnToken != nil && !j.wrongRoom {
		return j.makeGrant()
	}
	return grant{}, false
}

func (j *joiner) logFallback(why error) {
	if j.failures == 0 {
		j.r.log.Warn("no new token from SyncFlow; joining with another one", "error", why)
	}
}

// join joins with g.
func (j *joiner) join(ctx context.Context, h *handler, g grant) (Conn, error) {
	r := j.r
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if j.roomKnownMissing(ctx) {
		return nil, errNoRoom
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
	if err != nil {
		j.noteOwnRefused(g, err)
		return nil, fmt.Errorf("join: %w", err)
	}
	j.last, j.lastUntil, j.empty, j.emptyUntil = g, time.Time{}, 0, time.Time{}
	j.needAuthority, j.wrongRoom = false, false
	return conn, nil
}

// roomKnownMissing reports whether LiveKit says that the room does not exist. If LiveKit cannot be
// asked, the join will show it.
func (j *joiner) roomKnownMissing(ctx context.Context) bool {
	if j.r.o.RoomExists == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, existsTimeout)
	defer cancel()
	exists, err := j.r.o.RoomExists(ctx)
	return err == nil && !exists
}

// noteOwnRefused records that LiveKit refused a token that we made, so that SyncFlow is asked for
// one.
func (j *joiner) noteOwnRefused(g grant, err error) {
	refused, ok := errors.AsType[*room.JoinError](err)
	if !g.own || !ok || j.ownRefused ||
		refused.Status != http.StatusUnauthorized && refused.Status != http.StatusForbidden {
		return
	}
	j.ownRefused = true
	j.r.log.Error("LiveKit refuses a token made with the project's LIVEKIT__API_KEY and "+
		"LIVEKIT__API_SECRET; asking SyncFlow",
		"error", err)
}

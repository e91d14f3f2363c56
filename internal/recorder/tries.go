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

	"github.com/syncflow/textegress/internal/room"
)

// missingPoll is the first pause between two questions whether a room that is gone is there again;
// they grow to roomMissingPoll. After a restart of LiveKit its participants are back in a moment.
const missingPoll = 250 * time.Millisecond

// existsTimeout bounds the question whether a room is there.
const existsTimeout = 3 * time.Second

var (
	// errEmptyBefore: joining would most likely make the room again.
	errEmptyBefore = errors.New("the room was empty and named no session a moment ago")
	// errNoRoom: LiveKit says that there is no room to join.
	errNoRoom = errors.New("LiveKit has no room of this name")
	// errNoToken: one of our own was at hand when the authority was asked, and is not any more.
	errNoToken = errors.New("no token to join with")
)

// tries is the state of the joining loop between two stays.
type tries struct {
	r            *Recorder
	n            int       // failed tries and short stays since the last good stay
	duplicates   int       // stays in a row that ended with DUPLICATE_IDENTITY
	unknownSince time.Time // since when nobody could tell whether the session runs
	missing      int       // answers in a row that the room is gone
	earlier      grant     // of the last stay, usable while the authority is away
	earlierUntil time.Time // not zero: an earlier process had it, and it may be used until then
	notKept      bool      // the last try to keep it for a restart has failed
	question     *question // the one that the authority is being asked; nil: none
	ownRefused   bool      // LiveKit has refused a token that we made
	// a token that we made may have led into a wrong room: one of the authority is needed
	doubt      bool
	foreign    bool      // it has led into one that is not known to be the session's
	empty      int       // joins that found an empty room without a name
	emptyUntil time.Time // no room is joined unasked before this
}

// drop gives up the question, if there is one.
func (t *tries) drop() {
	if t.question != nil {
		t.question.cancel()
		t.question = nil
	}
}

// leftEmpty notes that our join has most likely made a room. Until somebody knows that the session
// runs, that is not done again soon, and less and less often.
func (t *tries) leftEmpty() {
	t.emptyUntil = time.Now().Add(min(emptyRoomPause<<min(t.empty, 10), longestEmptyPause))
	t.empty++
}

// newIdentity returns a name under which nobody else is in the room.
func (t *tries) newIdentity() string {
	id := strings.TrimPrefix(t.r.info.EgressID, "DE_")
	return "textegress-" + id + "-" + strings.ToLower(rand.Text()[:6])
}

// admission waits for what admits to the room. check: ask first whether there is a room, because
// joining would make it. It returns the end of the recording, or an error where nothing admits, or
// nothing at all if it is to be called again.
//
// After an unclean loss the authority is asked in the background: when it is silent, the recorder
// joins all the same, with a token of its own or the one of the last stay. Whose room that is shows
// when it is joined, see [handler.Joined].
func (t *tries) admission(ctx context.Context, check bool) (grant, *ended, error) {
	r := t.r
	if !check {
		if g, ok := t.own(); ok {
			return g, nil, nil
		}
	}
	if t.question == nil {
		_, own := t.own()
		t.question = r.ask(ctx, asked{state: check, token: !own, identity: t.newIdentity()})
	}
	var silent <-chan time.Time
	if _, ok := t.unasked(); ok {
		patience := time.NewTimer(time.Until(t.question.began.Add(silence)))
		defer patience.Stop()
		silent = patience.C
	}
	select {
	case <-ctx.Done():
		return grant{}, nil, nil
	case a := <-t.question.answer:
		t.drop()
		return t.admitted(ctx, a)
	case <-silent:
		g, _ := t.unasked()
		t.logUnasked(fmt.Errorf("SyncFlow has not answered for %v; asking on", silence))
		return g, nil, nil
	}
}

// admitted makes an answer of the authority an admission.
func (t *tries) admitted(ctx context.Context, a answer) (grant, *ended, error) {
	r := t.r
	if a.panicked != nil {
		panic(a.panicked)
	}
	if a.state != SessionRoomMissing {
		t.missing = 0
	}
	switch {
	case a.state == SessionEnded:
		return grant{}, r.over(ReasonSessionEnded), nil
	case a.state == SessionRoomMissing:
		return grant{}, t.roomMissing(ctx), nil
	case errors.Is(a.err, ErrWrongRoom) && !r.everJoined():
		return grant{}, nil, a.err
	case a.state == SessionRunning:
		t.unknownSince, t.emptyUntil = time.Now(), time.Time{}
	case a.grant.token != "":
		t.unknownSince = time.Now()
	}
	if a.grant.token != "" {
		// it is for the session's room alone
		t.doubt, t.foreign, r.o.RoomConfirmed = false, false, true
		// the session counts as started, which proves no room
		if time.Now().Before(t.emptyUntil) {
			return grant{}, nil, errEmptyBefore
		}
		return a.grant, nil, nil
	}
	g, ok := t.unasked()
	switch {
	case !ok:
		return grant{}, nil, cmp.Or(a.err, errNoToken)
	case a.err != nil:
		t.logUnasked(a.err)
	}
	return g, nil, nil
}

// roomMissing waits a moment for a room that is gone, or ends the recording.
func (t *tries) roomMissing(ctx context.Context) *ended {
	r := t.r
	since := r.lostAt
	if since.IsZero() {
		since = r.created
	}
	if time.Since(since) > r.o.RejoinWindow {
		return r.over(ReasonRoomMissing)
	}
	r.cannotJoin("LiveKit has no room of this name; waiting for REJOIN_WINDOW whether " +
		"it comes back")
	sleep(ctx, min(missingPoll<<min(t.missing, 10), roomMissingPoll))
	t.missing++
	return nil
}

// own returns a token that we made ourselves, false where we have no key or the authority is to be
// asked all the same.
func (t *tries) own() (grant, bool) {
	if t.r.o.OwnToken == nil || t.ownRefused || t.doubt {
		return grant{}, false
	}
	return t.makeOwn()
}

func (t *tries) makeOwn() (grant, bool) {
	identity := t.newIdentity()
	url, token, err := t.r.o.OwnToken(identity)
	if err != nil {
		if !errors.Is(err, ErrNoKey) {
			t.r.cannotJoin(err.Error())
		}
		return grant{}, false
	}
	return grant{url: url, token: token, identity: identity, own: true}, true
}

// unasked returns what admits to the room without the authority: a token of our own, or the one of
// the last stay, which is good for hours. Our earlier self under its identity is gone.
func (t *tries) unasked() (grant, bool) {
	r := t.r
	if time.Now().Before(t.emptyUntil) {
		return grant{}, false
	}
	if g, ok := t.own(); ok {
		return g, true
	}
	if t.earlierUsable() {
		return t.earlier, true
	}
	// it was refused, perhaps a clock was wrong; or the room was empty
	if r.o.OwnToken != nil && !t.foreign {
		return t.makeOwn()
	}
	return grant{}, false
}

func (t *tries) logUnasked(why error) {
	if t.n == 0 {
		t.r.log.Warn("no new token from SyncFlow; joining with one that is at hand", "error", why)
	}
}

// join joins with g.
func (t *tries) join(ctx context.Context, h *handler, g grant) (Conn, error) {
	r := t.r
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if t.knownMissing(ctx) {
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
			return st == SessionRunning, err
		},
	})
	r.o.Metrics.join(err, time.Since(started))
	if err != nil {
		t.refusedOwn(g, err)
		return nil, fmt.Errorf("join: %w", err)
	}
	t.earlier, t.earlierUntil, t.empty, t.emptyUntil = g, time.Time{}, 0, time.Time{}
	t.doubt, t.foreign = false, false
	return conn, nil
}

// knownMissing reports whether LiveKit says that the room is not there. Where it cannot be asked,
// the join shows.
func (t *tries) knownMissing(ctx context.Context) bool {
	if t.r.o.RoomExists == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, existsTimeout)
	defer cancel()
	there, err := t.r.o.RoomExists(ctx)
	return err == nil && !there
}

// refusedOwn notes that LiveKit refuses a token that we made: then SyncFlow is asked for one.
func (t *tries) refusedOwn(g grant, err error) {
	refused, ok := errors.AsType[*room.JoinError](err)
	if !g.own || !ok || t.ownRefused ||
		refused.Status != http.StatusUnauthorized && refused.Status != http.StatusForbidden {
		return
	}
	t.ownRefused = true
	t.r.log.Error("LiveKit refuses a token made with the project's LIVEKIT__API_KEY and "+
		"LIVEKIT__API_SECRET; asking SyncFlow",
		"error", err)
}

package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/spool"
)

// always is the time that each answer takes; afterwards is the one of all but the first.
func always(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

func afterwards(d time.Duration) func(int) time.Duration {
	return func(n int) time.Duration {
		if n == 1 {
			return 0
		}
		return d
	}
}

var (
	lost    = step{info: info("RM_1", ours), run: send(room.ReasonConnectionLost, "a")}
	deleted = step{info: info("RM_2", ours), run: send(room.ReasonRoomDeleted, "b")}
)

// After an unclean loss the earlier token is used as soon as the authority has been silent for two
// seconds; an answer before that comes first.
func TestEarlierTokenWhileTheAuthorityIsSilent(t *testing.T) {
	for name, c := range map[string]struct {
		state, token func(int) time.Duration
		want         string
		at           time.Duration
	}{
		"silent": {
			always(time.Hour), afterwards(time.Hour), "token-1",
			2 * time.Second,
		},
		"the state alone is not told": {
			always(time.Hour), afterwards(time.Second), "token-1",
			2 * time.Second,
		},
		"no token": {
			always(time.Second), afterwards(time.Hour), "token-1",
			2 * time.Second,
		},
		"slow": {
			always(time.Second), afterwards(900 * time.Millisecond),
			"token-2", 1900 * time.Millisecond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil, lost, deleted)
				w.auth.stateTakes, w.auth.tokenTakes = c.state, c.token
				sealed := w.run(t.Context())
				if sealed.Status != textegress.StatusComplete || w.room.count() != 2 {
					t.Fatalf("sealed %s after %d joins", sealed.Status, w.room.count())
				}
				second := w.room.joins[1]
				// The short connection before counts as a failed try: a pause of at most 100 ms.
				pause := second.at.Sub(w.room.joins[0].at) - c.at
				if second.token != c.want || pause < 0 || pause > 100*time.Millisecond {
					t.Errorf("joined with %s %v after the loss, want %s after %v", second.token,
						c.at+pause, c.want, c.at)
				}
			})
		})
	}
}

// The question continues while the room is tried with the earlier token, and is given up when that
// has led into a room of the session.
func TestTheQuestionContinuesWhileJoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, slices.Concat([]step{lost},
			repeat(4, step{err: &room.JoinError{Phase: "websocket"}}), []step{
				{info: info("RM_1", ours), run: func(room.Handler, <-chan struct{}) room.Reason {
					synctest.Wait()
					return room.ReasonRoomDeleted
				}},
			})...)
		w.auth.stateTakes, w.auth.tokenTakes = always(time.Hour), afterwards(time.Hour)
		w.run(t.Context())
		if w.auth.asked != 1 || w.auth.givenUp == 0 {
			t.Errorf("asked %d times, given up %d, want one question that is given up",
				w.auth.asked, w.auth.givenUp)
		}
	})
}

// A room that is joined unasked, and that our join has most likely made, is left as soon as the
// authority says that the session is over.
func TestARoomOfAnEndedSessionIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left time.Time
		began := time.Now()
		w := newWorld(t, nil, lost,
			step{info: info("RM_9", ""), run: func(_ room.Handler, l <-chan struct{}) room.Reason {
				<-l
				left = time.Now()
				return room.ReasonLeft
			}})
		w.auth.stateTakes = always(50 * time.Second)
		w.auth.tokenTakes = afterwards(time.Hour)
		w.auth.state = func(int) (session.State, error) {
			return session.Ended,
				nil
		}
		sealed := w.run(t.Context())
		if sealed.Reason != recorder.ReasonSessionEnded || w.room.count() != 2 {
			t.Errorf("sealed %s after %d joins", sealed.Reason, w.room.count())
		}
		if d := left.Sub(began); d < 50*time.Second || d > 51*time.Second {
			t.Errorf("left after %v, want when the authority has answered", d)
		}
	})
}

// Nobody answers, the session is over and its room gone: our join makes the room once. Nobody
// comes, LiveKit closes it, and that is the end: it is not made again.
func TestARoomIsNotMadeAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, lost,
			step{info: info("RM_9", ""), run: after(5*time.Minute, room.ReasonRoomClosed)})
		w.auth.stateTakes, w.auth.tokenTakes = always(time.Hour), afterwards(time.Hour)
		sealed := w.run(t.Context())
		if sealed.Reason != string(room.ReasonRoomClosed) || w.room.count() != 2 {
			t.Errorf("sealed %s after %d joins", sealed.Reason, w.room.count())
		}
	})
}

// A session that was announced a while ago is asked about first. An authority that cannot ask
// LiveKit may still grant a token.
func TestTokenBesideAStateThatNobodyTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := newWorld(t, nil, deleted)
		w.stale = true
		w.auth.stateTakes = always(time.Hour)
		w.run(t.Context())
		if d := w.room.joins[0].at.Sub(began); d != 2*time.Second {
			t.Errorf("joined after %v", d)
		}
	})
}

// With a key of our own nobody is asked for a token, and for the state only where the room may be
// gone; a silent authority does not keep us out.
func TestOwnToken(t *testing.T) {
	own := func(identity string) (string, string, error) {
		return "ws://own", "own-" + identity,
			nil
	}
	for name, c := range map[string]struct {
		stale bool
		takes time.Duration
		at    time.Duration
		asked int
	}{
		"announced moments ago":      {false, time.Hour, 0, 0},
		"announced a while ago":      {true, time.Second, time.Second, 1},
		"the authority says nothing": {true, time.Hour, 2 * time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				w := newWorld(t, nil, deleted)
				w.own, w.stale = own, c.stale
				w.auth.stateTakes, w.auth.tokenTakes = always(c.takes), always(time.Hour)
				w.run(t.Context())
				j := w.room.joins[0]
				if j.at.Sub(began) != c.at || j.o.URL != "ws://own" || w.auth.asked != c.asked ||
					len(w.auth.identities) != 0 {
					t.Errorf("joined %s after %v; asked %d times for the state, for %d tokens",
						j.o.URL, j.at.Sub(began), w.auth.asked, len(w.auth.identities))
				}
				again, err := j.o.RefreshToken(t.Context())
				if err != nil || again != j.token {
					t.Errorf("another token: %q, %v; want one for the same identity, %q", again,
						err, j.token)
				}
			})
		})
	}
}

// A key that LiveKit refuses costs nothing where the authority grants a token.
func TestOwnTokenIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, step{err: &room.JoinError{
			Phase:  "websocket",
			Status: http.StatusUnauthorized,
		}}, deleted)
		w.own = func(string) (string, string, error) { return "ws://own", "own", nil }
		w.run(t.Context())
		if len(w.room.joins) != 2 || w.room.joins[1].token != "token-1" {
			t.Errorf("joins %+v", w.room.joins)
		}
	})
}

// A token of our own would make a room that is gone, so LiveKit is asked first: while the authority
// says nothing, no room is made, and one that comes back is joined. Where LiveKit does not say, the
// join shows.
func TestOwnTokenMakesNoRoom(t *testing.T) {
	for name, c := range map[string]struct {
		stale bool
		back  time.Duration // after which the room is there
		err   error         // of the question
		joins int
		ends  string
	}{
		"gone for good":            {true, time.Hour, nil, 0, "ABORTED room_missing"},
		"announced, but not there": {false, time.Hour, nil, 0, "ABORTED room_missing"},
		"comes back":               {true, time.Minute, nil, 1, "COMPLETE room_deleted"},
		"nobody can tell":          {true, time.Hour, errAway, 1, "COMPLETE room_deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil, deleted)
				began := time.Now()
				w.stale = c.stale
				w.own = func(string) (string, string, error) { return "ws://own", "own", nil }
				w.exists = func(context.Context) (bool, error) {
					return time.Since(began) >= c.back,
						c.err
				}
				w.auth.state = func(int) (session.State, error) { return 0, errAway }
				sealed := w.run(t.Context())
				if got := string(sealed.Status) + " " + sealed.Reason; w.room.count() != c.joins ||
					got != c.ends {
					t.Errorf("%d joins, %s", w.room.count(), got)
				}
				if c.joins == 0 && time.Since(began) > 11*time.Minute {
					t.Errorf("waited for %v, longer than REJOIN_WINDOW", time.Since(began))
				}
			})
		})
	}
}

// A room that is empty and names no session has most likely been made by our join. While nobody
// knows whether the session runs, that happens less and less often.
func TestEmptyRoomsAreMadeLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, repeat(100, step{info: info("RM_9", "")})...)
		w.own = func(string) (string, string, error) { return "ws://own", "own", nil }
		w.auth.state = func(int) (session.State, error) { return 0, errAway }
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := recorder.New(w.rec, w.options()).Run(ctx); err != nil {
			t.Fatal(err)
		}
		if n := w.room.count(); n < 8 || n > 11 {
			t.Errorf("%d joins in an hour, want pauses from 30 s to 10 min", n)
		}
	})
}

// A token of our own leads into whatever room was announced. Where the room does not say that it is
// the session's, and nobody else has, the authority is asked: it grants no token for a wrong room.
func TestOwnTokenAndAForgedRoom(t *testing.T) {
	const others = "|session_id:c1d2e3f4-0000-4000-8000-000000000002|project_id:p|comments:x|"
	for name, c := range map[string]struct {
		in        room.Info
		confirmed string // how it ends where the name is the platform's
	}{
		"another session's": {info("RM_9", others, "mallory"), "ABORTED room_replaced"},
		"nobody's":          {info("RM_9", "", "mallory"), "COMPLETE room_closed"},
		"made by our join":  {info("RM_9", ""), "COMPLETE room_deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			own := func(string) (string, string, error) { return "ws://own", "own", nil }
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil, repeat(100, step{info: c.in, run: untilLeft()})...)
				w.own = own
				w.auth.token = func(n int) error {
					if n < 3 { // nobody answers at first
						return errAway
					}
					return fmt.Errorf("fake: %w", session.ErrWrongRoom)
				}
				if err := recorder.New(w.rec, w.options()).Run(t.Context()); !errors.Is(err,
					session.ErrWrongRoom) {
					t.Errorf("%v, want session.ErrWrongRoom", err)
				}
				if n := w.room.count(); n > 4 || w.rec.State() != spool.StateOpen {
					t.Errorf("%d joins, %s", n, w.rec.State())
				}
			})
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil, step{info: c.in, run: send(room.ReasonRoomClosed)}, deleted)
				w.own = own
				o := w.options()
				o.RoomConfirmed = true
				if err := recorder.New(w.rec, o).Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if sealed, _ := w.rec.Sealed(); string(sealed.Status)+" "+
					sealed.Reason != c.confirmed {
					t.Errorf("sealed %s %s, want %s", sealed.Status, sealed.Reason, c.confirmed)
				}
			})
		})
	}
}

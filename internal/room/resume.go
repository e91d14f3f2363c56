package room

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/livekit/protocol/livekit"
)

type resumeTimes struct {
	grace time.Duration // after the loss: the PeerConnection may be about to end too
	tick  time.Duration
	// the PeerConnection lives if the server answered within this time
	stale               time.Duration
	dial                time.Duration // one attempt
	backoff, maxBackoff time.Duration
	ask                 time.Duration // between two questions whether the room is still there
	// silence over UDP after which the connection is lost, if TCP works meanwhile
	gone   time.Duration
	silent time.Duration // silence after which the connection is lost in any case
}

// resume brings a lost websocket back. Asking to resume creates the room if it is gone, so it asks
// only when the server has answered an ICE keepalive since: then the PeerConnection lives, and with
// it the session and the room; or when JoinOptions.RoomExists says that the room lives: then a lost
// path may yet be replaced, see mend. While the server is silent it looks at the server's root
// page. If the network works (a page comes, or the port is closed) and the keepalives are not
// answered, the server has been restarted or has ended. It belongs to the goroutine run, except
// where noted.
type resume struct {
	c     *Conn
	t     resumeTimes
	begun time.Time
	timer *time.Ticker

	base      uint64    // answers counted
	counting  bool      // base is set
	lastAlive time.Time // time of the last answer seen
	reachable time.Time // since when, without a break, looking gave an answer; zero: not

	// the room was there a moment ago, so one attempt may be made although the server is silent
	vouched  bool
	asked    time.Time // when RoomExists was asked last
	attempts int
	next     time.Time // of the next attempt or look
	busy     bool      // one is under way

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	result chan resumed // capacity 1: never blocks, because one thing is under way at a time
}

// resumed is the outcome of an attempt (sig and first, or err) or of a look (looked, with
// reachable; asked: and with there).
type resumed struct {
	sig               *signal
	first             *livekit.SignalResponse
	err               error
	looked, reachable bool
	at                time.Time // of the look
	asked, there      bool
}

func (c *Conn) newResume() *resume {
	t := c.client.times.resume
	r := &resume{
		c: c, t: t, begun: time.Now(), timer: time.NewTicker(t.tick),
		result: make(chan resumed, 1),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// ticks, results and stop may be called on nil: there is nothing to resume.
func (r *resume) ticks() <-chan time.Time {
	if r == nil {
		return nil
	}
	return r.timer.C
}

func (r *resume) results() <-chan resumed {
	if r == nil {
		return nil
	}
	return r.result
}

func (r *resume) stop() {
	if r == nil {
		return
	}
	r.timer.Stop()
	r.cancel()
	r.wg.Wait()
	select {
	case late := <-r.result:
		if late.sig != nil {
			late.sig.close()
		}
	default:
	}
}

// tick looks at the connection and starts what is due; mendable says whether a silent path may yet
// be replaced. It returns the end if the connection is given up.
func (r *resume) tick(mendable bool) (Disconnect, bool) {
	now := time.Now()
	if now.Sub(r.begun) < r.t.grace {
		return Disconnect{}, false
	}
	switch n := r.c.peer.responses(); {
	case !r.counting:
		r.counting, r.base = true, n
	case n > r.base:
		r.base, r.lastAlive, r.reachable = n, now, time.Time{}
	}
	alive := !r.lastAlive.IsZero() && now.Sub(r.lastAlive) < r.t.stale
	silent := now.Sub(r.begun)
	if !r.lastAlive.IsZero() {
		silent = now.Sub(r.lastAlive)
	}
	switch {
	case !r.reachable.IsZero() && now.Sub(r.reachable) >= r.t.gone:
		return lost("the session is gone from the server"), true
	case silent >= r.t.silent:
		return lost("the network is silent"), true
	}
	if r.busy || now.Before(r.next) {
		return Disconnect{}, false
	}
	r.busy = true
	if vouched := r.vouched && mendable; alive || vouched {
		r.vouched = false
		tokens := r.c.tokens()
		r.wg.Go(func() { r.result <- r.attempt(tokens) })
	} else {
		ask := mendable && r.c.o.RoomExists != nil && now.Sub(r.asked) >= r.t.ask
		r.wg.Go(func() { r.result <- r.look(ask) })
	}
	return Disconnect{}, false
}

// look finds out whether the network works, and if it does and ask is set, whether the room is
// still there. It runs on a goroutine of its own.
func (r *resume) look(ask bool) resumed {
	x := resumed{looked: true, reachable: r.c.reachable(r.ctx), at: time.Now()}
	if ask && x.reachable {
		// Whoever is asked may be as silent as the server.
		ctx, cancel := context.WithTimeout(r.ctx, r.t.ask)
		defer cancel()
		there, err := r.c.o.RoomExists(ctx)
		x.asked, x.there = err == nil, there
	}
	return x
}

// failed notes an attempt or a look without success and sets the time of the next. It returns the
// end if the room is gone.
func (r *resume) failed(x resumed) (Disconnect, bool) {
	r.busy = false
	if x.looked {
		if x.asked {
			r.asked, r.vouched = time.Now(), x.there
			if !x.there {
				return lost("the room is gone"), true
			}
		}
		switch {
		case !x.reachable:
			r.reachable = time.Time{}
		case r.reachable.IsZero():
			r.reachable = x.at
		}
		if !r.vouched {
			r.next = time.Now().Add(r.t.backoff)
		}
		return Disconnect{}, false
	}
	r.c.log.Debug("room: resuming failed", "attempt", r.attempts, "error", x.err)
	r.next = time.Now().Add(min(r.t.backoff<<min(r.attempts, 10), r.t.maxBackoff))
	r.attempts++
	return Disconnect{}, false
}

// tokens returns the tokens for resuming, best first: the server's own is valid for 10 minutes on
// LiveKit 1.11, the original one may be valid for longer.
func (c *Conn) tokens() []string {
	ts := []string{c.refreshed, c.o.Token}
	return slices.Compact(slices.DeleteFunc(ts, func(s string) bool { return s == "" }))
}

// attempt asks the server to attach a new websocket to our session. It runs on a goroutine of its
// own.
func (r *resume) attempt(tokens []string) resumed {
	ctx, cancel := context.WithTimeout(r.ctx, r.t.dial)
	defer cancel()
	var err error
	for i := 0; ; i++ {
		var token string
		switch {
		case i < len(tokens):
			token = tokens[i]
		case i == len(tokens) && r.c.o.RefreshToken != nil:
			var tokenErr error
			if token, tokenErr = r.c.o.RefreshToken(ctx); tokenErr != nil {
				return resumed{err: errors.Join(err, tokenErr)}
			}
		default:
			return resumed{err: err}
		}
		var sig *signal
		var first *livekit.SignalResponse
		sig, first, err = r.c.client.dial(ctx, r.c.endpoint, token, &livekit.JoinRequest{
			Reconnect: true, ReconnectReason: livekit.ReconnectReason_RR_SIGNAL_DISCONNECTED,
			ParticipantSid: r.c.info.ParticipantSID,
		})
		if err == nil {
			return resumed{sig: sig, first: first}
		}
		if je, ok := errors.AsType[*JoinError](err); !ok || !je.Unauthorized() {
			return resumed{err: err}
		}
	}
}

// reachable reports whether packets come to the server's host and back: it, or a proxy before it,
// answers, or its port is closed. It asks for the root page only, which touches no room.
func (c *Conn) reachable(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.endpoint.http.String(), nil)
	if err != nil {
		return false
	}
	resp, err := c.client.probe.Do(req)
	if err != nil {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	_ = resp.Body.Close()
	return true
}

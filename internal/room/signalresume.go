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

	"github.com/syncflow/textegress/internal/backoff"
)

// resumeTimes contains the timeouts of a signalResume.
type resumeTimes struct {
	grace time.Duration // pause after the loss, because WebRTC may be about to fail, too
	// aliveFor is how long the connection counts as alive after an answer to an ICE keepalive.
	aliveFor   time.Duration
	dial       time.Duration  // timeout of one attempt
	retry      backoff.Policy // pauses between attempts and between checks
	checkEvery time.Duration  // pause between two calls of RoomExists
	// sessionLostAfter is how long the server may be silent over UDP while its host is reachable
	// over TCP.
	sessionLostAfter time.Duration
	networkLostAfter time.Duration // maximum silence in any case
}

// signalResume resumes a lost websocket. A resume request creates the room if it is gone. The
// request is therefore sent only
//
//   - if the server has answered an ICE keepalive since the loss: the WebRTC connection is then
//     alive, and with it the session and the room; or
//   - if JoinOptions.RoomExists confirms the room: a lost path may then still be replaced, see
//     iceRestart.
//
// While the server is silent, signalResume probes the server's root page. If the network works (the
// page arrives, or the port is closed) but keepalives are not answered, the server has been
// restarted or has ended. A signalResume belongs to the goroutine run, except where noted.
type signalResume struct {
	c     *Conn
	t     resumeTimes
	began time.Time

	// number of responses to keepalives seen; responses before the first step prove nothing
	base      uint64
	baseSet   bool
	lastAlive time.Time // time at which the last response was seen
	// reachable is the time since which all probes have succeeded; zero if the last one failed.
	reachable time.Time

	// roomConfirmed allows one attempt although the server is silent.
	roomConfirmed bool
	checkedAt     time.Time // time of the last call of RoomExists
	attempts      int
	next          time.Time // time of the next attempt or probe
	busy          bool      // an attempt or probe is in progress

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (c *Conn) startResume() {
	r := &signalResume{c: c, t: c.client.times.resume, began: time.Now()}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	c.resume = r
	c.recoveryChanged()
}

func (c *Conn) stopResume() {
	if c.resume != nil {
		c.resume.cancel()
		c.resume.wg.Wait()
		c.resume = nil
		c.recoveryChanged()
	}
}

// step checks the connection and starts an attempt or a probe if one is due. pathRecoverable states
// whether a silent path may still be replaced. It returns a Disconnect if the session is lost.
func (r *signalResume) step(pathRecoverable bool) *Disconnect {
	now := time.Now()
	if now.Sub(r.began) < r.t.grace {
		return nil
	}
	switch n := r.c.rtc.Status().Responses; {
	case !r.baseSet:
		r.baseSet, r.base = true, n
	case n > r.base:
		r.base, r.lastAlive, r.reachable = n, now, time.Time{}
	}
	alive := !r.lastAlive.IsZero() && now.Sub(r.lastAlive) < r.t.aliveFor
	silence := now.Sub(r.began)
	if !r.lastAlive.IsZero() {
		silence = now.Sub(r.lastAlive)
	}
	switch {
	case !r.reachable.IsZero() && now.Sub(r.reachable) >= r.t.sessionLostAfter:
		return lost("the session is gone from the server")
	case silence >= r.t.networkLostAfter:
		return lost("the network is silent")
	case r.busy || now.Before(r.next):
		return nil
	case alive || r.roomConfirmed && pathRecoverable:
		r.roomConfirmed = false
		tokens := r.tokens()
		r.busy = true
		r.wg.Go(func() {
			sig, first, err := r.attempt(tokens)
			done := func() *Disconnect { return r.onAttempt(sig, first, err) }
			if !r.complete(done) && sig != nil {
				sig.close()
			}
		})
	default:
		check := pathRecoverable && r.c.o.RoomExists != nil &&
			now.Sub(r.checkedAt) >= r.t.checkEvery
		r.busy = true
		r.wg.Go(func() {
			p := r.probe(check)
			r.complete(func() *Disconnect { return r.onProbe(p) })
		})
	}
	return nil
}

// complete passes done to run. It returns false if the resume was stopped first.
func (r *signalResume) complete(done completed) bool {
	select {
	case r.c.completions <- done:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// probed is the outcome of a probe.
type probed struct {
	at              time.Time
	reachable       bool
	checked, exists bool // exists states whether the room exists; valid if checked
}

// probe checks whether the network works. If it does and check is set, probe also checks whether
// the room exists. It runs on its own goroutine.
func (r *signalResume) probe(check bool) probed {
	p := probed{reachable: r.c.reachable(r.ctx), at: time.Now()}
	if check && p.reachable {
		// RoomExists may block while the server is silent.
		ctx, cancel := context.WithTimeout(r.ctx, r.t.checkEvery)
		defer cancel()
		exists, err := r.c.o.RoomExists(ctx)
		p.checked, p.exists = err == nil, exists
	}
	return p
}

// onProbe records the outcome of a probe. It returns a Disconnect if the room is gone.
func (r *signalResume) onProbe(p probed) *Disconnect {
	r.busy = false
	if p.checked {
		r.checkedAt, r.roomConfirmed = time.Now(), p.exists
		if !p.exists {
			return lost("the room is gone")
		}
	}
	switch {
	case !p.reachable:
		r.reachable = time.Time{}
	case r.reachable.IsZero():
		r.reachable = p.at
	}
	if !r.roomConfirmed {
		r.next = time.Now().Add(r.t.retry.First)
	}
	return nil
}

// tokens returns the tokens for a resume, best first. The server's own token is valid for 10
// minutes on LiveKit 1.11; the original token may be valid for longer.
func (r *signalResume) tokens() []string {
	ts := []string{r.c.token, r.c.o.Token}
	return slices.Compact(slices.DeleteFunc(ts, func(s string) bool { return s == "" }))
}

// attempt requests that the server attach a new websocket to our session. It returns the websocket
// with its first message. It runs on its own goroutine.
func (r *signalResume) attempt(tokens []string) (*signal, *livekit.SignalResponse, error) {
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
				return nil, nil, errors.Join(err, tokenErr)
			}
		default:
			return nil, nil, err
		}
		var sig *signal
		var first *livekit.SignalResponse
		sig, first, err = r.c.client.dial(ctx, r.c.endpoint, token, &livekit.JoinRequest{
			Reconnect: true, ReconnectReason: livekit.ReconnectReason_RR_SIGNAL_DISCONNECTED,
			ParticipantSid: r.c.info.ParticipantSID,
		})
		if err == nil {
			return sig, first, nil
		}
		if je, ok := errors.AsType[*JoinError](err); !ok || !je.Unauthorized() {
			return nil, nil, err
		}
	}
}

// onAttempt continues with the new websocket, or sets the time of the next attempt. It returns a
// Disconnect if the server answered with a Leave.
func (r *signalResume) onAttempt(sig *signal, first *livekit.SignalResponse,
	err error,
) *Disconnect {
	c := r.c
	r.busy = false
	if err != nil {
		c.log.Debug("room: resuming failed", "attempt", r.attempts, "error", err)
		r.attempts++
		r.next = time.Now().Add(r.t.retry.Delay(r.attempts))
		return nil
	}
	if s := turnServers(first.GetReconnect().GetIceServers()); len(s) > 0 {
		c.turn, c.turnSet = s, time.Now()
	}
	if l := first.GetLeave(); l != nil {
		sig.close()
		return disconnectFrom(l)
	}
	c.stopResume()
	c.enter(stateConnected)
	c.startSignals(sig, first)
	return nil
}

// reachable reports whether packets reach the server's host and come back: the server, or a proxy
// before it, answers, or the port is closed. The request is for the root page and affects no room.
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

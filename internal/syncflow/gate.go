package syncflow

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// gatePatience is how long a request may delay another one that a recording needs.
	gatePatience = 2 * time.Second
	// gateMost bounds the requests that a server processes at once. The server has four threads,
	// and a stalled request occupies one of them.
	gateMost = 3
	// serverWait is how long a handler of the server waits for a database connection. It blocks its
	// thread meanwhile, even if its client has disconnected.
	serverWait = 30 * time.Second
	// restartWait bounds the time in which a connection that breaks during a request shows that the
	// server has ended. A server with an exhausted pool breaks it only after [serverWait].
	restartWait = 20 * time.Second
)

// errGaveWay ends a request that delays one that a recording needs.
var errGaveWay = errors.New("gave way to a recording")

// urgency orders the waiting requests.
type urgency int

// The urgencies, least urgent first.
const (
	housekeeping urgency = iota // lists, devices, the project
	asking                      // whether a session runs: the recorder may already have a token
	urgent                      // a token: without one, a session is not recorded
	urgencies
)

// Gate lets one request at a time through to a SyncFlow server. All clients of a server share one.
//
// The server has a pool of five database connections, one of which is held by each running session,
// and four threads, each of which is blocked while a request waits for a connection. Two requests
// at once can stall it for half a minute, for all its clients. Requests therefore take turns, the
// most urgent first.
//
// A stalled request does not delay a recording for longer than [gatePatience]. A housekeeping
// request is then abandoned, which may free its connection, and is retried when the server has
// abandoned it too. Any other request continues, and the next one is sent beside it: a token needs
// a connection only briefly and no call to LiveKit, so its request may succeed where another one
// cannot. At most [gateMost] requests are at the server at any time, however many wait.
//
// The zero value is ready to use.
type Gate struct {
	mu      sync.Mutex
	waiting [urgencies][]*turn
	running []*turn
	// lingering are the abandoned requests that the server may still be processing.
	lingering []*turn
}

// turn is one request at the gate.
type turn struct {
	urgency urgency
	once    bool                    // must not be abandoned: a retry would take effect twice
	giveUp  context.CancelCauseFunc // ends the request
	begin   chan struct{}           // closed when it may be sent
	began   time.Time
}

// enter waits until the request may be sent. ctx is the request's context, which t.giveUp cancels.
func (g *Gate) enter(ctx context.Context, t *turn) error {
	t.begin = make(chan struct{})
	g.mu.Lock()
	g.waiting[t.urgency] = append(g.waiting[t.urgency], t)
	g.mu.Unlock()
	for {
		look := time.NewTimer(g.admit())
		select {
		case <-t.begin:
			look.Stop()
			return nil
		case <-ctx.Done():
			look.Stop()
			g.withdraw(t)
			return context.Cause(ctx)
		case <-look.C:
		}
	}
}

// withdraw removes a request that waits or whose turn has just begun.
func (g *Gate) withdraw(t *turn) {
	g.mu.Lock()
	g.waiting[t.urgency] = remove(g.waiting[t.urgency], t)
	g.running = remove(g.running, t)
	g.mu.Unlock()
	g.admit()
}

// leave ends a turn. answered: the server has finished the request.
func (g *Gate) leave(t *turn, answered bool) {
	g.mu.Lock()
	if slices.Contains(g.running, t) {
		g.running = remove(g.running, t)
		if !answered {
			g.lingering = append(g.lingering, t)
		}
	} else if answered { // abandoned, but answered
		g.lingering = remove(g.lingering, t)
	}
	g.mu.Unlock()
	g.admit()
}

// reset drops the abandoned requests: the server that processed them has ended.
func (g *Gate) reset() {
	g.mu.Lock()
	g.lingering = nil
	g.mu.Unlock()
	g.admit()
}

// admit begins the turns that are due. It returns the longest time until it must be called again.
func (g *Gate) admit() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.lingering = slices.DeleteFunc(g.lingering,
		func(t *turn) bool { return now.Sub(t.began) >= serverWait })
	for {
		next := g.next()
		if next == nil {
			return serverWait
		}
		if next.urgency != housekeeping {
			g.giveWay(now)
		}
		if !g.due(next, now) {
			return g.lookAgain(now)
		}
		g.waiting[next.urgency] = g.waiting[next.urgency][1:]
		next.began = now
		g.running = append(g.running, next)
		close(next.begin)
	}
}

func (g *Gate) next() *turn {
	for _, w := range slices.Backward(g.waiting[:]) {
		if len(w) > 0 {
			return w[0]
		}
	}
	return nil
}

// due reports whether next may be sent now.
func (g *Gate) due(next *turn, now time.Time) bool {
	if next.urgency == housekeeping {
		return len(g.running)+len(g.lingering) == 0
	}
	if len(g.running)+len(g.lingering) >= gateMost {
		return false
	}
	for _, t := range g.running {
		if !stalled(t, now) {
			return false
		}
	}
	return true
}

// giveWay abandons housekeeping requests that have taken too long.
func (g *Gate) giveWay(now time.Time) {
	for _, t := range slices.Clone(g.running) {
		if t.urgency == housekeeping && !t.once && stalled(t, now) {
			t.giveUp(errGaveWay)
			g.running = remove(g.running, t)
			g.lingering = append(g.lingering, t)
		}
	}
}

// lookAgain returns the time until a limit expires: the patience for a running request, or the
// server's wait for an abandoned one.
func (g *Gate) lookAgain(now time.Time) time.Duration {
	d := serverWait
	for _, t := range g.running {
		if left := gatePatience - now.Sub(t.began); left > 0 {
			d = min(d, left)
		}
	}
	for _, t := range g.lingering {
		d = min(d, serverWait-now.Sub(t.began))
	}
	return d
}

func stalled(t *turn, now time.Time) bool { return now.Sub(t.began) >= gatePatience }

func remove(list []*turn, t *turn) []*turn {
	return slices.DeleteFunc(list, func(other *turn) bool { return other == t })
}

package syncflow

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// gatePatience is how long one request may keep another waiting that a recording needs.
	gatePatience = 2 * time.Second
	// gateMost bounds the requests that a server may still be busy with. It has four threads, and a
	// stalled request holds one of them.
	gateMost = 3
	// serverWait is how long a handler of the server waits for a database connection, with its
	// thread held, whether or not its client is still there.
	serverWait = 30 * time.Second
	// restartWait: a server that cuts off a request it has had for less than this does so because
	// it ends. One whose pool is exhausted does so after [serverWait].
	restartWait = 20 * time.Second
)

// errGaveWay ends a request that kept one waiting that a recording needs.
var errGaveWay = errors.New("gave way to a recording")

// urgency orders the requests that wait.
type urgency int

// The urgencies, the least urgent one first.
const (
	housekeeping urgency = iota // lists, devices, the project
	asking                      // whether a session runs: a recorder may have a token meanwhile
	urgent                      // a token: without it a session is not recorded
	urgencies
)

// Gate lets one request at a time through to a SyncFlow server. All clients of a server share one.
//
// The server has a database pool of five connections, of which each session that runs holds one,
// and four threads, each of which is blocked while a request waits for a connection. Two requests
// at once can stall it for half a minute, for everybody. So requests take turns, the most urgent
// first.
//
// A stalled request does not keep a recording waiting for longer than [gatePatience]. Housekeeping
// is given up then, which may free its connection, and is sent again when the server has given up
// too. Anything else continues, and the next request is sent beside it: a token needs a connection
// for a moment and no call to LiveKit, so it may well succeed where another request cannot. However
// many wait, requests that the server is still busy with are never more than [gateMost].
//
// The zero value is ready to use.
type Gate struct {
	mu      sync.Mutex
	waiting [urgencies][]*turn
	running []*turn
	// lingering are the requests that were given up, until the server has given them up too.
	lingering []*turn
}

// turn is one request at the gate.
type turn struct {
	urgency urgency
	once    bool                    // must not be given up: sent again, it would take effect twice
	giveUp  context.CancelCauseFunc // ends the request
	begin   chan struct{}           // closed when it may be sent
	began   time.Time
}

// enter waits until the request may be sent. ctx is that of the request, giveUp ends it.
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

// withdraw takes back a request that waits, or whose turn has just come.
func (g *Gate) withdraw(t *turn) {
	g.mu.Lock()
	g.waiting[t.urgency] = remove(g.waiting[t.urgency], t)
	g.running = remove(g.running, t)
	g.mu.Unlock()
	g.admit()
}

// leave ends a turn. answered: the server is done with the request.
func (g *Gate) leave(t *turn, answered bool) {
	g.mu.Lock()
	if slices.Contains(g.running, t) {
		g.running = remove(g.running, t)
		if !answered {
			g.lingering = append(g.lingering, t)
		}
	} else if answered { // given up, and answered all the same
		g.lingering = remove(g.lingering, t)
	}
	g.mu.Unlock()
	g.admit()
}

// reset drops the requests that were given up: the server that was busy with them has ended.
func (g *Gate) reset() {
	g.mu.Lock()
	g.lingering = nil
	g.mu.Unlock()
	g.admit()
}

// admit begins the turns that are due, and returns when to look again at the latest.
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

// giveWay gives up the housekeeping that has taken too long.
func (g *Gate) giveWay(now time.Time) {
	for _, t := range slices.Clone(g.running) {
		if t.urgency == housekeeping && !t.once && stalled(t, now) {
			t.giveUp(errGaveWay)
			g.running = remove(g.running, t)
			g.lingering = append(g.lingering, t)
		}
	}
}

// lookAgain returns how long it takes until something may have changed that nobody reports.
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

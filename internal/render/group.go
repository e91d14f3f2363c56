package render

import (
	"context"
	"errors"
	"sync"
)

// group is goroutines that help the one that waits for them. The first error, of whichever, stops
// all of them.
type group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	err      error // the first one
	panicked any
}

// errPanicked stops the others; the panic itself goes on in wait.
var errPanicked = errors.New("export: another part of it panicked")

func newGroup(ctx context.Context) *group {
	g := &group{}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

func (g *group) run(f func(context.Context) error) {
	g.wg.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				g.mu.Lock()
				g.panicked = p
				g.mu.Unlock()
				g.fail(errPanicked)
			}
		}()
		if err := f(g.ctx); err != nil {
			g.fail(err)
		}
	})
}

func (g *group) fail(err error) {
	g.mu.Lock()
	if g.err == nil {
		g.err = err
	}
	g.mu.Unlock()
	g.cancel(err)
}

// wait takes the error of the one that waits, and returns the first one of all. A panic of another
// goroutine goes on in this one, where whoever called expects it.
func (g *group) wait(err error) error {
	if err != nil {
		g.fail(err)
	}
	g.wg.Wait()
	if g.panicked != nil {
		panic(g.panicked)
	}
	return g.err
}

// stop ends what still runs. Called again, or after wait, it does nothing.
func (g *group) stop() {
	g.cancel(context.Canceled)
	g.wg.Wait()
}

package rabbitmq

import (
	"slices"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/session"
)

// Mark is what a listener remembers over a restart.
type Mark struct {
	// Heard is until when announcements are known to have reached our queue; zero: not yet.
	Heard time.Time `json:"heard,omitzero"`
	// Missed are the gaps whose sessions have not been looked for.
	Missed []session.Gap `json:"missed,omitempty"`
	// Silent, see [session.SourceState].
	Silent time.Time `json:"silent,omitzero"`
}

// Memory keeps the mark of a listener. The durable queue keeps announcements while only this
// process is away; if the queue or its binding is gone when it comes back, the mark says since
// when.
type Memory interface {
	// Load returns the zero Mark where there is none.
	Load() (Mark, error)
	Save(m Mark) error
}

// mostGaps bounds the gaps that are kept one by one. More are merged into one that spans them.
const mostGaps = 32

// usualStart bounds the time from the start until the queue is bound, where nothing fails.
const usualStart = 10 * time.Second

// ledger is the mark of a listener, in memory and in its Memory.
type ledger struct {
	began time.Time // when there was a listener first

	mu     sync.Mutex
	memory Memory // nil: nothing outlives the process
	mark   Mark
}

func (l *ledger) load() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.memory == nil {
		return nil
	}
	m, err := l.memory.Load()
	if err != nil {
		return err
	}
	l.mark = m
	return nil
}

// heard records that announcements reached the queue until at.
func (l *ledger) heard(at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.After(l.mark.Heard) {
		l.mark.Heard = at
	}
	return l.save()
}

// missed records a gap that ends at to. It begins where announcements were heard last, or at the
// earliest of the times in since that are not zero. Before the queue was bound for the first time
// there is one where that took unusually long, with a wrong key for instance: it begins at the
// start.
func (l *ledger) missed(to time.Time, since ...time.Time) (session.Gap, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := session.Gap{From: l.mark.Heard, To: to}
	if g.From.IsZero() {
		if to.Sub(l.began) < usualStart {
			return g, false, nil
		}
		g.From = l.began
	}
	for _, at := range since {
		if !at.IsZero() && at.Before(g.From) {
			g.From = at
		}
	}
	if len(l.mark.Missed) >= mostGaps {
		g.From = slices.MinFunc(l.mark.Missed,
			func(a, b session.Gap) int { return a.From.Compare(b.From) }).From
		l.mark.Missed = nil
	}
	l.mark.Missed = append(l.mark.Missed, g)
	l.mark.Heard = to
	return g, true, l.save()
}

// settle removes gaps whose sessions have been looked for.
func (l *ledger) settle(gaps []session.Gap) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark.Missed = slices.DeleteFunc(l.mark.Missed,
		func(g session.Gap) bool { return slices.Contains(gaps, g) })
	return l.save()
}

// silent records since when SyncFlow announces nothing; zero: it does. It returns the time recorded
// before.
func (l *ledger) silent(since time.Time) (before time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before = l.mark.Silent
	if before.Equal(since) {
		return before, nil
	}
	l.mark.Silent = since
	return before, l.save()
}

// now returns the mark as it is.
func (l *ledger) now() Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.mark
	m.Missed = slices.Clone(m.Missed)
	return m
}

func (l *ledger) save() error {
	if l.memory == nil {
		return nil
	}
	m := l.mark
	m.Missed = slices.Clone(m.Missed)
	return l.memory.Save(m)
}

package rabbitmq

import (
	"slices"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/session"
)

// Mark is the part of a source's state that survives a restart.
type Mark struct {
	// Heard is the last time at which announcements are known to have reached our queue; zero if
	// there is none.
	Heard time.Time `json:"heard,omitzero"`
	// Missed are the gaps whose sessions have not been looked for.
	Missed []session.Gap `json:"missed,omitempty"`
	// Silent is the same as in [session.SourceState].
	Silent time.Time `json:"silent,omitzero"`
}

// Memory stores the mark of a source. The durable queue keeps announcements while only this process
// is not running. If the queue or its binding is gone when the process returns, the mark shows
// since when announcements may be lost.
type Memory interface {
	// Load returns the zero Mark if there is none.
	Load() (Mark, error)
	Save(m Mark) error
}

// mostGaps bounds the number of separate gaps. Beyond it they are merged into one that spans them
// all.
const mostGaps = 32

// usualStart bounds the time from the start until the queue is bound, if nothing fails.
const usualStart = 10 * time.Second

// ledger holds the mark of a source, in memory and in its Memory.
type ledger struct {
	began time.Time // when the source was created

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

// missed records a gap that ends at to. The gap begins when announcements were last heard, or at
// the earliest nonzero time in since if that is earlier. Until the queue has been bound once, there
// is a gap only if the start takes longer than usualStart, for instance with a wrong key; that gap
// begins at the start. missed reports whether there is a gap.
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

// silent records since when SyncFlow has been silent, zero if it is not. It returns the previous
// value.
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

// now returns a copy of the mark.
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

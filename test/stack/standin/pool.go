package standin

import (
	"slices"
	"sync"
	"time"
)

// pool is the database pool. It has no real connections, only a number of them.
type pool struct {
	mu      sync.Mutex
	size    int
	used    int
	waiting []chan struct{} // closed when its owner has a connection; in the order of arrival
}

// take waits for a connection. It returns false if none became free in time.
func (p *pool) take(most time.Duration) bool {
	p.mu.Lock()
	if p.used < p.size {
		p.used++
		p.mu.Unlock()
		return true
	}
	turn := make(chan struct{})
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-turn:
		return true
	case <-t.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, turn); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		return false
	}
	return true // granted just before the timeout
}

func (p *pool) give() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	p.admit()
}

// resize changes the size. Connections in use stay in use.
func (p *pool) resize(size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size = size
	p.admit()
}

// admit gives free connections to waiting callers. p.mu is held.
func (p *pool) admit() {
	for p.used < p.size && len(p.waiting) > 0 {
		close(p.waiting[0])
		p.waiting = p.waiting[1:]
		p.used++
	}
}

func (p *pool) inUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

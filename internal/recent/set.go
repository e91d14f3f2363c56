// Package recent remembers the latest of many ids in bounded memory.
package recent

import "sync"

// Max is the maximum number of ids in a set; beyond it, a new id replaces the oldest.
const Max = 10_000

// Set is a set of the latest ids. The zero value is empty. It is safe for concurrent use.
type Set struct {
	mu    sync.Mutex
	ids   map[string]bool
	order []string // ring, oldest at next
	next  int
}

// Add adds an id and reports whether it is new.
func (s *Set) Add(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids[id] {
		return false
	}
	if s.ids == nil {
		s.ids = map[string]bool{}
	}
	s.ids[id] = true
	if len(s.order) < Max {
		s.order = append(s.order, id)
		return true
	}
	delete(s.ids, s.order[s.next])
	s.order[s.next] = id
	s.next = (s.next + 1) % Max
	return true
}

// Has reports whether an id is in the set.
func (s *Set) Has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id]
}

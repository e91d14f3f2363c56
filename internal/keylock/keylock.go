// Package keylock locks by key: one at a time for each, and different keys at once.
package keylock

import "sync"

// Mutex is a lock for each key. The zero value is ready to use. It keeps nothing of a key that
// nobody has locked.
type Mutex[K comparable] struct {
	mu     sync.Mutex
	locked map[K]chan struct{} // closed when the key is unlocked
}

// Lock waits until nobody has locked the key, and locks it. Whoever gets it calls unlock once.
func (m *Mutex[K]) Lock(key K) (unlock func()) {
	for {
		other, unlock := m.try(key)
		if unlock != nil {
			return unlock
		}
		<-other
	}
}

// try locks the key, or returns what is closed when somebody else unlocks it.
func (m *Mutex[K]) try(key K) (other <-chan struct{}, unlock func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if other, ok := m.locked[key]; ok {
		return other, nil
	}
	if m.locked == nil {
		m.locked = map[K]chan struct{}{}
	}
	mine := make(chan struct{})
	m.locked[key] = mine
	return nil, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.locked, key)
		close(mine)
	}
}

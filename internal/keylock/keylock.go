// Package keylock provides a mutex per key. Different keys can be locked at the same time.
package keylock

import "sync"

// Mutex is a set of mutexes, one for each key. The zero value is ready to use. An unlocked key
// takes no memory.
type Mutex[K comparable] struct {
	mu     sync.Mutex
	locked map[K]chan struct{} // closed when the key is unlocked
}

// Lock locks the key. If the key is locked, it waits until it is unlocked. The caller must call
// unlock exactly once.
func (m *Mutex[K]) Lock(key K) (unlock func()) {
	for {
		other, unlock := m.try(key)
		if unlock != nil {
			return unlock
		}
		<-other
	}
}

// try locks the key and returns unlock, or returns a channel that is closed when the current holder
// unlocks the key.
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

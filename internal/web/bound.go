package web

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// boundedListener keeps at most max connections open. A further connection replaces the one that
// has waited longest for a request, so that idle connections block no other. It waits only if all
// connections have requests in progress.
type boundedListener struct {
	net.Listener

	max int

	mu      sync.Mutex // guards the rest
	changed *sync.Cond
	closed  bool
	conns   map[net.Conn]*boundedConn
	ticks   uint64
}

// boundedConn is one open connection.
type boundedConn struct {
	waiting bool   // for a request; false while one is in progress
	since   uint64 // the tick at which it began to wait
}

func newBoundedListener(l net.Listener, maxConns int) *boundedListener {
	b := &boundedListener{Listener: l, max: maxConns, conns: make(map[net.Conn]*boundedConn)}
	b.changed = sync.NewCond(&b.mu)
	return b
}

// Accept implements [net.Listener].
func (b *boundedListener) Accept() (net.Conn, error) {
	conn, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.conns) >= b.max {
		if b.closed {
			_ = conn.Close()
			return nil, net.ErrClosed
		}
		if oldest := b.longestWaiting(); oldest != nil {
			delete(b.conns, oldest)
			_ = raw(oldest).Close()
			continue
		}
		b.changed.Wait()
	}
	b.ticks++
	b.conns[conn] = &boundedConn{waiting: true, since: b.ticks}
	return conn, nil
}

// raw returns the connection below TLS. Closing that does not wait for a peer that does not read.
func raw(conn net.Conn) net.Conn {
	if t, ok := conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return conn
}

// longestWaiting returns the connection that has waited longest for a request, nil if there is
// none.
func (b *boundedListener) longestWaiting() (oldest net.Conn) {
	for conn, c := range b.conns {
		if c.waiting && (oldest == nil || c.since < b.conns[oldest].since) {
			oldest = conn
		}
	}
	return oldest
}

// Close implements [net.Listener].
func (b *boundedListener) Close() error {
	b.mu.Lock()
	b.closed = true
	b.changed.Broadcast()
	b.mu.Unlock()
	return b.Listener.Close()
}

// connState is the hook of the [http.Server] that serves the connections.
func (b *boundedListener) connState(conn net.Conn, state http.ConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.conns[conn]
	if c == nil {
		return // already replaced
	}
	switch state {
	case http.StateNew: // waiting since it was accepted
	case http.StateActive: // the header of a request has been read
		c.waiting = false
	case http.StateIdle:
		b.ticks++
		c.waiting, c.since = true, b.ticks
		b.changed.Broadcast()
	case http.StateClosed, http.StateHijacked:
		delete(b.conns, conn)
		b.changed.Broadcast()
	}
}

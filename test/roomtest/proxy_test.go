package roomtest

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy is what stands before a LiveKit server's websocket: it can cut all connections, and be
// closed for a while.
type proxy struct {
	target string
	url    string

	mu    sync.Mutex
	l     net.Listener
	conns map[net.Conn]bool
	taken int
	dark  chan struct{} // not nil: nothing passes until it is closed
	lost  map[net.Conn]bool
}

func newProxy(t testing.TB, wsURL string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{
		target: strings.TrimPrefix(wsURL, "ws://"), url: "ws://" + l.Addr().String(), l: l,
		conns: map[net.Conn]bool{}, lost: map[net.Conn]bool{},
	}
	go p.accept(l)
	t.Cleanup(func() { p.close(); p.thaw(); p.cut() })
	return p
}

func (p *proxy) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go p.serve(c)
	}
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	p.pass(c)
	s, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer s.Close()
	p.mu.Lock()
	p.conns[c] = true
	p.taken++
	p.mu.Unlock()
	go func() { p.copy(s, c, c); s.Close() }()
	p.copy(c, s, c)
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func (p *proxy) copy(to, from, client net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if !p.pass(client) {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// pass waits while nothing passes, and reports whether the connection still leads anywhere.
func (p *proxy) pass(client net.Conn) bool {
	p.mu.Lock()
	dark := p.dark
	p.mu.Unlock()
	if dark != nil {
		<-dark
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.lost[client]
}

// freeze lets nothing pass until thaw: TCP sends it then.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dark = make(chan struct{})
}

func (p *proxy) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dark != nil {
		close(p.dark)
		p.dark = nil
	}
}

// moved is a change of the client's address: what it has open leads nowhere from now on, without
// anybody being told.
func (p *proxy) moved() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.lost[c] = true
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// close refuses new connections until open.
func (p *proxy) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.l.Close()
}

func (p *proxy) open(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	l, err := net.Listen("tcp", p.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p.l = l
	go p.accept(l)
}

// connections is how many were made so far.
func (p *proxy) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

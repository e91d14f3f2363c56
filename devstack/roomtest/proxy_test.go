package roomtest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy is what stands before a LiveKit server's websocket: it can cut all connections, and be closed for a while.
type proxy struct {
	target string
	url    string

	mu    sync.Mutex
	l     net.Listener
	conns map[net.Conn]bool
	taken int
}

func newProxy(t testing.TB, wsURL string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: strings.TrimPrefix(wsURL, "ws://"), url: "ws://" + l.Addr().String(), l: l, conns: map[net.Conn]bool{}}
	go p.accept(l)
	t.Cleanup(func() { p.close(); p.cut() })
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
	s, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer s.Close()
	p.mu.Lock()
	p.conns[c] = true
	p.taken++
	p.mu.Unlock()
	go func() { _, _ = io.Copy(s, c); s.Close() }()
	_, _ = io.Copy(c, s)
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
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

package roomtest

import (
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"

	"github.com/syncflow/textegress/internal/udp"
)

// faultNet is the network below one client's WebRTC. What it does to packets it does in both
// directions, on our side of the sockets: the server is a real one and knows nothing of it. TCP
// connections (TURN) are not touched, only led astray.
type faultNet struct {
	sockets udp.Poller
	*stdnet.Net

	noDirect bool              // UDP works only to turnPort
	turnPort int               // of the TURN server
	hosts    map[string]string // host:port → host:port, for TCP

	mu    sync.Mutex
	conns []*faultConn
	f     faults
	tcp   int // connections opened so far
}

// faults are what happens to each packet, in each direction.
type faults struct {
	dark        bool    // nothing passes
	loss, twice float64 // probabilities
	// a packet takes delay, and up to jitter more: packets overtake each other
	delay, jitter time.Duration
}

func newFaultNet(t testing.TB) *faultNet {
	t.Helper()
	n, err := stdnet.NewNet()
	if err != nil {
		t.Fatal(err)
	}
	return &faultNet{Net: n, sockets: udp.Poller{Interval: udp.Interval}}
}

func (n *faultNet) set(f faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.f = f
}

// moved is a change of our address: the sockets there are lead nowhere from now on, later ones do.
func (n *faultNet) moved() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.dead = true
	}
}

func (n *faultNet) dialed() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tcp
}

// of returns what happens to a packet of a socket to or from an address.
func (n *faultNet) of(c *faultConn, a net.Addr) faults {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.f
	if u, ok := a.(*net.UDPAddr); c.dead || n.noDirect && ok && u.Port != n.turnPort {
		f.dark = true
	}
	return f
}

func (n *faultNet) wrap(c transport.UDPConn) *faultConn {
	f := &faultConn{UDPConn: c, n: n, in: make(chan received, 4096), expired: make(chan struct{})}
	n.mu.Lock()
	n.conns = append(n.conns, f)
	n.mu.Unlock()
	go f.pump()
	return f
}

func (n *faultNet) ListenUDP(network string, a *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.sockets.Listen(network, a) // as the client does without this network
	if err != nil {
		return nil, err
	}
	return n.wrap(c), nil
}

// ListenPacket is what the TURN client uses.
func (n *faultNet) ListenPacket(network, address string) (net.PacketConn, error) {
	a, err := net.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	return n.ListenUDP(network, a)
}

func (n *faultNet) ResolveTCPAddr(network, address string) (*net.TCPAddr, error) {
	if to, ok := n.hosts[address]; ok {
		address = to
	}
	return n.Net.ResolveTCPAddr(network, address)
}

// ResolveUDPAddr is asked by the TURN client for TCP servers too.
func (n *faultNet) ResolveUDPAddr(network, address string) (*net.UDPAddr, error) {
	if to, ok := n.hosts[address]; ok {
		address = to
	}
	return n.Net.ResolveUDPAddr(network, address)
}

func (n *faultNet) DialTCP(network string, from, to *net.TCPAddr) (transport.TCPConn, error) {
	n.mu.Lock()
	n.tcp++
	n.mu.Unlock()
	return n.Net.DialTCP(network, from, to)
}

type received struct {
	b    []byte
	from net.Addr
}

// faultConn is one socket.
type faultConn struct {
	transport.UDPConn
	n    *faultNet
	dead bool // guarded by n.mu

	in      chan received
	once    sync.Once
	expired chan struct{} // a deadline was set, which pion does to stop reading; or it was closed
}

// do lets the faults happen to a packet, and passes on what is left of it.
func (c *faultConn) do(a net.Addr, b []byte, pass func([]byte)) {
	f := c.n.of(c, a)
	if f.dark || rand.Float64() < f.loss {
		return
	}
	times := 1
	if rand.Float64() < f.twice {
		times = 2
	}
	for range times {
		if f.delay == 0 && f.jitter == 0 {
			pass(b)
			continue
		}
		d := f.delay
		if f.jitter > 0 {
			d += rand.N(f.jitter)
		}
		later := slices.Clone(b)
		time.AfterFunc(d, func() {
			if !c.n.of(c, a).dark {
				pass(later)
			}
		})
	}
}

func (c *faultConn) pump() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := c.UDPConn.ReadFrom(buf)
		if err != nil {
			c.once.Do(func() { close(c.expired) })
			return
		}
		c.do(from, slices.Clone(buf[:n]), func(b []byte) {
			select {
			case c.in <- received{b, from}:
			default: // as a full socket buffer
			}
		})
	}
}

func (c *faultConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-c.in:
		return copy(b, p.b), p.from, nil
	case <-c.expired:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (c *faultConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.do(to, b, func(b []byte) { _, _ = c.UDPConn.WriteTo(b, to) })
	return len(b), nil
}

func (c *faultConn) SetDeadline(t time.Time) error {
	if !t.IsZero() {
		c.once.Do(func() { close(c.expired) })
	}
	return c.UDPConn.SetDeadline(t)
}

func (c *faultConn) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }

func (c *faultConn) Close() error {
	c.once.Do(func() { close(c.expired) })
	return c.UDPConn.Close()
}

package room

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/deadline"
)

// waitingDatagrams bounds what may wait for DTLS, in bytes. What does not fit is lost, as in a
// socket's buffer, and SCTP sends it again.
const waitingDatagrams = 2 << 20

// maxDatagram is the size of a read buffer: more than any path carries.
const maxDatagram = 8192

// datagrams is the way below DTLS: a net.PacketConn with one peer. What comes in is what put is
// given; what goes out takes the path that ICE has chosen.
//
// ICE's own connection would do the same, one goroutine and one copy later, and it keeps one queue
// for all paths.
type datagrams struct {
	out      atomic.Pointer[ice.Conn]
	heard    atomic.Int64 // when anything last came over the sockets, unix ns; 0: nothing has
	ready    chan struct{}
	done     chan struct{}
	deadline *deadline.Deadline

	mu     sync.Mutex
	queue  []*[]byte
	bytes  int
	closed bool
}

func newDatagrams() *datagrams {
	return &datagrams{
		ready: make(chan struct{}, 1), done: make(chan struct{}),
		deadline: deadline.New(),
	}
}

// datagramPool has buffers for usual datagrams: SCTP keeps below 1200 bytes.
var datagramPool = sync.Pool{New: func() any { b := make([]byte, 0, 1500); return &b }}

// put takes a datagram from a socket. b is copied.
func (d *datagrams) put(b []byte) {
	d.heard.Store(time.Now().UnixNano())
	p := datagramPool.Get().(*[]byte) //nolint:forcetypeassert // see its New
	*p = append((*p)[:0], b...)
	d.mu.Lock()
	fits := !d.closed && d.bytes+len(b) <= waitingDatagrams
	if fits {
		d.queue = append(d.queue, p)
		d.bytes += len(b)
	}
	d.mu.Unlock()
	if !fits {
		datagramPool.Put(p)
		return
	}
	select {
	case d.ready <- struct{}{}:
	default: // the reader knows
	}
}

// take copies the first datagram to b.
func (d *datagrams) take(b []byte) (n int, ok bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return 0, false, net.ErrClosed
	case len(d.queue) == 0:
		return 0, false, nil
	}
	p := d.queue[0]
	d.queue[0] = nil
	if d.queue = d.queue[1:]; len(d.queue) == 0 && cap(d.queue) > 64 {
		d.queue = nil // what a burst needed is not kept
	}
	d.bytes -= len(*p)
	n = copy(b, *p)
	datagramPool.Put(p)
	return n, true, nil
}

// ReadFrom returns the next datagram. The address means nothing.
func (d *datagrams) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, ok, err := d.take(b)
		if ok || err != nil {
			return n, theServer, err
		}
		select {
		case <-d.ready:
		case <-d.done:
		case <-d.deadline.Done():
			return 0, nil, os.ErrDeadlineExceeded
		}
	}
}

// WriteTo sends a datagram. Without a path it is lost: DTLS and SCTP send again what matters.
func (d *datagrams) WriteTo(b []byte, _ net.Addr) (int, error) {
	c := d.out.Load()
	if c == nil {
		return len(b), nil
	}
	n, err := c.Write(b)
	if errors.Is(err, ice.ErrNoCandidatePairs) {
		return len(b), nil
	}
	return n, err
}

func (d *datagrams) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.closed = true
		close(d.done)
	}
	return nil
}

func (d *datagrams) LocalAddr() net.Addr { return theServer }

func (d *datagrams) SetDeadline(t time.Time) error { return d.SetReadDeadline(t) }

func (d *datagrams) SetReadDeadline(t time.Time) error {
	d.deadline.Set(t)
	return nil
}

func (d *datagrams) SetWriteDeadline(time.Time) error { return nil } // nothing waits

// theServer stands for an address where a path may have several in the course of time.
var theServer net.Addr = &net.UDPAddr{}

// sockets is a network whose UDP sockets keep DTLS from ICE: it goes to in at once. ICE reads the
// sockets, so its goroutine does it.
type sockets struct {
	transport.Net
	in *datagrams
}

func (s sockets) ListenUDP(network string, a *net.UDPAddr) (transport.UDPConn, error) {
	c, err := s.Net.ListenUDP(network, a)
	if err != nil {
		return nil, err
	}
	if fast, ok := c.(addrPortConn); ok {
		return fastSocket{fast, s.in}, nil
	}
	return socket{c, s.in}, nil
}

// addrPortConn is a socket that needs no net.Addr; see ice.AddrPortReaderWriter.
type addrPortConn interface {
	transport.UDPConn
	ice.AddrPortReaderWriter
}

type fastSocket struct {
	addrPortConn
	in *datagrams
}

func (s fastSocket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := s.addrPortConn.ReadFromAddrPort(b)
		if s.in.notFor(b[:n], err) {
			return n, from, err
		}
	}
}

type socket struct {
	transport.UDPConn
	in *datagrams
}

func (s socket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.UDPConn.ReadFrom(b)
		if s.in.notFor(b[:n], err) {
			return n, from, err
		}
	}
}

// notFor takes what a socket has read, unless it is an error or not DTLS.
func (d *datagrams) notFor(b []byte, err error) bool {
	switch {
	case err != nil:
		return true
	case isDTLS(b):
		d.put(b)
		return false
	}
	d.heard.Store(time.Now().UnixNano())
	return true
}

// isDTLS tells DTLS from STUN and all else that may share a socket with it (RFC 7983). Whether it
// is the server's is what DTLS finds out.
func isDTLS(b []byte) bool { return len(b) > 0 && b[0] >= 20 && b[0] <= 63 }

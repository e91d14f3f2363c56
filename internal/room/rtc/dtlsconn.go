package rtc

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/transport/v4/deadline"
)

// maxQueued bounds the bytes that wait for DTLS. Datagrams that do not fit are lost, as in a
// socket's buffer, and SCTP retransmits them.
const maxQueued = 2 << 20

// maxDatagram is the size of a read buffer. It is more than any path carries.
const maxDatagram = 8192

// dtlsConn is the net.PacketConn below DTLS, with one peer. enqueue adds received datagrams. Sent
// datagrams take the path that ICE has chosen.
//
// ICE's own connection would do the same with an additional goroutine and copy, and it keeps one
// queue for all paths.
type dtlsConn struct {
	out          atomic.Pointer[ice.Conn]
	lastReceived atomic.Int64 // arrival of the last packet over the sockets, unix ns; 0: none yet
	ready        chan struct{}
	done         chan struct{}
	deadline     *deadline.Deadline
	arrivals     *arrivals // records each datagram that DTLS reads

	mu     sync.Mutex
	queue  []datagram
	bytes  int
	closed bool
}

// datagram is a datagram that waits for DTLS.
type datagram struct {
	b  *[]byte
	at time.Time // time of its arrival
}

func newDTLSConn() *dtlsConn {
	return &dtlsConn{
		ready: make(chan struct{}, 1), done: make(chan struct{}),
		deadline: deadline.New(),
	}
}

// datagramPool contains buffers for usual datagrams. SCTP stays below 1200 bytes.
var datagramPool = sync.Pool{New: func() any { b := make([]byte, 0, 1500); return &b }}

// enqueue adds a copy of a datagram that arrived at the given time.
func (d *dtlsConn) enqueue(b []byte, at time.Time) {
	d.lastReceived.Store(at.UnixNano())
	p := datagramPool.Get().(*[]byte) //nolint:forcetypeassert // see its New
	*p = append((*p)[:0], b...)
	d.mu.Lock()
	fits := !d.closed && d.bytes+len(b) <= maxQueued
	if fits {
		d.queue = append(d.queue, datagram{p, at})
		d.bytes += len(b)
	}
	d.mu.Unlock()
	if !fits {
		datagramPool.Put(p)
		return
	}
	select {
	case d.ready <- struct{}{}:
	default: // already signalled
	}
}

// dequeue copies the first datagram to b.
func (d *dtlsConn) dequeue(b []byte) (n int, ok bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return 0, false, net.ErrClosed
	case len(d.queue) == 0:
		return 0, false, nil
	}
	next := d.queue[0]
	d.queue[0] = datagram{}
	if d.queue = d.queue[1:]; len(d.queue) == 0 && cap(d.queue) > 64 {
		d.queue = nil // the memory of a burst is not kept
	}
	d.bytes -= len(*next.b)
	n = copy(b, *next.b)
	datagramPool.Put(next.b)
	if d.arrivals != nil {
		d.arrivals.onDatagram(b[:n], next.at)
	}
	return n, true, nil
}

// ReadFrom returns the next datagram. The address is placeholderAddr.
func (d *dtlsConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, ok, err := d.dequeue(b)
		if ok || err != nil {
			return n, placeholderAddr, err
		}
		select {
		case <-d.ready:
		case <-d.done:
		case <-d.deadline.Done():
			return 0, nil, os.ErrDeadlineExceeded
		}
	}
}

// WriteTo sends a datagram. Without a path, the datagram is lost; DTLS and SCTP retransmit what
// matters.
func (d *dtlsConn) WriteTo(b []byte, _ net.Addr) (int, error) {
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

func (d *dtlsConn) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.closed = true
		close(d.done)
	}
	return nil
}

func (d *dtlsConn) LocalAddr() net.Addr { return placeholderAddr }

func (d *dtlsConn) SetDeadline(t time.Time) error { return d.SetReadDeadline(t) }

func (d *dtlsConn) SetReadDeadline(t time.Time) error {
	d.deadline.Set(t)
	return nil
}

func (d *dtlsConn) SetWriteDeadline(time.Time) error { return nil } // writes do not wait

// placeholderAddr is used in place of the peer's address, because a connection may have several
// paths in the course of time.
var placeholderAddr net.Addr = &net.UDPAddr{}

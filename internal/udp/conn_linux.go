package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/pion/transport/v4/deadline"
	"golang.org/x/sys/unix"
)

// Conn is an unconnected socket. It is safe for concurrent use.
type Conn struct {
	fd       int
	local    *net.UDPAddr
	poller   *Poller
	ready    chan struct{} // capacity 1: packets may have arrived since the last read
	done     chan struct{} // closed by Close
	deadline *deadline.Deadline

	receiveMu sync.Mutex
	control   [64]byte // control messages of a packet

	mu     sync.RWMutex // read-locked during each system call, so that the descriptor stays open
	closed bool
}

// Listen opens a socket like net.ListenUDP.
func (p *Poller) Listen(network string, a *net.UDPAddr) (*Conn, error) {
	std, err := net.ListenUDP(network, a)
	if err != nil {
		return nil, err
	}
	defer std.Close() //nolint:errcheck // the second descriptor keeps the socket open
	raw, err := std.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{
		poller: p, ready: make(chan struct{}, 1), done: make(chan struct{}),
		deadline: deadline.New(),
	}
	c.local, _ = std.LocalAddr().(*net.UDPAddr)
	var dupErr error
	// This second descriptor of the socket is not registered with the runtime's poller.
	err = raw.Control(func(fd uintptr) {
		c.fd, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, dupErr); err != nil {
		return nil, fmt.Errorf("duplicating a socket: %w", err)
	}
	err = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	if err != nil {
		err = fmt.Errorf("asking for the times of packets: %w", err)
	} else {
		err = p.add(c)
	}
	if err != nil {
		_ = unix.Close(c.fd)
		return nil, err
	}
	return c, nil
}

// ReadArrival reads one packet, truncated to the length of b, and returns the time at which it
// arrived in the kernel. It waits until a packet arrives, the read deadline passes
// (os.ErrDeadlineExceeded) or the socket is closed (net.ErrClosed).
func (c *Conn) ReadArrival(b []byte) (int, netip.AddrPort, time.Time, error) {
	for {
		select {
		case <-c.deadline.Done():
			return 0, netip.AddrPort{}, time.Time{}, os.ErrDeadlineExceeded
		default:
		}
		n, from, at, err := c.receive(b)
		switch {
		case err == nil:
			c.poller.read.Add(1)
			return n, addrPort(from), at, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EAGAIN):
			return 0, netip.AddrPort{}, time.Time{}, err
		}
		select {
		case <-c.ready:
		case <-c.done:
		case <-c.deadline.Done():
		}
	}
}

// ReadFromAddrPort is ReadArrival without the time.
func (c *Conn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, _, err := c.ReadArrival(b)
	return n, from, err
}

func (c *Conn) receive(b []byte) (int, syscall.Sockaddr, time.Time, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return 0, nil, time.Time{}, net.ErrClosed
	}
	c.receiveMu.Lock()
	defer c.receiveMu.Unlock()
	// unix.Recvmsg makes a second system call, for the socket's protocol
	n, control, _, from, err := syscall.Recvmsg(c.fd, b, c.control[:], syscall.MSG_DONTWAIT)
	if err != nil {
		return 0, nil, time.Time{}, err
	}
	return n, from, arrival(c.control[:control], time.Now()), nil
}

// arrival returns the kernel's timestamp from the control messages of a packet read at now, or now
// if there is none. The kernel's timestamp is wall clock time. Subtracting its age from now yields
// a time with a monotonic clock reading.
func arrival(control []byte, now time.Time) time.Time {
	const header, timespec = unix.SizeofCmsghdr, int(unsafe.Sizeof(unix.Timespec{}))
	for len(control) >= header {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		n := int(h.Len) //nolint:unconvert // h.Len has 32 bits on some systems
		if n < header || n > len(control) {
			break
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS && n >= header+timespec {
			at := (*unix.Timespec)(unsafe.Pointer(&control[unix.CmsgLen(0)]))
			// The timestamp is ahead of now only if the clock was set in between.
			return now.Add(-max(0, time.Duration(now.UnixNano()-at.Nano())))
		}
		control = control[min(unix.CmsgSpace(n-header), len(control)):]
	}
	return now
}

// WriteToAddrPort sends one packet. If the kernel has no buffer space at the moment, the packet is
// lost, as it may be on the network.
func (c *Conn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	sa, err := sockaddr(to, c.local) // a new one for each call, because Sendto writes to it
	if err != nil {
		return 0, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for {
		if c.closed {
			return 0, net.ErrClosed
		}
		switch err := syscall.Sendto(c.fd, b, syscall.MSG_DONTWAIT, sa); {
		case err == nil, errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOBUFS):
			return len(b), nil
		case !errors.Is(err, syscall.EINTR):
			return 0, &net.OpError{Op: "write", Net: "udp", Err: os.NewSyscallError("sendto", err)}
		}
	}
}

// Close closes the socket. Pending and later reads return net.ErrClosed.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	close(c.done)
	c.poller.remove(c)
	return os.NewSyscallError("close", unix.Close(c.fd))
}

// SetReadDeadline sets the deadline of pending and later reads; zero: none.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.deadline.Set(t)
	return nil
}

// SetDeadline is SetReadDeadline: writing does not wait.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: writing does not wait.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr returns the local address, a *net.UDPAddr.
func (c *Conn) LocalAddr() net.Addr { return c.local }

func addrPort(sa syscall.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		ip := netip.AddrFrom16(a.Addr)
		if a.ZoneId != 0 {
			ip = ip.WithZone(zoneName(a.ZoneId))
		}
		return netip.AddrPortFrom(ip, uint16(a.Port))
	}
	return netip.AddrPort{}
}

func zoneName(id uint32) string {
	if i, err := net.InterfaceByIndex(int(id)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(id), 10)
}

// sockaddr converts an address to the address family of local.
func sockaddr(to netip.AddrPort, local *net.UDPAddr) (syscall.Sockaddr, error) {
	ip := to.Addr()
	if local.IP.To4() != nil {
		if ip = ip.Unmap(); !ip.Is4() {
			return nil, &net.AddrError{Err: "not an IPv4 address", Addr: to.String()}
		}
		return &syscall.SockaddrInet4{Port: int(to.Port()), Addr: ip.As4()}, nil
	}
	if !ip.IsValid() {
		return nil, &net.AddrError{Err: "no address", Addr: to.String()}
	}
	sa := &syscall.SockaddrInet6{Port: int(to.Port()), Addr: ip.As16()}
	if zone := ip.Zone(); zone != "" {
		i, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, err
		}
		sa.ZoneId = uint32(i.Index)
	}
	return sa, nil
}

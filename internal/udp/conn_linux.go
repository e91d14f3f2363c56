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

	"github.com/pion/transport/v4/deadline"
	"golang.org/x/sys/unix"
)

// Conn is a socket that is not connected. Its methods may be called at the same time by several
// goroutines.
type Conn struct {
	fd       int
	local    *net.UDPAddr
	poller   *poller
	ready    chan struct{} // capacity 1: something may have arrived since the last read
	done     chan struct{} // closed
	deadline *deadline.Deadline

	mu     sync.RWMutex // held for reading during a system call: the descriptor is ours until then
	closed bool
}

// Listen opens a socket like net.ListenUDP.
func Listen(network string, a *net.UDPAddr) (*Conn, error) {
	std, err := net.ListenUDP(network, a)
	if err != nil {
		return nil, err
	}
	defer std.Close() //nolint:errcheck // what it has is nobody's
	raw, err := std.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{ready: make(chan struct{}, 1), done: make(chan struct{}), deadline: deadline.New()}
	c.local, _ = std.LocalAddr().(*net.UDPAddr)
	var dupErr error
	// A second descriptor of the same socket, which the runtime's poller does not know.
	err = raw.Control(func(fd uintptr) {
		c.fd, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC,
			0)
	})
	if err = errors.Join(err, dupErr); err != nil {
		return nil, fmt.Errorf("duplicating a socket: %w", err)
	}
	if err := add(c); err != nil {
		_ = unix.Close(c.fd)
		return nil, err
	}
	return c, nil
}

// ReadFromAddrPort reads one packet, of which b gets as much as it has room for. It waits until
// there is one, the read deadline is over (os.ErrDeadlineExceeded) or the socket is closed
// (net.ErrClosed).
func (c *Conn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		select {
		case <-c.deadline.Done():
			return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
		default:
		}
		n, from, err := c.receive(b)
		switch {
		case err == nil:
			c.poller.read.Add(1)
			return n, addrPort(from), nil
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EAGAIN):
			return 0, netip.AddrPort{}, err
		}
		select {
		case <-c.ready:
		case <-c.done:
		case <-c.deadline.Done():
		}
	}
}

func (c *Conn) receive(b []byte) (int, syscall.Sockaddr, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return 0, nil, net.ErrClosed
	}
	// that of package unix makes a second call, for the socket's protocol
	return syscall.Recvfrom(c.fd, b, syscall.MSG_DONTWAIT)
}

// WriteToAddrPort sends one packet. One for which the kernel has no room at the moment is lost, as
// it may be on its way.
func (c *Conn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	sa, err := sockaddr(to, c.local) // a new one for each call, which writes to it
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

// Close closes the socket. Whoever reads gets net.ErrClosed.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	close(c.done)
	sharedMu.Lock()
	c.poller.remove(c)
	sharedMu.Unlock()
	return os.NewSyscallError("close", unix.Close(c.fd))
}

// SetReadDeadline is when reading ends, also one that waits; zero for never.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.deadline.Set(t)
	return nil
}

// SetDeadline is SetReadDeadline: writing does not wait.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: writing does not wait.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr returns the address, a *net.UDPAddr.
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

// sockaddr is the address for a socket of the family of local.
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

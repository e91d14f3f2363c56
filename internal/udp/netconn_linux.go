package udp

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// This file contains the other methods of a *net.UDPConn.

// ReadFrom is ReadFromAddrPort.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDP(b)
	if err != nil {
		return n, nil, err
	}
	return n, from, nil
}

// ReadFromUDP is ReadFromAddrPort.
func (c *Conn) ReadFromUDP(b []byte) (int, *net.UDPAddr, error) {
	n, from, err := c.ReadFromAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// Read is ReadFromAddrPort.
func (c *Conn) Read(b []byte) (int, error) {
	n, _, err := c.ReadFromAddrPort(b)
	return n, err
}

// WriteTo is WriteToAddrPort. The address must be a *net.UDPAddr.
func (c *Conn) WriteTo(b []byte, to net.Addr) (int, error) {
	a, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, &net.AddrError{Err: "not a UDP address", Addr: to.String()}
	}
	return c.WriteToUDP(b, a)
}

// WriteToUDP is WriteToAddrPort.
func (c *Conn) WriteToUDP(b []byte, to *net.UDPAddr) (int, error) {
	a := to.AddrPort()
	return c.WriteToAddrPort(b, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
}

// RemoteAddr is nil: the socket is not connected.
func (c *Conn) RemoteAddr() net.Addr { return nil }

// Write fails: the socket is not connected.
func (c *Conn) Write([]byte) (int, error) { return 0, syscall.EDESTADDRREQ }

// ReadMsgUDP is not supported.
func (c *Conn) ReadMsgUDP(_, _ []byte) (n, oobn, flags int, from *net.UDPAddr, err error) {
	return 0, 0, 0, nil, errors.ErrUnsupported
}

// WriteMsgUDP is not supported.
func (c *Conn) WriteMsgUDP(_, _ []byte, _ *net.UDPAddr) (n, oobn int, err error) {
	return 0, 0, errors.ErrUnsupported
}

// SetReadBuffer sets the size of the kernel's receive buffer.
func (c *Conn) SetReadBuffer(bytes int) error { return c.setBuffer(syscall.SO_RCVBUF, bytes) }

// SetWriteBuffer sets the size of the kernel's send buffer.
func (c *Conn) SetWriteBuffer(bytes int) error { return c.setBuffer(syscall.SO_SNDBUF, bytes) }

func (c *Conn) setBuffer(option, bytes int) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return net.ErrClosed
	}
	return syscall.SetsockoptInt(c.fd, syscall.SOL_SOCKET, option, bytes)
}

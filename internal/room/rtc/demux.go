package rtc

import (
	"net"
	"net/netip"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/transport/v4"
)

// demuxNet is a network whose UDP sockets pass DTLS packets to dtls and all other packets to ICE.
// This happens on ICE's goroutine, which reads the sockets.
type demuxNet struct {
	transport.Net
	dtls *dtlsConn
}

func (n demuxNet) ListenUDP(network string, a *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.Net.ListenUDP(network, a)
	if err != nil {
		return nil, err
	}
	switch c := c.(type) {
	case arrivalSocket:
		return timedSocket{c, n.dtls}, nil
	case addrPortConn:
		return addrPortSocket{c, n.dtls}, nil
	}
	return socket{c, n.dtls}, nil
}

// addrPortConn is a socket that needs no net.Addr; see ice.AddrPortReaderWriter.
type addrPortConn interface {
	transport.UDPConn
	ice.AddrPortReaderWriter
}

// arrivalSocket is a socket that reports when a datagram arrived.
type arrivalSocket interface {
	addrPortConn
	ReadArrival(b []byte) (n int, from netip.AddrPort, at time.Time, err error)
}

type timedSocket struct {
	arrivalSocket
	dtls *dtlsConn
}

func (s timedSocket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, at, err := s.ReadArrival(b)
		if !s.dtls.demux(b[:n], at, err) {
			return n, from, err
		}
	}
}

type addrPortSocket struct {
	addrPortConn
	dtls *dtlsConn
}

func (s addrPortSocket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := s.addrPortConn.ReadFromAddrPort(b)
		if !s.dtls.demux(b[:n], time.Now(), err) {
			return n, from, err
		}
	}
}

type socket struct {
	transport.UDPConn
	dtls *dtlsConn
}

func (s socket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.UDPConn.ReadFrom(b)
		if !s.dtls.demux(b[:n], time.Now(), err) {
			return n, from, err
		}
	}
}

// demux takes a packet that a socket has read if it is DTLS, and reports whether it did.
func (d *dtlsConn) demux(b []byte, at time.Time, err error) bool {
	switch {
	case err != nil:
		return false
	case isDTLS(b):
		d.enqueue(b, at)
		return true
	}
	d.lastReceived.Store(at.UnixNano())
	return false
}

// isDTLS distinguishes DTLS from STUN and other protocols on the same socket (RFC 7983). DTLS
// itself verifies that a packet is from the server.
func isDTLS(b []byte) bool { return len(b) > 0 && b[0] >= 20 && b[0] <= 63 }

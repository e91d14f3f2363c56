package rtc

import (
	"net"
	"net/netip"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/transport/v4"
)

// demuxNet is a network whose UDP sockets give DTLS packets to dtls and only the others to ICE, who
// reads them. ICE's goroutine does it.
type demuxNet struct {
	transport.Net
	dtls *dtlsConn
}

func (n demuxNet) ListenUDP(network string, a *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.Net.ListenUDP(network, a)
	if err != nil {
		return nil, err
	}
	if fast, ok := c.(addrPortConn); ok {
		return addrPortSocket{fast, n.dtls}, nil
	}
	return socket{c, n.dtls}, nil
}

// addrPortConn is a socket that needs no net.Addr; see ice.AddrPortReaderWriter.
type addrPortConn interface {
	transport.UDPConn
	ice.AddrPortReaderWriter
}

type addrPortSocket struct {
	addrPortConn
	dtls *dtlsConn
}

func (s addrPortSocket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := s.addrPortConn.ReadFromAddrPort(b)
		if !s.dtls.demux(b[:n], err) {
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
		if !s.dtls.demux(b[:n], err) {
			return n, from, err
		}
	}
}

// demux takes what a socket has read if it is DTLS, and reports whether it did.
func (d *dtlsConn) demux(b []byte, err error) bool {
	switch {
	case err != nil:
		return false
	case isDTLS(b):
		d.enqueue(b)
		return true
	}
	d.lastReceived.Store(time.Now().UnixNano())
	return false
}

// isDTLS tells DTLS from STUN and all else that may share a socket with it (RFC 7983). Whether it
// is the server's is what DTLS finds out.
func isDTLS(b []byte) bool { return len(b) > 0 && b[0] >= 20 && b[0] <= 63 }

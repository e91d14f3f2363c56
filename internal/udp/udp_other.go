//go:build !linux

package udp

import (
	"net"
	"time"
)

// Poller opens sockets.
type Poller struct {
	Interval time.Duration // has no effect
}

// Listen is net.ListenUDP.
func (*Poller) Listen(network string, a *net.UDPAddr) (*net.UDPConn, error) {
	return net.ListenUDP(network, a)
}

//go:build !linux

package udp

import "net"

// Listen is net.ListenUDP.
func Listen(network string, a *net.UDPAddr) (*net.UDPConn, error) {
	return net.ListenUDP(network,
		a)
}

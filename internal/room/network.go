package room

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"

	"github.com/syncflow/textegress/internal/udp"
)

// receiveBuffer is how much one room may have in memory when its reader is blocked, before the
// server is told to wait. What is in it when the room is deleted is not lost, so it is larger than
// SCTP's usual 1 MiB.
const receiveBuffer = 4 << 20

// relayWait is how long a TURN server's way is not taken although it works.
const relayWait = 300 * time.Millisecond

// bindingRequests of one every 0.2 s last for a minute, longer than any search for a path.
const bindingRequests = 300

// network says which local addresses can reach a server. Each of them costs a socket and a
// goroutine per room.
type network struct{ v4, v6, loopback bool }

// networkOf chooses by the addresses of the signalling host. A name that cannot be resolved (behind
// an HTTP proxy) gives all.
func networkOf(ctx context.Context, host string) network {
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(ips) == 0 {
		return network{v4: true, v6: true}
	}
	var n network
	for _, ip := range ips {
		ip = ip.Unmap()
		n.v4 = n.v4 || ip.Is4()
		n.v6 = n.v6 || ip.Is6()
		n.loopback = n.loopback || ip.IsLoopback()
	}
	return n
}

// host is the network of this machine. Without it, pion lists the interfaces for each connection
// and keeps the list for as long as it lives, and an ICE restart would look for a path from
// addresses that are gone.
type host struct {
	*stdnet.Net

	mu     sync.Mutex
	list   []*transport.Interface
	listed time.Time
}

const interfacesValid = 2 * time.Second

// Interfaces returns the network interfaces with their addresses as they were at most two seconds
// ago.
func (h *host) Interfaces() ([]*transport.Interface, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.list != nil && time.Since(h.listed) < interfacesValid {
		return h.list, nil
	}
	now, err := stdnet.NewNet()
	if err != nil {
		return nil, fmt.Errorf("listing network interfaces: %w", err)
	}
	if h.list, err = now.Interfaces(); err != nil {
		return nil, err
	}
	h.listed = time.Now()
	return h.list, nil
}

// socketBuffer is what may wait in the kernel between two looks at a socket. A system may allow
// less (net.core.rmem_max).
const socketBuffer = 1 << 20

// ListenUDP opens a socket of package udp: with many rooms, one waking for all of them costs far
// less than one for each packet.
func (h *host) ListenUDP(network string, a *net.UDPAddr) (transport.UDPConn, error) {
	c, err := udp.Listen(network, a)
	if err != nil {
		return nil, err
	}
	_ = c.SetReadBuffer(socketBuffer) // what the system allows is what there is
	return c, nil
}

// iceOptions are the settings of ICE for a network. What comes for DTLS goes to in.
func (c *Client) iceOptions(n network, in *datagrams) []ice.AgentOption {
	var types []ice.NetworkType
	if n.v4 {
		types = append(types, ice.NetworkTypeUDP4)
	}
	if n.v6 {
		types = append(types, ice.NetworkTypeUDP6)
	}
	o := []ice.AgentOption{
		ice.WithLoggerFactory(noLog{}), ice.WithNet(sockets{c.net, in}),
		ice.WithNetworkTypes(types), ice.WithInterfaceFilter(interfaceFilter(c.net)),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled),
		ice.WithDisconnectedTimeout(c.times.iceDisconnected),
		ice.WithFailedTimeout(c.times.iceFailed), ice.WithKeepaliveInterval(c.times.iceKeepalive),
		ice.WithPrflxAcceptanceMinWait(0),
		// A path that does not answer is asked for as long as the connection may yet be saved, not
		// only seven times (1.4 s).
		ice.WithMaxBindingRequests(bindingRequests),
	}
	if n.loopback {
		o = append(o, ice.WithIncludeLoopback())
	}
	if c.relay {
		return append(o, ice.WithRelayAcceptanceMinWait(0),
			ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeRelay}))
	}
	// A relay is only there when it is needed; the direct ways, which are asked again beside it,
	// get a moment's advantage.
	return append(o, ice.WithRelayAcceptanceMinWait(relayWait))
}

// virtual matches the bridges and cables of containers and virtual machines on this host. A server
// behind one of them is reached from the host's other addresses too.
var virtual = regexp.MustCompile(
	`^(docker|br-|veth|virbr|vnet|tap|cni|cali|flannel|podman|lxc|lxd|kube)`)

// interfaceFilter leaves virtual interfaces out where there are others.
func interfaceFilter(n transport.Net) func(string) bool {
	return func(name string) bool {
		if !virtual.MatchString(name) {
			return true
		}
		ifs, err := n.Interfaces()
		if err != nil {
			return true
		}
		for _, i := range ifs {
			addrs, err := i.Addrs()
			if err == nil && len(addrs) > 0 && i.Flags&net.FlagUp != 0 &&
				i.Flags&net.FlagLoopback == 0 && !virtual.MatchString(i.Name) {
				return false
			}
		}
		return true
	}
}

// noLog keeps pion silent: it would log addresses and, at the finer levels, packets.
type noLog struct{}

func (noLog) NewLogger(string) logging.LeveledLogger { return noLog{} }
func (noLog) Trace(string)                           {}
func (noLog) Tracef(string, ...any)                  {}
func (noLog) Debug(string)                           {}
func (noLog) Debugf(string, ...any)                  {}
func (noLog) Info(string)                            {}
func (noLog) Infof(string, ...any)                   {}
func (noLog) Warn(string)                            {}
func (noLog) Warnf(string, ...any)                   {}
func (noLog) Error(string)                           {}
func (noLog) Errorf(string, ...any)                  {}

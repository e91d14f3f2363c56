package rtc

import (
	"fmt"
	"net"
	"regexp"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"

	"github.com/syncflow/textegress/internal/udp"
)

// receiveBuffer is the number of bytes that one room buffers in memory while its reader is blocked,
// before the server must wait. The buffered data is delivered even if the room is deleted, so the
// buffer is larger than SCTP's usual 1 MiB.
const receiveBuffer = 4 << 20

// relayWait is how long a working relay is not used, in case a direct path works, too.
const relayWait = 300 * time.Millisecond

// bindingRequests is the number of STUN requests per path. At one every 0.2 s, they last for a
// minute, longer than any search for a path.
const bindingRequests = 300

// systemNet is the network of this machine. Without it, pion would list the interfaces for each
// connection and keep the list until the connection ends. An ICE restart would then search for a
// path from addresses that are gone.
type systemNet struct {
	*stdnet.Net

	sockets udp.Poller

	mu     sync.Mutex
	list   []*transport.Interface
	listed time.Time
}

const interfacesValid = 2 * time.Second

// Interfaces returns the network interfaces with their addresses. The list is at most two seconds
// old.
func (n *systemNet) Interfaces() ([]*transport.Interface, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.list != nil && time.Since(n.listed) < interfacesValid {
		return n.list, nil
	}
	now, err := stdnet.NewNet()
	if err != nil {
		return nil, fmt.Errorf("listing network interfaces: %w", err)
	}
	if n.list, err = now.Interfaces(); err != nil {
		return nil, err
	}
	n.listed = time.Now()
	return n.list, nil
}

// socketBuffer is the number of bytes that may wait in the kernel between two polls of a socket. A
// system may allow less (net.core.rmem_max).
const socketBuffer = 1 << 20

// ListenUDP opens a socket that is polled together with all others. With many rooms, this costs far
// less than a wake-up for each packet.
func (n *systemNet) ListenUDP(network string, a *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.sockets.Listen(network, a)
	if err != nil {
		return nil, err
	}
	_ = c.SetReadBuffer(socketBuffer) // the system's limit is acceptable
	return c, nil
}

// iceOptions returns the settings of ICE for a network. DTLS packets go to d.
func (a *API) iceOptions(n network, d *dtlsConn) []ice.AgentOption {
	var types []ice.NetworkType
	if n.v4 {
		types = append(types, ice.NetworkTypeUDP4)
	}
	if n.v6 {
		types = append(types, ice.NetworkTypeUDP6)
	}
	o := []ice.AgentOption{
		ice.WithLoggerFactory(noLog{}), ice.WithNet(demuxNet{a.net, d}),
		ice.WithNetworkTypes(types), ice.WithInterfaceFilter(interfaceFilter(a.net)),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled),
		ice.WithDisconnectedTimeout(a.timeouts.Disconnected),
		ice.WithFailedTimeout(a.timeouts.Failed), ice.WithKeepaliveInterval(a.timeouts.Keepalive),
		ice.WithPrflxAcceptanceMinWait(0),
		// STUN requests on a silent path are repeated for as long as the connection may still be
		// saved, not only seven times (1.4 s).
		ice.WithMaxBindingRequests(bindingRequests),
	}
	if n.loopback {
		o = append(o, ice.WithIncludeLoopback())
	}
	if a.relayOnly {
		return append(o, ice.WithRelayAcceptanceMinWait(0),
			ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeRelay}))
	}
	// Prefer host candidates, which are retried concurrently with the relays.
	return append(o, ice.WithRelayAcceptanceMinWait(relayWait))
}

// virtual matches the bridges and virtual cables of containers and virtual machines on this host. A
// server behind one of these interfaces is also reachable from the host's other addresses.
var virtual = regexp.MustCompile(
	`^(docker|br-|veth|virbr|vnet|tap|cni|cali|flannel|podman|lxc|lxd|kube)`)

// interfaceFilter excludes virtual interfaces if there are others.
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

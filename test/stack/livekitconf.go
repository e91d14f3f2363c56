package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// liveKitYAML writes the configuration. Two settings look superfluous but are needed: without
// tcp_port 0, LiveKit opens its ICE/TCP port on all interfaces; without interfaces, it offers UDP
// candidates of the real interfaces.
func liveKitYAML(o LiveKitOptions, l *LiveKit, port, firstUDP, lastUDP int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "port: %d\nbind_addresses: [127.0.0.1]\nkeys: {%s: %s}\nlogging: {level: %s}\n",
		port, l.APIKey, l.APISecret, orDefault(o.LogLevel, "info"))
	b.WriteString("rtc:\n  tcp_port: 0\n  node_ip: 127.0.0.1\n  use_external_ip: false\n  " +
		"enable_loopback_candidate: true\n" +
		"  stun_servers: []\n  interfaces: {includes: [lo]}\n")
	fmt.Fprintf(&b, "  port_range_start: %d\n  port_range_end: %d\n", firstUDP, lastUDP)
	for _, line := range o.RTCConfig {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	fmt.Fprintf(&b, "room:\n  auto_create: %v\n", !o.NoAutoCreate)
	if o.EmptyTimeout > 0 {
		fmt.Fprintf(&b, "  empty_timeout: %d\n", int(o.EmptyTimeout.Seconds()))
	}
	if o.DepartureTimeout > 0 {
		fmt.Fprintf(&b, "  departure_timeout: %d\n", int(o.DepartureTimeout.Seconds()))
	}
	for _, line := range o.RoomConfig {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	if o.Redis != "" {
		fmt.Fprintf(&b, "redis: {address: %q}\n", o.Redis)
	}
	if len(o.Webhooks) > 0 {
		fmt.Fprintf(&b, "webhook: {api_key: %s, urls: [%s]}\n", l.APIKey,
			strings.Join(o.Webhooks, ", "))
	}
	return b.String()
}

// turnYAML writes the section for LiveKit's TURN server. Since 1.13 it relays to loopback only with
// a setting that 1.11 lacks.
func turnYAML(certs string, l *LiveKit, ports *portBlock) (string, error) {
	if err := os.MkdirAll(certs, 0o755); err != nil {
		return "", err
	}
	if err := writeCertificates(certs); err != nil {
		return "", err
	}
	tlsPort, err := ports.tcp()
	if err != nil {
		return "", err
	}
	udpPort, err := ports.tcp() // the reservation covers UDP as well
	if err != nil {
		return "", err
	}
	first, last := ports.relayRange()
	l.TURNTLS, l.TURNUDP = fmt.Sprintf("127.0.0.1:%d", tlsPort), udpPort
	s := fmt.Sprintf("turn:\n  enabled: true\n  domain: %s\n  bind_addresses: [127.0.0.1]\n  "+
		"udp_port: %d\n  tls_port: %d\n"+
		"  cert_file: %s\n  key_file: %s\n  relay_range_start: %d\n  relay_range_end: %d\n",
		TURNDomain, udpPort, tlsPort, filepath.Join(certs, "server.pem"),
		filepath.Join(certs, "server.key"), first, last)
	if l.Version != "1.11.0" {
		s += "  allow_restricted_peer_cidrs: [127.0.0.0/8]\n"
	}
	return s, nil
}

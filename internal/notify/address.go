package notify

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
)

// ErrAddress reports that the address of a receiver is not public and WEBHOOK_ALLOW_PRIVATE is not
// set.
var ErrAddress = errors.New("its address is not public: set WEBHOOK_ALLOW_PRIVATE=true if events " +
	"may be sent to it")

// notPublic lists address ranges to which no event is sent, in addition to those that [netip.Addr]
// recognises. They are the special-purpose ranges of IANA's registries that are not globally
// reachable, and the ranges that embed an IPv4 address in an IPv6 address.
var notPublic = func() []netip.Prefix {
	var list []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8",       // this network
		"100.64.0.0/10",   // carrier-grade NAT
		"192.0.0.0/24",    // protocol assignments
		"192.0.2.0/24",    // documentation
		"198.18.0.0/15",   // benchmarks
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"240.0.0.0/4",     // reserved, and the broadcast address
		"::/96",           // IPv4-compatible
		"64:ff9b::/96",    // NAT64
		"64:ff9b:1::/48",  // NAT64 with a local prefix
		"100::/64",        // discard
		"2001::/23",       // protocol assignments, Teredo among them
		"2001:db8::/32",   // documentation
		"2002::/16",       // 6to4
		"3fff::/20",       // documentation
		"5f00::/16",       // segment routing
		"fec0::/10",       // site-local, deprecated
	} {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}()

// public reports whether an address is reachable from the whole internet.
func public(a netip.Addr) bool {
	a = a.WithZone("")
	return !a.Is4In6() && a.IsGlobalUnicast() && !a.IsPrivate() &&
		!slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}

// onlyPublic is the Control function of a [net.Dialer]. It receives the resolved address, so the
// check covers a name that resolves to a different address at each connection.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !public(a.Addr()) {
		return ErrAddress
	}
	return nil
}

// CheckURL returns an error unless a request to the API may name the URL as a receiver of events:
// its host must be in hosts (WEBHOOK_HOSTS). An entry "host" allows every port, "host:port" that
// port alone. The error does not quote the URL, which may contain a password.
func CheckURL(raw string, hosts []string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("a webhook is not a URL")
	}
	port := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	switch {
	case port == "" || u.Hostname() == "":
		return errors.New("a webhook is not a URL that begins with https:// or http://")
	case u.User != nil:
		return errors.New("a webhook has a user name or a password in its URL: leave them out; " +
			"receivers verify the signature")
	}
	name := plainHost(u.Hostname())
	for _, h := range hosts {
		allowed, allowedPort := plainHost(strings.Trim(h, "[]")), ""
		if host, p, err := net.SplitHostPort(h); err == nil {
			allowed, allowedPort = plainHost(host), p
		}
		if name == allowed && (allowedPort == "" || cmp.Or(u.Port(), port) == allowedPort) {
			return nil
		}
	}
	return fmt.Errorf("no webhook may be sent to %s: it is not in WEBHOOK_HOSTS", u.Host)
}

// plainHost returns the form in which host names are compared.
func plainHost(h string) string { return strings.ToLower(strings.TrimSuffix(h, ".")) }

// hostOf returns the host of a URL, with its port, for logs. Path, query and user may be secrets.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "an invalid URL"
	}
	return u.Host
}

package web

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// localOnly refuses requests to a server on loopback unless their Host header names this machine.
// It prevents DNS rebinding: a web page can make its own host name resolve to 127.0.0.1, and its
// scripts could then read the responses in a browser on this machine. If the server is not on
// loopback, its names are unknown here, and every client that reaches the port can send requests
// without a browser.
//
// pageHost is the host of PAGE_URL, by which a proxy on this machine may ask; "" = none.
func localOnly(next http.Handler, listening net.Addr, addr, pageHost string) http.Handler {
	tcp, ok := listening.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		return next
	}
	configured, _, _ := net.SplitHostPort(addr)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocalHost(r.Host, configured, pageHost) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			w.WriteHeader(http.StatusMisdirectedRequest)
			_, _ = w.Write([]byte(refusedHost))
			return
		}
		next.ServeHTTP(w, r)
	})
}

const refusedHost = "This server listens on loopback (HTTP_ADDR) and answers only requests to " +
	"this machine: the Host header must be\n" +
	"localhost, 127.0.0.1, [::1], another loopback address, or the host of HTTP_ADDR; with " +
	"HTTP_BEHIND_PROXY=true also that of PAGE_URL.\n" +
	"A proxy in front of it has to set one of these.\n"

// isLocalHost reports whether the value of a Host header is localhost, a loopback address or one of
// the configured names. An empty value is accepted: browsers always send the header, but simple
// HTTP/1.0 health checks do not.
func isLocalHost(hostport string, configured ...string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), ".")
	if host == "" || strings.EqualFold(host, "localhost") || slices.ContainsFunc(configured,
		func(name string) bool { return strings.EqualFold(host, name) }) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

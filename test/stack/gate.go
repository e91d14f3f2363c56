package stack

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Gate is an HTTP proxy in front of a LiveKit server whose server API can be closed while
// participants stay connected. It runs in this process.
type Gate struct {
	URL string // ws://127.0.0.1:port

	server *http.Server
	closed atomic.Bool
	lists  atomic.Int64
	target atomic.Pointer[url.URL]
}

func startGate(l *LiveKit, ports *portBlock) (*Gate, error) {
	port, err := ports.tcp()
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("stack: a proxy before LiveKit: %w", err)
	}
	g := &Gate{URL: "ws://" + addr}
	if err := g.To(l); err != nil {
		listener.Close()
		return nil, err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(g.target.Load()) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway) // its servers are killed on purpose
		},
	}
	g.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/ListRooms") {
				g.lists.Add(1)
			}
			if g.closed.Load() && strings.HasPrefix(r.URL.Path, "/twirp/") {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			proxy.ServeHTTP(w, r)
		}),
	}
	go g.server.Serve(listener) //nolint:errcheck // it ends with Close
	return g, nil
}

// To sends the following requests to another node.
func (g *Gate) To(l *LiveKit) error {
	u, err := url.Parse(l.HTTPURL)
	if err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	g.target.Store(u)
	return nil
}

// CloseAPI makes the server API answer 503, until OpenAPI.
func (g *Gate) CloseAPI() { g.closed.Store(true) }

// OpenAPI undoes CloseAPI.
func (g *Gate) OpenAPI() { g.closed.Store(false) }

// Lists counts the requests for the list of rooms so far, answered or not.
func (g *Gate) Lists() int { return int(g.lists.Load()) }

// Close ends the proxy and its connections.
func (g *Gate) Close() error { return g.server.Close() }

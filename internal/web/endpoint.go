package web

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits of open connections of the two servers. They are counted separately, so that the load of
// one does not block the other. Open event streams take at most half of the connections of HTTP.
const (
	maxHTTPConns    = 128
	maxStreams      = 64
	maxControlConns = 32
)

// Endpoint is one of the two servers with its listener. It bounds the number of connections, and
// how long a slow or silent peer can hold one.
type Endpoint struct {
	server   *http.Server
	listener *boundedListener
}

// HTTP returns the server of [Server.Handler] on l. addr is the value of HTTP_ADDR, on which l
// listens. If l is on loopback, the Host header of requests must name this machine, except for
// [Options.Routes].
func (s *Server) HTTP(l net.Listener, addr string) *Endpoint {
	s.o.Doors.At(l.Addr(), addr)
	h := s.withRoutes(localOnly(s.own(), l.Addr(), addr, s.o.PageHost))
	if s.o.TLS != nil {
		l = tls.NewListener(l, s.o.TLS)
	}
	e := s.endpoint(l, h, maxHTTPConns)
	e.server.ReadTimeout = 10 * time.Second // bodies are small
	e.server.WriteTimeout = 30 * time.Second
	e.server.RegisterOnShutdown(s.streams.Close)
	return e
}

// Control returns the server of [Server.ControlHandler] on l. Responses have no time limit: the
// request sets the duration of a profile, and an erasure takes as long as the store does.
func (s *Server) Control(l net.Listener) *Endpoint {
	e := s.endpoint(l, s.ControlHandler(), maxControlConns)
	e.server.ReadTimeout = 30 * time.Second
	return e
}

func (s *Server) endpoint(l net.Listener, h http.Handler, maxConns int) *Endpoint {
	e := &Endpoint{
		listener: newBoundedListener(l, maxConns),
		server: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    64 << 10,
			ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
		},
	}
	e.server.ConnState = e.listener.connState
	return e
}

// Run serves until [Endpoint.Close], and then returns nil.
func (e *Endpoint) Run() error {
	if err := e.server.Serve(e.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close stops listening and waits for requests in progress. When ctx ends, it closes their
// connections.
func (e *Endpoint) Close(ctx context.Context) error {
	err := e.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = e.server.Close()
	}
	return err
}

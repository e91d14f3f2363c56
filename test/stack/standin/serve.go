package standin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// Serve serves requests on l until stop is done. It then shuts down as the real API does after
// SIGTERM: it accepts no further connections but keeps the port until its clients have closed their
// connections or have been idle for too long, at most for Limits.Shutdown.
func (s *Server) Serve(stop context.Context, l net.Listener) error {
	idle := make(chan struct{}, 1)
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(open)
	}
	srv := &http.Server{
		Handler: s, ConnContext: s.ConnContext, IdleTimeout: s.cfg.Limits.KeepAlive,
		ReadHeaderTimeout: s.cfg.Limits.HeadTimeout,
		ConnState: func(c net.Conn, st http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			switch st {
			case http.StateNew:
				open[c] = true
			case http.StateClosed, http.StateHijacked:
				delete(open, c)
				select {
				case idle <- struct{}{}:
				default:
				}
			}
		},
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(&deafListener{Listener: l, stop: stop}) }()
	select {
	case err := <-served:
		return err
	case <-stop.Done():
	}
	limit := time.NewTimer(s.cfg.Limits.Shutdown)
	defer limit.Stop()
	for wait := true; wait && count() > 0; {
		select {
		case <-idle:
		case <-limit.C:
			wait = false
		}
	}
	err := srv.Close()
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// deafListener keeps clients that connect after stop waiting until it is closed.
type deafListener struct {
	net.Listener
	stop context.Context

	mu     sync.Mutex
	unread []net.Conn
}

func (l *deafListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.stop.Err() == nil {
			return c, err
		}
		l.mu.Lock()
		l.unread = append(l.unread, c)
		l.mu.Unlock()
	}
}

func (l *deafListener) Close() error {
	err := l.Listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.unread {
		err = errors.Join(err, c.Close())
	}
	return err
}

package standin

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// thread is one of the API's worker threads. Every client connection belongs to one thread for its
// lifetime. A thread runs all requests of its connections, one at a time. A handler yields its
// thread while it waits for LiveKit or RabbitMQ, but not while it waits for a database connection.
// A handler that holds a database connection and returns from LiveKit to a thread that waits for
// one cannot finish; if it holds the last connection, all threads wait.
type thread struct{ turn chan struct{} }

func newThreads(n int) []*thread {
	all := make([]*thread, n)
	for i := range all {
		all[i] = &thread{make(chan struct{}, 1)}
	}
	return all
}

func (t *thread) enter()     { t.turn <- struct{}{} }
func (t *thread) leave()     { <-t.turn }
func (t *thread) busy() bool { return len(t.turn) > 0 }

// client is the connection of a client.
type client struct {
	thread *thread
	// looked is when the thread first checked the connection, before a request arrived. Zero: the
	// thread was busy.
	looked time.Time
	// answered is when the last response was complete. Requests of one connection are sequential.
	answered time.Time
}

type (
	clientKey struct{}
	threadKey struct{}
)

// ConnContext assigns a new connection to the next thread, whether it is busy or not. It is for the
// field of http.Server.
func (s *Server) ConnContext(ctx context.Context, _ net.Conn) context.Context {
	c := &client{thread: s.nextThread()}
	if !c.thread.busy() {
		c.looked = time.Now()
	}
	return context.WithValue(ctx, clientKey{}, c)
}

func (s *Server) nextThread() *thread { return s.threads[s.next.Add(1)%uint64(len(s.threads))] }

// run handles a request on the thread of its connection, even if the client has disconnected
// meanwhile. If the request had to wait for the thread, run first checks for expired timeouts.
func (s *Server) run(w http.ResponseWriter, r *http.Request, route string) {
	c, ok := r.Context().Value(clientKey{}).(*client)
	if !ok {
		c = &client{thread: s.nextThread()}
	}
	// The thread does not wait for the rest of a request.
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	ctx := context.WithValue(context.WithoutCancel(r.Context()), threadKey{}, c.thread)
	r = r.WithContext(ctx)
	r.Body = io.NopCloser(bytes.NewReader(body))
	c.thread.enter()
	defer c.thread.leave()
	switch {
	case !c.answered.IsZero() && time.Since(c.answered) > s.cfg.Limits.KeepAlive:
		panic(http.ErrAbortHandler)
	case c.answered.IsZero() && !c.looked.IsZero() &&
		time.Since(c.looked) > s.cfg.Limits.HeadTimeout:
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestTimeout)
		return
	}
	s.handle(w, r, route)
	c.answered = time.Now()
}

// await calls another server. The thread is free for other requests meanwhile, and await waits for
// it afterwards.
func await[T any](ctx context.Context, call func() (T, error)) (T, error) {
	if t, ok := ctx.Value(threadKey{}).(*thread); ok {
		t.leave()
		defer t.enter()
	}
	return call()
}

// connect takes a database connection and runs a query; release returns the connection. The thread
// is blocked until a connection is free. If none becomes free in time, the request fails and the
// client's connection is closed.
func (s *Server) connect() (release func()) {
	if !s.pool.take(s.cfg.Limits.PoolWait) {
		panic(http.ErrAbortHandler) // makes net/http close the connection without a response
	}
	time.Sleep(s.cfg.Limits.Query)
	return s.pool.give
}

// query runs a database query and releases its connection at once.
func (s *Server) query() { s.connect()() }

// limit sets the size of the pool from the control settings or, without an override, from the
// configuration.
func (s *Server) limit() {
	if n := s.control.get().Pool; n > 0 {
		s.pool.resize(n)
		return
	}
	s.pool.resize(s.cfg.Limits.Connections)
}

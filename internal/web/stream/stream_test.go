package stream_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/web/stream"
)

// TestEvents: what is sent can be taken apart again, whatever is in it.
func TestEvents(t *testing.T) {
	w := httptest.NewRecorder()
	s, ok := stream.Open(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	if !ok {
		t.Fatal(w.Code)
	}
	defer s.Close()
	err := errors.Join(
		s.Retry(2*time.Second),
		s.Event("7", "card", "<p>a\nb\r\nc\rid: 9</p>"),
		s.Event("8\ndata: x", "", ""),
		s.Comment(),
	)
	const want = "retry: 2000\n\n" +
		"id: 7\nevent: card\ndata: <p>a\ndata: b\ndata: c\ndata: id: 9</p>\n\n" +
		"id: 8 data: x\ndata: \n\n:\n\n"
	if got := w.Body.String(); err != nil || got != want {
		t.Errorf("%q, %v\nwant %q", got, err, want)
	}
	if h := w.Header(); h.Get("Content-Type") != "text/event-stream; charset=utf-8" ||
		h.Get("Cache-Control") != "no-store" || h.Get("X-Accel-Buffering") != "no" {
		t.Errorf("headers %v", h)
	}
}

// TestBound: one stream too many gets a problem, and a place when another stream has ended.
func TestBound(t *testing.T) {
	b := stream.NewBound(2)
	opened := func() (*stream.Stream, *httptest.ResponseRecorder) {
		w := httptest.NewRecorder()
		var s *stream.Stream
		b.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, _ = stream.Open(w, r)
		})).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
		return s, w
	}
	first, _ := opened()
	second, _ := opened()
	if first == nil || second == nil {
		t.Fatal("two streams are not opened")
	}
	s, w := opened()
	if s != nil || w.Code != 503 || w.Header().Get("Retry-After") == "" ||
		!strings.Contains(w.Body.String(), "Too many open streams") {
		t.Errorf("a third: %d %s", w.Code, w.Body)
	}
	first.Close()
	first.Close() // frees one place only
	if s, _ = opened(); s == nil {
		t.Error("no place after one has ended")
	}
	if s, _ = opened(); s != nil {
		t.Error("two places after one has ended")
	}
	b.Close()
	<-second.Context().Done()
	if err := second.Event("", "", "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the server: %v", err)
	}
}

// serve serves h with the time limits of production on a connection in memory.
func serve(t *testing.T, h http.HandlerFunc) net.Conn {
	t.Helper()
	peer, conn := net.Pipe()
	l := &oneConn{conn: make(chan net.Conn, 1), done: make(chan struct{})}
	l.conn <- conn
	server := &http.Server{
		Handler: h, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-ended; _ = peer.Close() })
	go io.WriteString(peer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") //nolint:errcheck // the answer tells
	return peer
}

type oneConn struct {
	conn chan net.Conn
	done chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *oneConn) Close() error   { close(l.done); return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{} }

// TestLongStreams: the limits of the server end no stream, and a client that does not read does not
// hold one.
func TestLongStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		conn := serve(t, func(w http.ResponseWriter, r *http.Request) {
			s, _ := stream.Open(w, r)
			defer s.Close()
			for range 5 {
				select {
				case <-s.Context().Done():
					ended <- s.Context().Err()
					return
				case <-time.After(time.Minute):
				}
				if err := s.Comment(); err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		})
		go io.Copy(io.Discard, conn) //nolint:errcheck // until the server closes it
		if err := <-ended; err != nil {
			t.Errorf("a stream of five minutes: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Duration, 1)
		serve(t, func(w http.ResponseWriter, r *http.Request) {
			s, _ := stream.Open(w, r)
			defer s.Close()
			time.Sleep(time.Hour) //nolint:forbidigo // of the bubble
			began := time.Now()
			_ = s.Event("", "", strings.Repeat("x", 1<<20)) // nobody reads
			ended <- time.Since(began)
		})
		if took := <-ended; took != 15*time.Second {
			t.Errorf("a client that does not read held the stream for %v", took)
		}
	})
}

// TestLong: a file may take longer than the limit of the server, as long as it is read.
func TestLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			long := stream.Long(w)
			for range 10 {
				time.Sleep(time.Minute) //nolint:forbidigo // of the bubble
				if _, err := io.WriteString(long, strings.Repeat("x", 1<<16)); err != nil {
					t.Errorf("write: %v", err)
				}
			}
		})
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); err != nil || len(b) != 10<<16 {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})
}

package web_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/web"
)

// pipeListener accepts connections that a test makes in memory, so that they live in its bubble.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// dial returns the peer's end of a new connection, and a channel that is closed when the server
// closes its own.
func (l *pipeListener) dial() (net.Conn, <-chan struct{}) {
	peer, conn := net.Pipe()
	ours := &watchedConn{Conn: conn, closed: make(chan struct{})}
	l.conns <- ours
	return peer, ours.closed
}

type watchedConn struct {
	net.Conn

	once   sync.Once
	closed chan struct{}
}

func (c *watchedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// blockingService answers Forget when it is allowed to.
type blockingService struct {
	fakeService

	began chan struct{}
	end   chan struct{}
}

func (b *blockingService) Rehearse(context.Context, string, func(web.RehearsalStep)) error {
	return nil
}

func (b *blockingService) Forget(ctx context.Context, _ []byte) ([]byte, error) {
	b.began <- struct{}{}
	select {
	case <-b.end:
		return []byte(`{"forgotten":true}`), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run serves an endpoint of production in the bubble of the test.
func run(t *testing.T, service web.Service, of door) *pipeListener {
	t.Helper()
	l := newPipeListener()
	e := of(newServer(t, service), l)
	done := make(chan error, 1)
	go func() { done <- e.Run() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Errorf("Close = %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return l
}

// door is one of the two ways in.
type door func(*web.Server, net.Listener) *web.Endpoint

func httpDoor(s *web.Server, l net.Listener) *web.Endpoint { return s.HTTP(l, "127.0.0.1:9464") }

func tlsDoor(s *web.Server, l net.Listener) *web.Endpoint {
	return web.WithTLS(s, &tls.Config{}).HTTP(l, "127.0.0.1:9464")
}

func controlDoor(s *web.Server, l net.Listener) *web.Endpoint { return s.Control(l) }

func request(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

// TestSlowPeers: what a peer can make the server wait for, and for how long.
func TestSlowPeers(t *testing.T) {
	const body = `{"session_id":"s"}`
	for _, tt := range []struct {
		name  string
		door  door
		sends string
		reads bool // the answer, if there is one
		after time.Duration
	}{
		{"nothing, HTTP", httpDoor, "", true, 10 * time.Second},
		{"nothing, control", controlDoor, "", true, 10 * time.Second},
		{"nothing, TLS", tlsDoor, "", true, 10 * time.Second},
		{"half a handshake, TLS", tlsDoor, "\x16\x03\x01\x02\x00\x01", true, 10 * time.Second},
		{
			"half a header, HTTP", httpDoor, "GET /healthz HTTP/1.1\r\nHost: x\r\nA:", true,
			10 * time.Second,
		},
		{
			"half a header, control", controlDoor, "GET /status.json HTTP/1.1\r\nHost: x\r\nA:",
			true,
			10 * time.Second,
		},
		{
			"one request and no more, HTTP", httpDoor, request("GET /healthz HTTP/1.1", "Host: x"),
			true, 2 * time.Minute,
		},
		{
			"one request and no more, control", controlDoor,
			request("GET /status.json HTTP/1.1", "Host: x"), true, 2 * time.Minute,
		},
		{
			"reads no answer, HTTP", httpDoor, request("GET /metrics HTTP/1.1", "Host: x"), false,
			30 * time.Second,
		},
		{"promises a body, HTTP", httpDoor, request("GET /healthz HTTP/1.1", "Host: x",
			"Content-Length: 9"), true, 10 * time.Second},
		{"promises a body, control", controlDoor, request("POST /record HTTP/1.1", "Host: x",
			"Content-Length: 9"), true, 30 * time.Second},
		{"half a body, control", controlDoor, request("POST /forget HTTP/1.1", "Host: x",
			fmt.Sprintf("Content-Length: %d", 2*len(body))) + body, true, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := run(t, &fakeService{}, tt.door)
				conn, closed := l.dial()
				defer conn.Close()
				began := time.Now()
				go io.WriteString(conn,
					tt.sends) //nolint:errcheck // the server may have had enough
				if tt.reads {
					go io.Copy(io.Discard, conn) //nolint:errcheck // until the server closes it
				}
				select {
				case <-closed:
				case <-time.After(time.Hour):
				}
				if took := time.Since(began); took != tt.after {
					t.Errorf("the connection was held for %v, want %v", took, tt.after)
				}
			})
		})
	}
}

// TestALongAnswer: no limit of the control socket ends an erasure that takes an hour, or its
// context.
func TestALongAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &blockingService{began: make(chan struct{}), end: make(chan struct{})}
		conn, _ := run(t, service, controlDoor).dial()
		defer conn.Close()
		go io.WriteString(conn, request("POST /forget HTTP/1.1", "Host: x", "Content-Length: 2")+
			"{}") //nolint:errcheck // the answer tells
		<-service.began
		time.Sleep(time.Hour) //nolint:forbidigo // of the bubble
		close(service.end)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if answer, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK ||
			!strings.Contains(string(answer), "forgotten") {
			t.Errorf("after an hour: %s %s, %v", resp.Status, answer, err)
		}
	})
}

// TestRequestsUnderWayKeepTheirConnections: where all connections are being answered, the next one
// waits for its turn.
func TestRequestsUnderWayKeepTheirConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 32
		service := &blockingService{began: make(chan struct{}, most), end: make(chan struct{})}
		l := run(t, service, controlDoor)
		for range most {
			conn, closed := l.dial()
			defer conn.Close()
			go io.WriteString(conn, request("POST /forget HTTP/1.1", "Host: x",
				"Content-Length: 2")+"{}") //nolint:errcheck // began tells
			<-service.began
			defer func() {
				select {
				case <-closed:
				default:
					t.Error("the connection of an answer that ended was not made free")
				}
			}()
			go io.Copy(io.Discard, conn) //nolint:errcheck // until the server closes it
		}
		last, _ := l.dial()
		defer last.Close()
		answered := make(chan error, 1)
		go func() {
			io.WriteString(last, request("GET /status.json HTTP/1.1",
				"Host: x")) //nolint:errcheck // the answer tells
			resp, err := http.ReadResponse(bufio.NewReader(last), nil)
			if err == nil {
				resp.Body.Close()
			}
			answered <- err
		}()
		synctest.Wait()
		select {
		case err := <-answered:
			t.Fatalf("answered beyond the bound, %v", err)
		default:
		}
		close(service.end)
		if err := <-answered; err != nil {
			t.Errorf("the connection that waited: %v", err)
		}
		time.Sleep(time.Hour) //nolint:forbidigo // of the bubble: all are idle for too long
	})
}

func TestHeadersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, of := range map[string]door{"HTTP": httpDoor, "control": controlDoor} {
			conn, _ := run(t, &fakeService{}, of).dial()
			go io.WriteString(conn, request("GET /status.json HTTP/1.1", "Host: x",
				"A: "+strings.Repeat("a", 80<<10))) //nolint:errcheck // the answer tells
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			conn.Close()
			if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s: 80 KiB of headers: %s", name, resp.Status)
			}
		}
	})
}

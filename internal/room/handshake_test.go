package room

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/livekit/protocol/livekit"
)

// countingConn counts what is read of a connection.
type countingConn struct {
	net.Conn

	read *atomic.Int64
}

func (c countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// A server, or what answers in its place, that sends header lines without end: no more is read than
// a handshake can have.
func TestEndlessHandshake(t *testing.T) {
	for name, head := range map[string]string{
		"accepts": "HTTP/1.1 101 Switching Protocols\r\nX-Endless: ",
		"refuses": "HTTP/1.1 403 Forbidden\r\nX-Endless: ",
		"a line":  "",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				io.WriteString(c, head)
				for chunk := strings.Repeat("endless ", 8<<10); err == nil; {
					_, err = io.WriteString(c, chunk) // until the other side gives up
				}
			}()
			c, err := NewClient(Options{})
			if err != nil {
				t.Fatal(err)
			}
			var read atomic.Int64
			dial := (&net.Dialer{}).DialContext
			c.dialer.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn,
				error,
			) {
				conn, err := dial(ctx, network, addr)
				return countingConn{conn, &read}, err
			}
			e, err := parseEndpoint("ws://" + l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = c.dial(t.Context(), e, "token", &livekit.JoinRequest{})
			if !errors.Is(err, errLongHandshake) || read.Load() > maxHandshake {
				t.Errorf("%v, %d bytes were read, want at most %d", err, read.Load(), maxHandshake)
			}
		})
	}
}

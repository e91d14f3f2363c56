package room

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/gorilla/websocket"
)

// maxHandshake bounds the bytes read from a server, and from a proxy before it, until the websocket
// is open: the header lines of their responses, certificates, and a short body with the reason of a
// refusal. Messages have their own bound, maxSignal.
const maxHandshake = 512 << 10

var errLongHandshake = errors.New("the answer to the opening of the websocket is longer than " +
	"any server's")

// bounded returns a copy of d whose connection fails if more than maxHandshake bytes arrive before
// opened is called. The websocket library reads header lines without a bound.
func bounded(d websocket.Dialer) (_ websocket.Dialer, opened func()) {
	dial := d.NetDialContext
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	var open atomic.Bool
	d.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &handshakeConn{Conn: c, open: &open, left: maxHandshake}, nil
	}
	return d, func() { open.Store(true) }
}

type handshakeConn struct {
	net.Conn

	open *atomic.Bool
	left int // remaining bytes
}

func (c *handshakeConn) Read(p []byte) (int, error) {
	if c.open.Load() {
		return c.Conn.Read(p)
	}
	if c.left <= 0 {
		return 0, errLongHandshake
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

package rtc

import (
	"errors"
	"fmt"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v3"
)

// TURNServer is a relay. URLs begin with turn: or turns:.
type TURNServer struct {
	URLs                 []string
	Username, Credential string
}

// UseTURN sets the servers that provide the relay candidates of the next offer.
func (c *Conn) UseTURN(servers []TURNServer) error {
	uris, err := turnURIs(servers)
	c.mu.Lock()
	c.turn = true
	if c.path != nil {
		c.readRelayed()
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return c.agent.UpdateOptions(ice.WithUrls(uris))
}

func (c *Conn) usesTURN() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turn
}

// readRelayed passes packets from TURN servers to DTLS, because they do not arrive over a socket of
// demuxNet. c.mu is held, and c.path is set.
func (c *Conn) readRelayed() {
	c.relayed.Do(func() {
		path := c.path
		c.tasks.Go(func() {
			b := make([]byte, maxDatagram)
			for {
				n, err := path.Read(b)
				if err != nil {
					return
				}
				c.dtls.enqueue(b[:n], time.Now())
			}
		})
	})
}

func turnURIs(servers []TURNServer) ([]*stun.URI, error) {
	var out []*stun.URI
	for _, s := range servers {
		if s.Username == "" || s.Credential == "" {
			return nil, errors.New("a TURN server without user name or password")
		}
		for _, u := range s.URLs {
			uri, err := stun.ParseURI(u)
			if err != nil {
				return nil, fmt.Errorf("the address of a TURN server: %w", err)
			}
			uri.Username, uri.Password = s.Username, s.Credential
			out = append(out, uri)
		}
	}
	return out, nil
}

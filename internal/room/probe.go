package room

import (
	"context"
	"errors"

	"github.com/livekit/protocol/livekit"
)

// Probe checks, without a token, that a server provides the signalling that Join needs: a reachable
// address and /rtc/v1. A server with /rtc/v1 refuses the request because it has no token. A server
// without it answers as for any unknown path, see [JoinError.Unsupported]. Probe neither joins nor
// creates a room, and does not test data channels over UDP.
func (c *Client) Probe(ctx context.Context, rawURL string) error {
	ctx, cancel := context.WithTimeout(ctx, c.times.join)
	defer cancel()
	e, err := parseEndpoint(rawURL)
	if err != nil {
		return &JoinError{Phase: "url", Err: err}
	}
	sig, _, err := c.dial(ctx, e, "", &livekit.JoinRequest{})
	if je, ok := errors.AsType[*JoinError](err); ok && je.Unauthorized() {
		return nil
	}
	if err != nil {
		return err
	}
	sig.close()
	return errors.New("room: the server let us in without a token: it is no LiveKit server")
}

package room

import (
	"context"
	"errors"

	"github.com/livekit/protocol/livekit"
)

// Probe finds out, without a token, whether a server has what Join needs of its signalling: an
// address that can be reached, and /rtc/v1. A server that has it refuses us there for want of a
// token; one that lacks it answers as it does for any path it does not know, see
// [JoinError.Unsupported]. Nothing is joined and no room is made. Whether data channels come up
// over UDP is not tried.
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

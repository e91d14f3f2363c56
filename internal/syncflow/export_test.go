package syncflow

import "github.com/syncflow/textegress/internal/backoff"

// SetJitter replaces the random choice of pauses.
func (c *Client) SetJitter(f backoff.Jitter) { c.pauses.Jitter = f }

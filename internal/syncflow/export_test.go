package syncflow

import "time"

// SetJitter replaces the random choice of pauses.
func (c *Client) SetJitter(f func(most time.Duration) time.Duration) { c.jitter = f }

package syncflow

import (
	"net/http"
	"sync"
	"time"
)

// promptAnswer bounds the duration of a request whose answer is used to measure the server's clock.
const promptAnswer = 2 * time.Second

// clock is the difference between the server's clock and ours.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
	known  bool
}

// measure computes the offset from the Date header of an answer to a request that was sent and
// answered at the given times. The header is truncated to whole seconds.
func (c *clock) measure(header string, sent, answered time.Time) {
	took := answered.Sub(sent)
	if took > promptAnswer {
		return
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset, c.known = at.Add(time.Second/2).Sub(sent.Add(took/2).Round(0)), true
}

// ClockOffset returns how far the server's clock is ahead of ours, to about a second; known is
// false until an answer has been measured.
func (c *Client) ClockOffset() (offset time.Duration, known bool) {
	c.clock.mu.Lock()
	defer c.clock.mu.Unlock()
	return c.clock.offset, c.clock.known
}

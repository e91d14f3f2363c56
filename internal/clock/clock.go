// Package clock measures how far the clock of a server is ahead of ours, from the Date header of
// its answers.
package clock

import (
	"net/http"
	"sync"
	"time"
)

// promptAnswer is the maximum duration of a request whose answer is used.
const promptAnswer = 2 * time.Second

// Offset is the difference between a server's clock and ours. The zero value is an unknown offset.
// It is safe for concurrent use.
type Offset struct {
	mu     sync.Mutex
	offset time.Duration
	known  bool
}

// Measure computes the offset from the Date header of an answer to a request that was sent and
// answered at the given times. The header is truncated to whole seconds. It ignores malformed
// headers and slow answers.
func (o *Offset) Measure(date string, sent, answered time.Time) {
	took := answered.Sub(sent)
	if took > promptAnswer {
		return
	}
	at, err := http.ParseTime(date)
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.offset, o.known = at.Add(time.Second/2).Sub(sent.Add(took/2).Round(0)), true
}

// Value returns how far the server's clock is ahead of ours, to about a second; known is false
// until an answer has been measured.
func (o *Offset) Value() (offset time.Duration, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.offset, o.known
}

// Package udp has UDP sockets that wake their readers together and say when a packet arrived.
//
// A process with hundreds of quiet rooms gets its packets one at a time, spread evenly. Waking a
// thread for each of them costs more than all the rest of its way (docs/PERFORMANCE.md has the
// figures). Here one goroutine polls all sockets of a [Poller]: immediately when idle, every
// Interval under load. The sockets that have something then are read one after the other, on a
// thread that is awake already. The kernel stamps each packet, so that waiting does not blur its
// time.
//
// Otherwise the sockets behave like those of package net: a packet waits in the socket's buffer
// until it is read, and the kernel drops what does not fit. Outside Linux they are those of package
// net.
package udp

import "time"

// Interval is how long packets may wait in the buffers of their sockets under load.
const Interval = 10 * time.Millisecond

const (
	// burst is how many polls follow each other without waiting after a time of rest: more than the
	// handshakes of one room need.
	burst = 64
	// busyThreshold is how many packets in one poll make the wake-up cheap for each of them. With
	// more, waiting would only fill the sockets' buffers, which hold some hundred: polls come as
	// often as so many packets do.
	busyThreshold = 32
)

// wakeLimiter spaces the polls. It is a token bucket: one poll every interval, and after a rest
// burst of them at once.
type wakeLimiter struct {
	interval time.Duration
	next     time.Time
}

// wait returns how long after now the next poll has to wait, if so many packets were read since the
// poll before.
func (w *wakeLimiter) wait(now time.Time, packets int) time.Duration {
	if rested := now.Add(-burst * w.interval); w.next.Before(rested) {
		w.next = rested
	}
	w.next = w.next.Add(w.interval * busyThreshold / time.Duration(max(packets, busyThreshold)))
	return max(0, w.next.Sub(now))
}

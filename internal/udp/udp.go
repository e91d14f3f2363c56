// Package udp provides UDP sockets that wake their readers together and report when each packet
// arrived.
//
// A process with hundreds of quiet rooms receives its packets one at a time, spread evenly. Waking
// a thread for each packet costs more than all other processing of it (docs/PERFORMANCE.md has the
// figures). Here one goroutine polls all sockets of a [Poller]: immediately when idle, every
// Interval under load. It reads the ready sockets one after the other, on a thread that is already
// awake. The kernel timestamps each packet, so that waiting does not change its time.
//
// Otherwise the sockets behave like those of package net: a packet waits in the socket's buffer
// until it is read, and the kernel drops packets that do not fit. Outside Linux they are sockets of
// package net.
package udp

import "time"

// Interval is how long packets may wait in the buffers of their sockets under load.
const Interval = 10 * time.Millisecond

const (
	// burst is how many polls may follow each other without waiting after an idle period: more than
	// the handshakes of one room need.
	burst = 64
	// busyThreshold is how many packets per poll make the cost of the wake-up per packet small.
	// With more, waiting would only fill the sockets' buffers, which hold some hundred packets, so
	// polls become more frequent: one for every busyThreshold packets.
	busyThreshold = 32
)

// wakeLimiter spaces the polls. It is a token bucket: one poll every interval, and after a rest
// burst of them at once.
type wakeLimiter struct {
	interval time.Duration
	next     time.Time
}

// wait returns how long the next poll must wait, given the number of packets read since the poll
// before.
func (w *wakeLimiter) wait(now time.Time, packets int) time.Duration {
	if rested := now.Add(-burst * w.interval); w.next.Before(rested) {
		w.next = rested
	}
	w.next = w.next.Add(w.interval * busyThreshold / time.Duration(max(packets, busyThreshold)))
	return max(0, w.next.Sub(now))
}

// Package udp provides UDP sockets that wake their readers together and report when each packet
// arrived.
//
// A process with hundreds of quiet rooms receives its packets one at a time, spread evenly. Waking
// a thread for each packet costs more than all other processing of the packet (docs/PERFORMANCE.md
// has the figures). Here one goroutine polls all sockets of a [Poller]: immediately when idle,
// every Interval under load. The ready sockets are read one after the other, on a thread that is
// already awake. The kernel timestamps each packet, so waiting does not change its time.
//
// Otherwise the sockets behave like those of package net: a packet waits in the socket's buffer
// until it is read, and the kernel drops packets that do not fit. On systems other than Linux, they
// are sockets of package net.
package udp

import "time"

// Interval is the longest time that packets wait in their socket's buffer under load.
const Interval = 10 * time.Millisecond

const (
	// burst is the number of polls without a pause after an idle period: more than the handshakes
	// of one room need.
	burst = 64
	// busyThreshold is the number of packets per poll at which the cost of a wake-up per packet is
	// small. Above it, waiting would only fill the sockets' buffers, which hold some hundred
	// packets. Polls then become more frequent: one for every busyThreshold packets.
	busyThreshold = 32
)

// wakeLimiter spaces the polls. It is a token bucket: one poll every interval, and burst polls at
// once after an idle period.
type wakeLimiter struct {
	interval time.Duration
	next     time.Time
}

// wait returns the pause before the next poll, given the number of packets read since the previous
// poll.
func (w *wakeLimiter) wait(now time.Time, packets int) time.Duration {
	if rested := now.Add(-burst * w.interval); w.next.Before(rested) {
		w.next = rested
	}
	w.next = w.next.Add(w.interval * busyThreshold / time.Duration(max(packets, busyThreshold)))
	return max(0, w.next.Sub(now))
}

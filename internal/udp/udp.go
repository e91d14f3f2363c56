// Package udp has UDP sockets that wake their readers together.
//
// A process with hundreds of quiet rooms gets its packets one at a time, spread evenly. Waking a
// thread for each of them costs more than all the rest of its way. These sockets are looked at by
// one goroutine, as long as there is little to do at once, and else every [pace]: those that have
// something then are read one after the other, on a thread that is awake already.
//
// It is the same as package net in all else: a packet waits in the socket's buffer until it is
// read, and the kernel drops what does not fit. Outside Linux it is package net.
package udp

import "time"

// pace is how long a packet may wait in its socket's buffer while many arrive, and burst how many
// looks at the sockets are taken without waiting after a time of rest: more than the handshakes of
// one room need.
//
// Where a look finds more than crowd packets, the wake is paid for, and waiting would only fill
// sockets' buffers, which hold some hundred: the looks come as often as crowd packets do.
const (
	pace  = 10 * time.Millisecond
	burst = 64
	crowd = 32
)

// pacer spaces the looks at the sockets. It is a token bucket: one look every pace, and after a
// rest burst of them at once.
type pacer struct{ next time.Time }

// wait returns how long the look after the one at now is to be put off, if so many packets were
// read since the look before.
func (p *pacer) wait(now time.Time, packets int) time.Duration {
	if rested := now.Add(-burst * pace); p.next.Before(rested) {
		p.next = rested
	}
	p.next = p.next.Add(pace * crowd / time.Duration(max(packets, crowd)))
	return max(0, p.next.Sub(now))
}

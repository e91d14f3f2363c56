package room

import "time"

// suspendDetector notices that this process did not run for a while: it was stopped, or the machine
// slept. ICE then notices late that the server was silent, and what a TURN server relayed meanwhile
// looks as if it had just arrived. The detector uses the wall clock, because the monotonic clock
// sleeps with the machine.
type suspendDetector struct {
	every            time.Duration // between two ticks
	last             time.Time     // tick
	suspended, awoke time.Time     // of the last suspension
}

const (
	// tickSlack is by how much a tick may be late without a suspension.
	tickSlack = 3 * time.Second
	// suspendMatters is how long after a suspension a disconnect may be its consequence: LiveKit
	// closes a lost session after that.
	suspendMatters = 20 * time.Second
)

// tick is called regularly.
func (s *suspendDetector) tick(now time.Time) {
	now = now.Round(0)
	if !s.last.IsZero() && now.Sub(s.last) > s.every+tickSlack {
		s.suspended, s.awoke = s.last, now
	}
	s.last = now
}

// lastReceived returns when the server was last heard before a disconnect that is noticed at now.
// It is heard, or the beginning of a suspension if the disconnect may be its consequence.
func (s *suspendDetector) lastReceived(now, heard time.Time) time.Time {
	s.tick(now)
	if s.suspended.IsZero() || now.Round(0).Sub(s.awoke) > suspendMatters || !heard.IsZero() &&
		heard.Before(s.suspended) {
		return heard
	}
	return s.suspended
}

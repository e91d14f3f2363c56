package room

import "time"

// suspendDetector detects that this process did not run for a while, because it was stopped or the
// machine was asleep. After a suspension, ICE detects the server's silence late, and packets that a
// TURN server relayed meanwhile appear to have just arrived. The detector uses the wall clock
// because the monotonic clock stops while the machine sleeps.
type suspendDetector struct {
	every            time.Duration // time between two ticks
	last             time.Time     // time of the last tick
	suspended, awoke time.Time     // start and end of the last suspension
}

const (
	// tickSlack is the delay of a tick that does not yet indicate a suspension.
	tickSlack = 3 * time.Second
	// suspendMatters is how long after a suspension a disconnect may be its consequence. LiveKit
	// closes a lost session after this time.
	suspendMatters = 20 * time.Second
)

// tick must be called at the interval every.
func (s *suspendDetector) tick(now time.Time) {
	now = now.Round(0)
	if !s.last.IsZero() && now.Sub(s.last) > s.every+tickSlack {
		s.suspended, s.awoke = s.last, now
	}
	s.last = now
}

// lastReceived returns the time of the last packet from the server before a disconnect detected at
// now. The result is heard, or the start of a suspension if the disconnect may be its consequence.
func (s *suspendDetector) lastReceived(now, heard time.Time) time.Time {
	s.tick(now)
	if s.suspended.IsZero() || now.Round(0).Sub(s.awoke) > suspendMatters || !heard.IsZero() &&
		heard.Before(s.suspended) {
		return heard
	}
	return s.suspended
}

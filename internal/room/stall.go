package room

import "time"

// stall notices that this process stood still: it was stopped, or the machine slept. What was
// received meanwhile is read, and looks as if it had arrived, when it goes on. It goes by the wall
// clock, because the monotonic one sleeps with the machine.
type stall struct {
	every       time.Duration // between two ticks
	last        time.Time     // tick
	since, woke time.Time     // of the last stall
}

const (
	stallSlack = 3 * time.Second // later than that a tick is late
	// for so long an end may be the consequence of a stall: LiveKit closes a lost session after
	// that
	stallMatter = 20 * time.Second
)

// tick is called regularly.
func (s *stall) tick(now time.Time) {
	now = now.Round(0)
	if !s.last.IsZero() && now.Sub(s.last) > s.every+stallSlack {
		s.since, s.woke = s.last, now
	}
	s.last = now
}

// before returns since when we may have been standing still, if an end at the given time may be the
// consequence, else heard.
func (s *stall) before(now, heard time.Time) time.Time {
	s.tick(now)
	if s.since.IsZero() || now.Round(0).Sub(s.woke) > stallMatter || !heard.IsZero() &&
		heard.Before(s.since) {
		return heard
	}
	return s.since
}

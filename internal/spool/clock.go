package spool

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

// Clock reads the clocks of this machine.
type Clock interface {
	// Read returns the time of day and the monotonic clock at one instant.
	Read() Reading
	// Suspended returns how long the machine has been suspended since it started. The monotonic
	// clock does not advance during a suspend.
	Suspended() time.Duration
}

// Reading is one instant on both clocks. The origin of MonoNS is arbitrary.
type Reading struct{ UnixNS, MonoNS int64 }

type systemClock struct{}

var processStarted = time.Now()

// Read implements [Clock].
func (systemClock) Read() Reading {
	now := time.Now()
	return Reading{now.UnixNano(), int64(now.Sub(processStarted))}
}

// Suspended implements [Clock].
func (systemClock) Suspended() time.Duration {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil {
		return 0
	}
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}

// stepLimit is how far the two clocks may diverge before the difference counts as a step. A gradual
// adjustment of the time of day adjusts the monotonic clock as well.
const stepLimit = 100 * time.Millisecond

// steps detects that the time of day was set.
type steps struct {
	clock     Clock
	apart     int64         // the time of day minus the monotonic clock, as of the last step
	suspended time.Duration // the suspended time as of the last step
	last      int64         // the time of day of the last frame, initially of the start
}

func newSteps(c Clock) steps {
	s := steps{clock: c, suspended: c.Suspended()}
	now := s.settle()
	s.apart, s.last = now.apart(), now.UnixNS
	return s
}

func (r Reading) apart() int64 { return r.UnixNS - r.MonoNS }

// parted reports whether the clocks have diverged by more than stepLimit since the last step.
func (s *steps) parted(now Reading) bool {
	d := now.apart() - s.apart
	return d > int64(stepLimit) || d < -int64(stepLimit)
}

// settle reads the clocks until two readings agree: an interruption of the process between the two
// clock reads is not a step.
func (s *steps) settle() Reading {
	now := s.clock.Read()
	for range 10 {
		again := s.clock.Read()
		d := again.apart() - now.apart()
		if now = again; d > -int64(time.Millisecond) && d < int64(time.Millisecond) {
			break
		}
	}
	return now
}

// look returns the event that states a step. The event is nil if there was no step: the machine was
// suspended, or the reading was wrong. commit makes now the new reference.
func (s *steps) look() (now Reading, ev *segment.Event, commit func()) {
	now = s.settle()
	suspended := s.clock.Suspended()
	commit = func() { s.apart, s.suspended = now.apart(), suspended }
	if !s.parted(now) {
		return now, nil, func() {}
	}
	offset := now.apart() - s.apart - int64(suspended-s.suspended)
	if offset <= int64(stepLimit) && offset >= -int64(stepLimit) {
		return now, nil, commit
	}
	return now, &segment.Event{
		Kind: textegress.KindClockStep, OffsetNS: offset, BeforeUnixNS: s.last,
		AfterUnixNS: now.UnixNS,
	}, commit
}

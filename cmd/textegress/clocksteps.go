package main

import (
	"fmt"
	"time"

	"github.com/syncflow/textegress"
)

// printClockSteps prints when the recorder's clock was set.
func printClockSteps(line func(string, ...any), c textegress.Completeness) {
	if len(c.ClockSteps) == 0 {
		return
	}
	line("Steps of the recorder's clock: %d. Times before a step are not comparable with times "+
		"after it.",
		int64(len(c.ClockSteps))+c.ClockStepsOmitted)
	for i, s := range c.ClockSteps {
		if i == maxShown {
			line("  … and %d more (--json)", int64(len(c.ClockSteps)-i)+c.ClockStepsOmitted)
			return
		}
		direction, by := "forward", time.Duration(s.OffsetNS)
		if by < 0 {
			direction, by = "back", -by
		}
		least := ""
		if s.AtLeast {
			least = "at least "
		}
		whose := ""
		if s.EgressID != "" {
			whose = " (" + escape(s.EgressID) + ")"
		}
		line("  %d. %s by %s%s: %s was followed by %s%s.", i+1, direction, least,
			by.Round(time.Millisecond), clock(s.BeforeUnixNS), clock(s.AfterUnixNS), whose)
	}
}

const unknownTime = "for an unknown time (the clock was set)"

// lasted returns the length of an outage, corrected for clock steps during it.
func lasted(c textegress.Completeness, o textegress.Outage) string {
	if o.EndedUnixNS == 0 {
		return "to the end of the recording"
	}
	d := time.Duration(o.EndedUnixNS - o.StartedUnixNS)
	for _, s := range c.ClockSteps {
		// Outages and steps are both detected after they start, so a step during an outage can
		// precede it in the record.
		if o.StartIndex == 0 || s.Index+2 < o.StartIndex || s.Index > o.EndIndex ||
			s.EgressID != "" {
			continue
		}
		if s.AtLeast {
			return unknownTime
		}
		d -= time.Duration(s.OffsetNS)
	}
	if d < 0 {
		return unknownTime
	}
	return fmt.Sprintf("for %s", d.Round(time.Millisecond))
}

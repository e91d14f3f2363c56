package timeline

import (
	"fmt"
	"time"
)

// steps are the distances of the labels of the axis.
var steps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second,
	30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
	15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour,
	12 * time.Hour, 24 * time.Hour,
}

// ticks returns the labelled times between from and to, at full minutes, hours or days of their
// zone, and their distance.
func ticks(from, to time.Time) (time.Duration, []time.Time) {
	length := to.Sub(from)
	step := steps[len(steps)-1]
	for _, s := range steps {
		if limit := time.Duration(maxTicks); length/s < limit && s >= time.Minute ||
			length/s < limit*2/3 { // labels with seconds are wider
			step = s
			break
		}
	}
	for length/step >= maxTicks {
		step *= 2
	}
	_, offset := from.Zone()
	local := time.Duration(offset) * time.Second
	first := from.Add(local).UTC().Truncate(step).Add(-local).In(from.Location())
	var out []time.Time
	for t := first; !t.After(to) && len(out) <= maxTicks; t = t.Add(step) {
		if !t.Before(from) {
			out = append(out, t)
		}
	}
	return step, out
}

// label returns the label of a tick.
func (f *figure) label(t time.Time, first bool) string {
	switch {
	case f.tick >= 24*time.Hour:
		return t.Format("2 Jan")
	case first && f.d.To.Sub(f.d.From) > 24*time.Hour:
		return t.Format("2 Jan 15:04")
	case f.tick < time.Minute:
		return t.Format("15:04:05")
	}
	return t.Format("15:04")
}

// clock returns a time for people; with its day if the data is longer than one.
func (f *figure) clock(t time.Time) string {
	t = t.In(f.o.Zone)
	from, to := f.d.From.In(f.o.Zone), f.d.To.In(f.o.Zone)
	if from.YearDay() != to.YearDay() || from.Year() != to.Year() ||
		t.YearDay() != from.YearDay() || t.Year() != from.Year() {
		return t.Format("2 Jan 15:04:05")
	}
	return t.Format("15:04:05")
}

// zoneName names the zone of a time, such as "UTC", "CEST" or "UTC+02:00".
func zoneName(t time.Time) string {
	name, offset := t.Zone()
	if name != "" && name[0] != '+' && name[0] != '-' {
		return name
	}
	sign := '+'
	if offset < 0 {
		sign, offset = '-', -offset
	}
	return fmt.Sprintf("UTC%c%02d:%02d", sign, offset/3600, offset/60%60)
}

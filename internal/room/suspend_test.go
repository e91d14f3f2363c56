package room

import (
	"testing"
	"time"
)

func TestSuspendDetector(t *testing.T) {
	at := func(s float64) time.Time {
		return time.Unix(1_700_000_000, 0).Add(time.Duration(s * float64(time.Second)))
	}
	for _, c := range []struct {
		name             string
		ticks            []float64
		now, heard, want float64
	}{
		{"no suspension", []float64{0, 5, 10}, 12, 11, 11},
		{"late ticks", []float64{0, 7, 15}, 22, 21, 21},
		{"stopped for 17 s, the end is seen before the tick", []float64{0, 5}, 22.5, 22.4, 5},
		{"stopped for 17 s, the tick is seen before the end", []float64{0, 5, 22.1}, 22.5, 22.4, 5},
		{"a suspension that was survived", []float64{0, 5, 15, 20, 25, 30, 35}, 38, 37, 37},
		{"silent before the suspension", []float64{0, 5}, 22.5, 3, 3},
	} {
		s := suspendDetector{every: 5 * time.Second}
		for _, x := range c.ticks {
			s.tick(at(x))
		}
		if got := s.lastReceived(at(c.now), at(c.heard)); !got.Equal(at(c.want)) {
			t.Errorf("%s: %v, want %v", c.name, got.Sub(at(0)), at(c.want).Sub(at(0)))
		}
	}
	s := suspendDetector{every: time.Second}
	if got := s.lastReceived(at(1), time.Time{}); !got.IsZero() {
		t.Errorf("nothing known: %v", got)
	}
}

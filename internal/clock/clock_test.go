package clock

import (
	"net/http"
	"testing"
	"time"
)

func TestOffset(t *testing.T) {
	now := time.Now()
	for _, ahead := range []time.Duration{0, 3 * time.Hour, -45 * time.Minute} {
		var o Offset
		if d, known := o.Value(); known {
			t.Errorf("%v is known before an answer", d)
		}
		o.Measure(now.Add(ahead).UTC().Format(http.TimeFormat), now, now.Add(time.Second))
		if d, known := o.Value(); !known || (d-ahead).Abs() > 2*time.Second {
			t.Errorf("%v, %v, want %v", d, known, ahead)
		}
	}
}

func TestOffset_NoMeasurement(t *testing.T) {
	now := time.Now()
	for name, tc := range map[string]struct {
		header string
		took   time.Duration
	}{
		"no header":     {"", 0},
		"no time":       {"yesterday", 0},
		"a slow server": {"Mon, 02 Jan 2006 15:04:05 GMT", 30 * time.Second},
	} {
		var o Offset
		o.Measure(tc.header, now, now.Add(tc.took))
		if d, known := o.Value(); known {
			t.Errorf("%s: %v", name, d)
		}
	}
}

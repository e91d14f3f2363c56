package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/overview"
)

// number returns a count with separators: "4,812".
func number[T int | int64 | uint32 | uint64](n T) string {
	digits := strconv.FormatInt(int64(n), 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// count returns a number with its noun: "1 person", "12 people".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// size returns a number of bytes for people: "3.1 GB".
func size(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	v, i := float64(n), 0
	for v >= 999.5 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	if i > 0 && v < 9.95 {
		return fmt.Sprintf("%.1f %s", v, units[i])
	}
	return fmt.Sprintf("%.0f %s", v, units[i])
}

// rate returns messages per second for people, "" if there are none.
func rate(perSecond float64) string {
	switch {
	case perSecond <= 0:
		return ""
	case perSecond >= 1:
		return number(int(math.Round(perSecond))) + "/s"
	case perSecond*60 >= 1:
		return number(int(math.Round(perSecond*60))) + "/min"
	}
	return "<1/min"
}

// length returns the length of a recording: "44 min", "1 h 10 min".
func length(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// clock returns an elapsed time: "0:31:12".
func clock(d time.Duration) string {
	s := max(0, int(d.Seconds()))
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// Signs of the states, as classes of the style sheet.
const (
	signOK   = "ok"
	signWarn = "warn"
	signBad  = "bad"
	signInfo = "info"
	signOff  = "off"
)

func sign(l overview.Level) string {
	switch l {
	case overview.OK:
		return signOK
	case overview.Warn:
		return signWarn
	case overview.Bad:
		return signBad
	}
	return signOff
}

// levelWord is the sign of a level for those who do not see it.
func levelWord(l overview.Level) string {
	switch l {
	case overview.OK:
		return "in order"
	case overview.Warn:
		return "warning"
	case overview.Bad:
		return "problem"
	}
	return "idle"
}

// pill is the state of a session in a word or two.
type pill struct {
	Sign, Text string
	Since      time.Time // shown as "for 12 s" if set
	Live       bool      // data is being recorded
}

func statePill(s overview.Session) pill {
	switch s.State {
	case overview.StateStarting:
		if s.Level == overview.OK || s.Level == overview.Idle {
			return pill{Sign: signInfo, Text: "joining"}
		}
		return pill{Sign: sign(s.Level), Text: "not in the room yet"}
	case overview.StateRecording:
		return pill{Sign: signOK, Text: "recording", Live: true}
	case overview.StateCutOff:
		return pill{Sign: signBad, Text: "cut off", Since: s.CutOffSince}
	case overview.StateEnding:
		return pill{Sign: signInfo, Text: "closing"}
	case overview.StateDelivering:
		if s.Level == overview.Warn || s.Level == overview.Bad {
			return pill{Sign: sign(s.Level), Text: "not delivered yet"}
		}
		if s.Total > 0 {
			percent := s.Delivered * 100 / s.Total
			return pill{Sign: signInfo, Text: fmt.Sprintf("delivering %d %%", percent)}
		}
		return pill{Sign: signInfo, Text: "delivering"}
	case overview.StateDelivered:
		return pill{Sign: signOK, Text: "delivered"}
	case overview.StateFailed:
		return pill{Sign: signBad, Text: "failed"}
	}
	return pill{Sign: signOff, Text: strings.ReplaceAll(s.State, "_", " ")}
}

// running reports whether a session is still being recorded.
func running(s overview.Session) bool {
	switch s.State {
	case overview.StateStarting, overview.StateRecording, overview.StateCutOff:
		return true
	}
	return false
}

// lag says how much of what was received is not durable yet. Below two seconds it is the usual wait
// for the next fdatasync.
func lag(s overview.Session, at time.Time) (text, sign string) {
	if s.DurableUpTo.IsZero() || !running(s) {
		return "", ""
	}
	switch d := at.Sub(s.DurableUpTo); {
	case d < time.Second:
		return "safe on disk to within a second", ""
	case d < 2*time.Second:
		return "safe on disk to within 2 seconds", ""
	case d < 10*time.Second:
		return fmt.Sprintf("safe on disk except the last %d s", int(d.Seconds())), signWarn
	default:
		return "safe on disk only up to " + overview.Duration(d) + " ago", signBad
	}
}

// spark returns the bars of the counts of intervals as the path of an SVG of 92 × 18 units, and the
// same in words. most is the count of a bar of full height.
func spark(recent []uint32, most uint32) (path, words string) {
	var b strings.Builder
	var sum uint64
	for i, v := range recent {
		sum += uint64(v)
		if v == 0 {
			continue
		}
		h := max(2, int(math.Round(17*math.Sqrt(float64(v)/float64(max(most, 4))))))
		fmt.Fprintf(&b, "M%d 18v-%dh2v%dz", 1+3*i, h, h)
	}
	return b.String(), count(int(min(sum, math.MaxInt32)), "message", "messages") +
		" in the last 5 minutes"
}

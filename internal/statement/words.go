package statement

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Length returns a duration in words: "230 ms", "14 s", "2 min 5 s", "1 h 3 min".
func Length(d time.Duration) string {
	if d < 0 {
		return "-" + Length(-d)
	}
	switch {
	case d < 10*time.Second && d%time.Second >= time.Millisecond:
		if d < time.Second {
			return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
		}
		return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64) + " s"
	case d.Round(time.Second) < time.Minute:
		return strconv.FormatInt(int64(d.Round(time.Second)/time.Second), 10) + " s"
	case d.Round(time.Second) < time.Hour:
		return two(d.Round(time.Second), time.Minute, "min", time.Second, "s")
	}
	return two(d.Round(time.Minute), time.Hour, "h", time.Minute, "min")
}

func two(d, large time.Duration, a string, small time.Duration, b string) string {
	s := fmt.Sprintf("%d %s", d/large, a)
	if rest := d % large / small; rest > 0 {
		s += fmt.Sprintf(" %d %s", rest, b)
	}
	return s
}

// Clock returns a time as the statement shows it.
func Clock(unixNS int64) string {
	return time.Unix(0, unixNS).UTC().Format("2006-01-02 15:04:05.000 UTC")
}

// Count returns n with separators of thousands and the noun, which gets an s unless n is 1.
func Count[N int | int64 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Number(n) + " " + noun + "s"
}

// Number returns n with separators of thousands.
func Number[N int | int64 | uint64 | uint32](n N) string {
	s := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Bytes returns a number of bytes in decimal units: "312 bytes", "4.8 KB".
func Bytes(n int64) string {
	if n < 1000 {
		return Count(n, "byte")
	}
	f := float64(n)
	for _, unit := range []string{"KB", "MB", "GB"} {
		if f /= 1000; f < 999.95 {
			return fmt.Sprintf("%.1f %s", f, unit)
		}
	}
	return fmt.Sprintf("%.1f TB", f/1000)
}

// were returns "was" for 1, else "were"; and has the same for other verbs.
func pick[N int | int64 | uint64](n N, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

var causes = map[string]string{
	"connection_lost":    "LiveKit was no longer heard: the network failed, or the server",
	"server_shutdown":    "the LiveKit server announced its shutdown",
	"state_mismatch":     "the LiveKit server had been restarted",
	"migration":          "LiveKit moved the room to another node",
	"duplicate_identity": "another client joined under the recorder's identity",
	"join_failed":        "the data channels did not open",
	"slow_join":          "the data channels opened late",
	"process_died": "the recorder was killed, it crashed, or its machine " +
		"stopped",
	"disk_full":           "the recorder's disk was full",
	"disk":                "the recorder's disk failed",
	"service_stopped":     "the recorder was stopped",
	"room_closed":         "the room was closed",
	"room_deleted":        "the room was deleted",
	"room_missing":        "there was no room",
	"unreachable":         "neither LiveKit nor the platform could be reached",
	"session_ended":       "the session was over, and then continued",
	"room_replaced":       "the room belonged to another session",
	"participant_removed": "an administrator had removed the recorder",
	"stopped":             "somebody had stopped the recording",
	"opted_out":           "the room's creator had withdrawn it from recording",
	"left":                "the recorder had left",
	"refused":             "the server had refused the recorder",
	"other":               "the server ended the connection",
}

// Cause returns the cause of an outage (docs/FORMAT.md, Causes of outages) in words.
func Cause(cause string) string {
	if text, ok := causes[cause]; ok {
		return text
	}
	return "the connection was lost (" + cause + ")"
}

var ends = map[string]string{
	"room_closed":         "LiveKit closed the room, because everybody had left",
	"room_deleted":        "the room was deleted",
	"room_missing":        "there was no room any more",
	"unreachable":         "neither LiveKit nor the platform could be reached for an hour",
	"duplicate_identity":  "another client repeatedly took the recorder's identity",
	"service_stopped":     "the recorder was stopped",
	"session_ended":       "the platform said that the session is over",
	"room_replaced":       "the room of that name belonged to another session",
	"participant_removed": "an administrator removed the recorder from the room",
	"stopped":             "somebody stopped the recording",
	"opted_out":           "the room's creator withdrew the room from recording",
}

// End returns why a recording ended (docs/FORMAT.md, Reasons of the end) in words, and whether the
// reason is known.
func End(reason string) (string, bool) {
	text, ok := ends[reason]
	return text, ok
}

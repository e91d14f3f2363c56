package statement

import (
	"fmt"
	"strings"
	"time"

	"github.com/syncflow/textegress"
)

// Level is how much of a recording is known to be missing.
type Level string

// The levels, best first.
const (
	OK   Level = "ok"   // nothing is known to be missing
	Warn Level = "warn" // something is missing, or may be
	Bad  Level = "bad"  // nothing was recorded
)

// Phrase says in a few words what was captured, such as "nothing known to be missing" or "outage
// 14 s, 2 people may be affected". It names nobody. "Nothing known to be missing" is what the
// record proves, and not that nothing is missing: see tail in docs/GUARANTEES.md.
func Phrase(m textegress.Manifest) (string, Level) {
	c := m.Completeness
	if c.Join.JoinedUnixNS == 0 {
		return neverJoined(m)
	}
	var parts []string
	if n := len(c.Outages); n > 0 {
		parts = append(parts, outages(c), affected(c))
	}
	if c.CorruptRanges > 0 {
		parts = append(parts, Bytes(c.CorruptBytes)+" of the record unreadable")
	}
	if c.Suspect {
		parts = append(parts, "the disk failed")
	}
	switch m.Reason {
	case "participant_removed", "duplicate_identity", "unreachable", "room_replaced":
		text, _ := End(m.Reason)
		parts = append(parts, "ended early: "+text)
	}
	if n := numbersBeforeJoin(c); n > 0 {
		parts = append(parts, "up to "+Count(n, "packet")+" sent before the join")
	}
	if n := c.UndecryptablePackets; n > 0 {
		parts = append(parts, Count(n, "packet")+" could not be decrypted")
	}
	if n := c.Streams.Incomplete; n > 0 {
		parts = append(parts, Count(n, "stream")+" not proved complete")
	}
	if len(parts) > 0 {
		return strings.Join(parts, ", "), Warn
	}
	text := "nothing known to be missing"
	if m.Status == textegress.StatusActive {
		text += " so far"
	}
	return text, OK
}

func neverJoined(m textegress.Manifest) (string, Level) {
	switch m.Reason {
	case "":
		return "not in the room yet", Warn
	case "session_ended", "room_closed", "room_deleted", "room_missing":
		return "over before the recorder could join", Bad
	}
	text, ok := End(m.Reason)
	if !ok {
		text = m.Reason
	}
	return "nothing recorded: " + text, Bad
}

// outages returns "outage 14 s" or "2 outages, 20 s in all".
func outages(c textegress.Completeness) string {
	total, exact := time.Duration(0), true
	for _, o := range c.Outages {
		d, ok := Lasted(c, o)
		total += d
		exact = exact && ok
	}
	n := len(c.Outages)
	switch {
	case n == 1 && c.Outages[0].EndedUnixNS == 0:
		return "an outage that lasted to the end"
	case n == 1 && exact:
		return "outage " + Length(total)
	case n == 1:
		return "an outage of unknown length"
	case exact:
		return fmt.Sprintf("%s, %s in all", Count(n, "outage"), Length(total))
	}
	return Count(n, "outage")
}

// affected returns how many people may have sent numbered packets that were missed in an outage.
func affected(c textegress.Completeness) string {
	people, n, more := map[string]bool{}, 0, false
	who := map[string]string{}
	for _, conn := range c.Connections {
		who[conn.ParticipantSID] = conn.Identity
	}
	for _, o := range c.Outages {
		more = more || o.ConnectionsOmitted > 0
		for _, conn := range o.Connections {
			n++
			if conn.FirstAfter != conn.LastBefore+1 {
				id := who[conn.ParticipantSID]
				if id == "" {
					id = "\x00" + conn.ParticipantSID
				}
				people[id] = true
			}
		}
	}
	switch {
	case len(people) == 0 && n > 0 && !more:
		return "no numbered packet missed in " + pick(len(c.Outages), "it", "them")
	case len(people) == 0:
		return "what was sent meanwhile may be missing"
	case more:
		return fmt.Sprintf("%d or more people may be affected", len(people))
	}
	return pick(len(people), "1 person", fmt.Sprintf("%d people", len(people))) + " may be affected"
}

// numbersBeforeJoin returns how many numbers participants had used before the recorder joined.
func numbersBeforeJoin(c textegress.Completeness) int64 {
	n := int64(0)
	for _, conn := range c.Connections {
		if s := conn.Sequence; s != nil && s.BeforeFirst != nil && s.BeforeFirst.BeforeJoin {
			n += int64(s.BeforeFirst.Last) - int64(s.BeforeFirst.First) + 1
		}
	}
	return n
}

// Lasted returns the length of an outage, corrected for steps of the clock during it, and whether
// it is known; it is not if the recording ended in the outage, or the clock was set by an unknown
// amount.
func Lasted(c textegress.Completeness, o textegress.Outage) (time.Duration, bool) {
	if o.EndedUnixNS == 0 {
		return 0, false
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
			return 0, false
		}
		d -= time.Duration(s.OffsetNS)
	}
	return max(d, 0), d >= 0
}

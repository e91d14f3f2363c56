package statement

import (
	"fmt"
	"time"

	"github.com/syncflow/textegress"
)

// Methods returns a few sentences fit for the methods section of a paper. They name nobody.
func Methods(m textegress.Manifest) string {
	c := m.Completeness
	if c.Join.JoinedUnixNS == 0 {
		return fmt.Sprintf("The session could not be recorded: the recorder (textegress, recording "+
			"%s) was never in the room.", m.EgressID)
	}
	text := fmt.Sprintf("All messages on the LiveKit data channels of the session were recorded "+
		"passively with textegress (recording %s), from %s", m.EgressID, second(c.Join.JoinedUnixNS))
	if m.Selection != nil {
		text = fmt.Sprintf("Messages on the LiveKit data channels of the session, except those "+
			"excluded by lists or at the wish of participants, were recorded passively with "+
			"textegress (recording %s), from %s", m.EgressID, second(c.Join.JoinedUnixNS))
	}
	if m.EndedUnixNS != 0 {
		text += " to " + second(m.EndedUnixNS)
		if d := time.Duration(m.EndedUnixNS - c.Join.JoinedUnixNS); len(c.ClockSteps) == 0 && d > 0 {
			text += " (" + Length(d.Round(time.Second)) + ")"
		}
	}
	text += fmt.Sprintf(": %s from %s.", Count(m.Counts.Messages, "message"),
		Count(m.Counts.Participants, "participant"))
	text += " " + gaps(c)
	if m.Forgotten != nil {
		text += " The data of participants who withdrew consent were removed afterwards."
	}
	if m.Pseudonyms {
		text += " Identities were replaced by keyed pseudonyms before the data left the recorder."
	}
	return text
}

// gaps says in one sentence what may be missing.
func gaps(c textegress.Completeness) string {
	var numbered, contiguous int64
	for _, conn := range c.Connections {
		if conn.Sequence != nil {
			numbered++
			if conn.Sequence.Contiguous {
				contiguous++
			}
		}
	}
	text := "The recorder's own account states no outage"
	if len(c.Outages) > 0 {
		text = "The recorder's own account states " + outagesOf(c) + ", during which messages " +
			"may be missing"
	}
	if c.CorruptRanges > 0 {
		text += ", and " + Count(c.CorruptRanges, "damaged range") + " of the record"
	}
	switch {
	case numbered == 0:
		return text + "; the packets are not numbered by their senders, so that their " +
			"completeness cannot be checked."
	case numbered == contiguous:
		return text + fmt.Sprintf("; by the senders' own numbering of reliable packets, none is "+
			"missing between the first and the last received (%s).", Count(numbered, "connection"))
	}
	return text + fmt.Sprintf("; by the senders' own numbering of reliable packets, none is missing "+
		"between the first and the last received for %d of %s, while for the others numbers are "+
		"missing, which may belong to messages addressed to other recipients.", contiguous,
		Count(numbered, "connection"))
}

// outagesOf returns "one outage (14 s)".
func outagesOf(c textegress.Completeness) string {
	total, exact := time.Duration(0), true
	for _, o := range c.Outages {
		d, ok := Lasted(c, o)
		total += d
		exact = exact && ok
	}
	n := len(c.Outages)
	text := pick(n, "one outage", Count(n, "outage"))
	if last := c.Outages[n-1]; last.EndedUnixNS == 0 {
		return text + pick(n, " that lasted to the end", ", the last of them to the end")
	}
	if exact {
		text += " (" + Length(total) + pick(n, "", " in all") + ")"
	}
	return text
}

func second(unixNS int64) string {
	return time.Unix(0, unixNS).UTC().Format("2006-01-02 15:04:05 UTC")
}

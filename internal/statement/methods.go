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
	except := ""
	if m.Selection != nil {
		except = ", except those excluded by lists or at the wish of participants,"
	}
	text := fmt.Sprintf("Messages on the LiveKit data channels of the session%s were recorded "+
		"passively with textegress (recording %s) from %s", except, m.EgressID,
		second(c.Join.JoinedUnixNS))
	if m.EndedUnixNS != 0 {
		text += " to " + second(m.EndedUnixNS)
		d := time.Duration(m.EndedUnixNS - c.Join.JoinedUnixNS)
		if len(c.ClockSteps) == 0 && d > 0 {
			text += " (" + Length(d.Round(time.Second)) + ")"
		}
	}
	text += fmt.Sprintf(": %s from %s.", Count(m.Counts.Messages, "message"),
		Count(m.Counts.Participants, "participant"))
	text += " " + gaps(c) + " What was sent before the recorder joined"
	if d := time.Duration(c.Join.JoinedUnixNS - c.Join.AnnouncedUnixNS); d > 0 &&
		c.Join.AnnouncedUnixNS != 0 {
		text += ", " + Length(d) + " after the session was announced,"
	}
	text += " is not included"
	if c.Tail == textegress.TailUnproved {
		text += ", and what was sent in the last moments may not be"
	}
	text += "."
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
	var explained, unexplained uint64
	for _, conn := range c.Connections {
		s := conn.Sequence
		if s == nil {
			continue
		}
		numbered++
		if s.Contiguous {
			contiguous++
		}
		unexplained += s.UnexplainedNumbers
		explained += s.MissingNumbers - min(s.UnexplainedNumbers, s.MissingNumbers)
	}
	text := "The recorder's own account states no outage"
	if len(c.Outages) > 0 {
		text = "The recorder's own account states " + outagesOf(c) + ", during which messages " +
			"may be missing"
	}
	if c.CorruptRanges > 0 {
		text += ", and " + Count(c.CorruptRanges, "damaged range") + " of the record"
	}
	switch numbered {
	case 0:
		return text + "; the packets are not numbered by their senders, so that their " +
			"completeness cannot be checked."
	case contiguous:
		return text + fmt.Sprintf("; by the senders' own numbering of reliable packets, none is "+
			"missing between the first and the last received (%s).", Count(numbered, "connection"))
	}
	text += fmt.Sprintf("; by the senders' own numbering of reliable packets, none is missing "+
		"between the first and the last received for %d of %s", contiguous,
		Count(numbered, "connection"))
	switch {
	case unexplained == 0:
		return text + ", and for the others " + Count(explained, "number") + pick(explained,
			" is", " are") + " missing across an outage or damage."
	case explained == 0:
		return text + ", and for the others " + Count(unexplained, "number") + pick(unexplained,
			" is", " are") + " missing, usually those of messages addressed to other recipients."
	}
	return text + ", and for the others " + Count(explained, "number") + pick(explained, " is",
		" are") + " missing across an outage or damage, and " + Number(unexplained) +
		" elsewhere, usually those of messages addressed to other recipients."
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

package statement

import (
	"fmt"
	"strings"

	"github.com/syncflow/textegress"
)

// Who names a connection.
func Who(c textegress.Connection) string {
	switch {
	case c.ParticipantSID == "" && c.Identity == "":
		return "no sender (sent through the server's API)"
	case c.ParticipantSID == "":
		return c.Identity + " (no sid)"
	case c.Identity == "":
		return "unnamed (" + c.ParticipantSID + ")"
	}
	return c.Identity + " (" + c.ParticipantSID + ")"
}

// Account describes what is known about the packets of a connection.
func Account(c textegress.Connection) string {
	if c.Packets == 0 {
		return "no packet"
	}
	parts := []string{Count(c.Packets, "packet")}
	if s := c.Sequence; s != nil {
		parts = append(parts, sequence(*s))
	}
	if n := c.Lossy + c.Unsequenced + c.DataTrack; n > 0 {
		parts = append(parts, Number(n)+" lossy or unnumbered, about which nothing can be proved")
	}
	if n := c.StreamsComplete + c.StreamsIncomplete; n > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s proved complete", Number(c.StreamsComplete),
			Count(n, "stream")))
	}
	if c.Undecodable > 0 {
		parts = append(parts, Number(c.Undecodable)+" undecodable")
	}
	if c.Undecryptable > 0 {
		parts = append(parts, Number(c.Undecryptable)+" encrypted")
	}
	if c.Tail == textegress.TailUnproved {
		parts = append(parts, "tail unproved")
	}
	return strings.Join(parts, "; ")
}

func sequence(s textegress.Sequence) string {
	var b strings.Builder
	fmt.Fprintf(&b, "numbers %d to %d", s.First, s.Last)
	if s.Contiguous {
		b.WriteString(" contiguous")
	} else {
		fmt.Fprintf(&b, " with %s (%s%s)", Count(s.GapCount, "gap"), atMost(s),
			Count(s.MissingNumbers, "number"))
		if n := s.GapCount - s.UnexplainedGaps; n > 0 {
			fmt.Fprintf(&b, ", %d across an outage or damage", n)
		}
		if s.UnexplainedGaps > 0 {
			fmt.Fprintf(&b, ", %d unexplained (%s)", s.UnexplainedGaps, unexplained(s))
		}
	}
	if g := s.BeforeFirst; g != nil {
		why := "unexplained"
		switch {
		case g.BeforeJoin:
			why = "sent before the recorder joined"
		case g.Explained:
			why = "across an outage or damage"
		case g.Selection:
			why = "unexplained, perhaps excluded from recording"
		}
		fmt.Fprintf(&b, ", 1 to %d not received (%s)", g.Last, why)
	}
	if s.Duplicates > 0 {
		fmt.Fprintf(&b, ", %s", Count(s.Duplicates, "duplicate"))
	}
	if s.Reordered > 0 {
		fmt.Fprintf(&b, ", %d out of order", s.Reordered)
	}
	return b.String()
}

// unexplained states what may have happened to packets in unexplained gaps.
func unexplained(s textegress.Sequence) string {
	switch s.SelectionGaps {
	case 0:
		return "not for the recorder, or lost"
	case s.UnexplainedGaps:
		return "not for the recorder, excluded from recording, or lost"
	}
	return fmt.Sprintf("not for the recorder, or lost; %d of them perhaps excluded from "+
		"recording",
		s.SelectionGaps)
}

// atMost qualifies figures that late packets may have reduced.
func atMost(s textegress.Sequence) string {
	if s.Unjudged > 0 {
		return "at most "
	}
	return ""
}

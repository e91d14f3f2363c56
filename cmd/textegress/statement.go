package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/syncflow/textegress"
)

// maxShown is how many connections, outages and streams the text output shows; --json shows all.
const maxShown = 40

// printStatement writes a completeness statement as text. Each sentence states what
// docs/GUARANTEES.md proves, and no more.
func printStatement(w io.Writer, c textegress.Completeness, merged []textegress.MergedRecording) {
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	line("")
	for _, m := range merged {
		line("Merged from %s (instance %s, %s): %d packets, %d of them only in this recording.",
			escape(m.EgressID), escape(m.Instance), escape(string(m.Status)), m.Packets, m.Only)
	}
	line("%s", joined(c.Join))
	printOutages(line, c)
	printClockSteps(line, c)
	printNotRead(line, c)
	if c.Tail == textegress.TailLeft {
		line("The recorder left on its own; packets sent later were not to be recorded.")
	} else {
		line("Tail unproved: packets sent shortly before the end may be missing without a " +
			"trace.")
	}
	if n := c.Streams.Complete + c.Streams.Incomplete; n > 0 {
		line("Streams: %d, %d of them proved complete (every chunk, and the sender's numbers or "+
			"the length), %d not.", n, c.Streams.Complete, c.Streams.Incomplete)
	}
	if c.PossibleDuplicates > 0 {
		line("%d packets may be recorded twice; they are marked possible_duplicate.",
			c.PossibleDuplicates)
	}
	line("")
	line("Connections: %d", len(c.Connections))
	for i, conn := range c.Connections {
		if i == maxShown {
			line("  … and %d more (--json)", len(c.Connections)-i)
			break
		}
		line("  %s: %s", who(conn), account(conn))
	}
	if o := c.ConnectionsOmitted; o != nil {
		line("  %d packets of further connections are recorded but not accounted for "+
			"individually; nothing is claimed about them.", o.Packets)
	}
}

// joined states when the record starts, and how much of the session may have preceded it. The time
// of the announcement is that of the recorder's clock, the time of the room that of the server's
// clock, often in whole seconds.
func joined(j textegress.Join) string {
	if j.JoinedUnixNS == 0 {
		return "The recorder was never in the room."
	}
	var since []string
	if d := time.Duration(j.JoinedUnixNS - j.AnnouncedUnixNS); j.AnnouncedUnixNS != 0 && d > 0 {
		since = append(since, spoken(d)+" after the session was announced")
	}
	if d := time.Duration(j.JoinedUnixNS - j.RoomCreatedUnixMS*1e6); j.RoomCreatedUnixMS != 0 &&
		d >= time.Second {
		since = append(since, spoken(d.Round(time.Second))+" after the room was created (by the "+
			"server's clock)")
	}
	text := "The recorder joined the room at " + clock(j.JoinedUnixNS)
	if len(since) > 0 {
		text += ", " + strings.Join(since, " and ")
	}
	return text + ". What was sent before is not recorded."
}

// spoken formats a duration for text output: to the second if it lasts minutes.
func spoken(d time.Duration) string {
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

func printOutages(line func(string, ...any), c textegress.Completeness) {
	if len(c.Outages) == 0 {
		if c.Join.JoinedUnixNS == 0 {
			line("No outage is known.")
		} else {
			line("No outage is known after the join.")
		}
		return
	}
	line("Outages, during which anything may have been missed: %d", len(c.Outages))
	for i, o := range c.Outages {
		if i == maxShown {
			line("  … and %d more (--json)", len(c.Outages)-i)
			return
		}
		whole, holes, silent := 0, 0, 0
		for _, n := range o.Connections {
			switch {
			case n.FirstAfter == 0:
				silent++
			case n.LastBefore+1 == n.FirstAfter:
				whole++
			default:
				holes++
			}
		}
		line("  %d. %s, from %s %s. Connections that had sent numbered packets: %d continued "+
			"without a missing number, %d with missing numbers, %d sent nothing more.",
			i+1, escape(o.Cause), clock(o.StartedUnixNS), lasted(c, o), whole, holes, silent)
	}
}

func printNotRead(line func(string, ...any), c textegress.Completeness) {
	if c.Suspect {
		line("Suspect: the disk failed to make part of the recording durable.")
	}
	if c.CorruptRanges > 0 {
		line("Damaged: %d ranges of the segments (%d bytes) cannot be read; at least %d frames "+
			"are lost with them.", c.CorruptRanges, c.CorruptBytes, c.FramesMissing)
	}
	if c.UndecodablePackets > 0 {
		line("%d packets could not be decoded; their bytes are in the raw segments.",
			c.UndecodablePackets)
	}
	if c.UndecryptablePackets > 0 {
		line("%d packets are encrypted; their bytes are in the raw segments.",
			c.UndecryptablePackets)
	}
}

func who(c textegress.Connection) string {
	switch {
	case c.ParticipantSID == "" && c.Identity == "":
		return "no sender (sent through the server's API)"
	case c.ParticipantSID == "":
		return escape(c.Identity) + " (no sid)"
	case c.Identity == "":
		return "unnamed (" + escape(c.ParticipantSID) + ")"
	}
	return escape(c.Identity) + " (" + escape(c.ParticipantSID) + ")"
}

// account describes one connection.
func account(c textegress.Connection) string {
	if c.Packets == 0 {
		return "no packet"
	}
	parts := []string{fmt.Sprintf("%d packets", c.Packets)}
	if s := c.Sequence; s != nil {
		parts = append(parts, sequence(*s))
	}
	if n := c.Lossy + c.Unsequenced + c.DataTrack; n > 0 {
		parts = append(parts, fmt.Sprintf("%d lossy or unnumbered, about which nothing can be "+
			"proved", n))
	}
	if n := c.StreamsComplete + c.StreamsIncomplete; n > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d streams proved complete", c.StreamsComplete, n))
	}
	if c.Undecodable > 0 {
		parts = append(parts, fmt.Sprintf("%d undecodable", c.Undecodable))
	}
	if c.Undecryptable > 0 {
		parts = append(parts, fmt.Sprintf("%d encrypted", c.Undecryptable))
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
		fmt.Fprintf(&b, " with %d gaps (%s%d numbers)", s.GapCount, atMost(s), s.MissingNumbers)
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
		fmt.Fprintf(&b, ", %d duplicates", s.Duplicates)
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

func clock(unixNS int64) string {
	return time.Unix(0,
		unixNS).UTC().Format("2006-01-02T15:04:05.000Z")
}

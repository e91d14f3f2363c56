// Package statement puts the completeness statement of a recording into words, for the command
// line, the report and the page. Each sentence states what docs/GUARANTEES.md proves, and no more.
//
// The texts may contain reasons, sids and identities as the server or a participant chose them,
// unescaped. Those of [Phrase], [Sentences] and [Methods] name no participant.
package statement

import (
	"fmt"
	"strings"
	"time"

	"github.com/syncflow/textegress"
)

// MaxListed is how many outages, and how many steps of the clock, [Sentences] describes one by one.
const MaxListed = 20

// Sentences says what was captured and what was not. It names nobody.
func Sentences(m textegress.Manifest) []string {
	c := m.Completeness
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, r := range m.Merged {
		say("Merged from %s (instance %s, %s): %s, %s of them only in that recording.", r.EgressID,
			r.Instance, r.Status, Count(r.Packets, "packet"), Number(r.Only))
	}
	out = append(out, Joined(c.Join))
	out = append(out, ended(m)...)
	out = append(out, Outages(c, MaxListed)...)
	out = append(out, ClockSteps(c, MaxListed)...)
	out = append(out, NotRead(c)...)
	out = append(out, numbers(c)...)
	out = append(out, Streams(c)...)
	if c.PossibleDuplicates > 0 {
		say("%s may be recorded twice; they are marked possible_duplicate.",
			Count(c.PossibleDuplicates, "packet"))
	}
	if c.Join.JoinedUnixNS != 0 {
		out = append(out, Tail(c))
	}
	return append(out, intended(m)...)
}

// Joined states when the record starts, and how much of the session may have preceded it. The time
// of the announcement is that of the recorder's clock, the time of the room that of the server's
// clock, often in whole seconds.
func Joined(j textegress.Join) string {
	if j.JoinedUnixNS == 0 {
		return "The recorder was never in the room."
	}
	var since []string
	if d := time.Duration(j.JoinedUnixNS - j.AnnouncedUnixNS); j.AnnouncedUnixNS != 0 && d > 0 {
		since = append(since, Length(d)+" after the session was announced")
	}
	if d := time.Duration(j.JoinedUnixNS - j.RoomCreatedUnixMS*1e6); j.RoomCreatedUnixMS != 0 &&
		d >= time.Second {
		since = append(since, Length(d.Round(time.Second))+" after the room was created (by the "+
			"server's clock)")
	}
	text := "The recorder joined the room at " + Clock(j.JoinedUnixNS)
	if len(since) > 0 {
		text += ", " + strings.Join(since, " and ")
	}
	return text + ". What was sent before is not recorded."
}

// ended states why and when the recording ended.
func ended(m textegress.Manifest) []string {
	if m.Status == textegress.StatusActive {
		return []string{"The recording has not ended; this describes what there is so far."}
	}
	text, ok := End(m.Reason)
	if !ok {
		return nil
	}
	if m.EndedUnixNS == 0 {
		return []string{"It ended because " + text + "."}
	}
	return []string{"It ended at " + Clock(m.EndedUnixNS) + " because " + text + "."}
}

// Outages states each outage, at most limit of them.
func Outages(c textegress.Completeness, limit int) []string {
	if len(c.Outages) == 0 {
		if c.Join.JoinedUnixNS == 0 {
			return []string{"No outage is known."}
		}
		return []string{"No outage is known after the join."}
	}
	var out []string
	for i, o := range c.Outages {
		if i == limit {
			out = append(out, fmt.Sprintf("There were %s more.",
				Count(int64(len(c.Outages)-i), "outage")))
			break
		}
		out = append(out, fmt.Sprintf("Outage %d: from %s %s the recorder was not connected, and "+
			"anything sent meanwhile may be missing. Cause: %s.%s", i+1, Clock(o.StartedUnixNS),
			lasted(c, o), Cause(o.Cause), neighbours(o)))
	}
	return out
}

// lasted returns the length of an outage in words.
func lasted(c textegress.Completeness, o textegress.Outage) string {
	if o.EndedUnixNS == 0 {
		return "to the end of the recording"
	}
	d, ok := Lasted(c, o)
	if !ok {
		return "for an unknown time (the clock was set)"
	}
	return "for " + Length(d)
}

// neighbours states what the numbers next to an outage show.
func neighbours(o textegress.Outage) string {
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
	n := whole + holes + silent
	if n == 0 {
		return ""
	}
	more := ""
	if o.ConnectionsOmitted > 0 {
		more = fmt.Sprintf(" (%s more are not accounted for)", Number(o.ConnectionsOmitted))
	}
	var parts []string
	if whole > 0 {
		parts = append(parts, fmt.Sprintf("%d continued without a missing number", whole))
	}
	if holes > 0 {
		parts = append(parts, fmt.Sprintf("%d with missing numbers", holes))
	}
	if silent > 0 {
		parts = append(parts, fmt.Sprintf("%d sent nothing more", silent))
	}
	return fmt.Sprintf(" Of the %s that had sent numbered packets%s, %s.", Count(n, "connection"),
		more, list(parts))
}

// list joins parts of a sentence.
func list(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	last := len(parts) - 1
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}

// ClockSteps states when the recorder's clock was set, at most limit times.
func ClockSteps(c textegress.Completeness, limit int) []string {
	if len(c.ClockSteps) == 0 {
		return nil
	}
	total := int64(len(c.ClockSteps)) + c.ClockStepsOmitted
	out := []string{fmt.Sprintf("Steps of the recorder's clock: %d. Times before a step are not "+
		"comparable with times after it.", total)}
	for i, s := range c.ClockSteps {
		if i == limit {
			return append(out, fmt.Sprintf("There were %s more.", Count(total-int64(i), "step")))
		}
		direction, by := "forward", time.Duration(s.OffsetNS)
		if by < 0 {
			direction, by = "back", -by
		}
		least := ""
		if s.AtLeast {
			least = "at least "
		}
		whose := ""
		if s.EgressID != "" {
			whose = " (" + s.EgressID + ")"
		}
		out = append(out, fmt.Sprintf("Step %d: %s by %s%s: %s was followed by %s%s.", i+1,
			direction, least, Length(by), Clock(s.BeforeUnixNS), Clock(s.AfterUnixNS), whose))
	}
	return out
}

// NotRead states what was received but cannot be read.
func NotRead(c textegress.Completeness) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if c.Suspect {
		say("Suspect: the disk failed to make part of the recording durable.")
	}
	if c.CorruptRanges > 0 {
		say("Damaged: %s of the segments (%s) cannot be read; at least %s lost with them.",
			Count(c.CorruptRanges, "range"), Bytes(c.CorruptBytes),
			pick(c.FramesMissing, "1 frame is", Number(c.FramesMissing)+" frames are"))
	}
	if n := c.UndecodablePackets; n > 0 {
		say("%s could not be decoded; what was received is kept byte for byte in the recording.",
			Count(n, "packet"))
	}
	if n := c.UndecryptablePackets; n > 0 {
		say("%s could not be decrypted: there was no key, or another one.", Count(n, "packet"))
	}
	return out
}

// numbers sums up what the senders' numbers show.
func numbers(c textegress.Completeness) []string {
	var numbered, contiguous, received, unproved, beforeJoin int64
	var explained, unexplained uint64
	atMost := ""
	for _, conn := range c.Connections {
		unproved += conn.Lossy + conn.Unsequenced + conn.DataTrack
		s := conn.Sequence
		if s == nil {
			continue
		}
		numbered++
		received += s.Received
		if s.Contiguous {
			contiguous++
		}
		unexplained += s.UnexplainedNumbers
		explained += s.MissingNumbers - min(s.UnexplainedNumbers, s.MissingNumbers)
		if s.BeforeFirst != nil && s.BeforeFirst.BeforeJoin {
			beforeJoin++
		}
		if s.Unjudged > 0 {
			atMost = "at most "
		}
	}
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case numbered == 0:
	case contiguous == numbered:
		say("Senders number their reliable packets. Of %s with %s, every number from the first to "+
			"the last that was received is there: nothing numbered is missing between them.",
			Count(numbered, "connection"), Count(received, "numbered packet"))
	default:
		say("Senders number their reliable packets. Of %s with %s, %d %s every number from the "+
			"first to the last that was received, and the others lack %s%s.",
			Count(numbered, "connection"), Count(received, "numbered packet"), contiguous,
			pick(contiguous, "has", "have"), atMost, Count(explained+unexplained, "number"))
		if explained > 0 {
			say("%s of these lie across an outage or a damaged range, and may have been lost "+
				"there.", Number(explained))
		}
		if unexplained > 0 {
			say("%s of these are unexplained: the usual reason is that the packets were addressed "+
				"to others, so that the server did not forward them to the recorder. That none "+
				"was lost is not claimed.", Number(unexplained))
		}
	}
	if beforeJoin > 0 {
		say("%s had sent up to %s before the recorder joined.", Count(beforeJoin, "connection"),
			Count(numbersBeforeJoin(c), "numbered packet"))
	}
	if unproved > 0 {
		say("%s came without a number (lossy channel, data tracks, server API). Whether others "+
			"were sent cannot be proved.", Count(unproved, "packet"))
	}
	if o := c.ConnectionsOmitted; o != nil {
		say("%s of further connections are recorded but not accounted for individually; nothing "+
			"is claimed about them.", Count(o.Packets, "packet"))
	}
	return out
}

// Streams states how many streams are proved to be complete.
func Streams(c textegress.Completeness) []string {
	n := c.Streams.Complete + c.Streams.Incomplete
	switch {
	case n == 0:
		return nil
	case c.Streams.Incomplete == 0:
		return []string{fmt.Sprintf("Text and byte streams: %s, all proved complete (every chunk, "+
			"and the sender's numbers or the length).", Number(n))}
	}
	return []string{fmt.Sprintf("Text and byte streams: %s, %s of them proved complete (every "+
		"chunk, and the sender's numbers or the length), %s not.", Number(n),
		Number(c.Streams.Complete), Number(c.Streams.Incomplete))}
}

// Tail states what is known about what was sent last.
func Tail(c textegress.Completeness) string {
	if c.Tail == textegress.TailLeft {
		return "The recorder left on its own; packets sent later were not to be recorded."
	}
	return "Tail unproved: packets sent shortly before the end may be missing without a trace."
}

// intended states what was not to be recorded or delivered.
func intended(m textegress.Manifest) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if s := m.Selection; s != nil {
		packets := int64(0)
		for _, d := range s.Dropped {
			packets += d.Packets
		}
		least := ""
		if s.AtLeast {
			least = "at least "
		}
		say("By intention not recorded: %s%s. Lists of topics or participants, or participants' "+
			"own wishes, were in force.", least, Count(packets, "packet"))
	}
	if f := m.Forgotten; f != nil {
		say("Participants were removed from this recording afterwards; %s of kind forgotten "+
			"replace what they sent.", Count(f.Lines, "line"))
	}
	if m.Pseudonyms {
		say("Identities are replaced by pseudonyms. Left out: %s. What people wrote was not "+
			"searched for names.", strings.Join(m.LeftOut, "; "))
	}
	return out
}

package torture

import (
	"fmt"

	"github.com/syncflow/textegress"
)

// Part is one delivered recording: its statement and its transcript.
type Part struct {
	Completeness textegress.Completeness
	Lines        []textegress.Message
}

// Claims checks what the manifests of one recorder's parts of a session claim about each connection
// against what was sent, and returns what is not true. The oracle's senders send nothing that the
// recorder does not get, so every gap must have been explained, "contiguous" must be so, and a tail
// must not be called complete behind which something is missing.
func Claims(sent []Sent, parts []Part) []string {
	var wrong []string
	stays := staysOf(sent, parts)
	lastPart := map[string]int{}
	for i, p := range parts {
		for _, c := range p.Completeness.Connections {
			lastPart[c.ParticipantSID] = i
		}
	}
	for i, p := range parts {
		numbers := map[string]map[uint32]bool{}
		for _, m := range p.Lines {
			if !m.Kind.IsEvent() && m.Sequence > 0 {
				if numbers[m.ParticipantSID] == nil {
					numbers[m.ParticipantSID] = map[uint32]bool{}
				}
				numbers[m.ParticipantSID][m.Sequence] = true
			}
		}
		for _, c := range p.Completeness.Connections {
			say := func(format string, args ...any) {
				wrong = append(wrong, fmt.Sprintf("part %d, connection %s of %s: ", i+1,
					c.ParticipantSID, c.Identity)+fmt.Sprintf(format, args...))
			}
			q := c.Sequence
			if q == nil && c.Packets == 0 && len(numbers[c.ParticipantSID]) == 0 {
				continue // it came, and nothing it sent was received: nothing is claimed
			}
			if q == nil || q.Received != int64(len(numbers[c.ParticipantSID])) {
				say("the account of its numbers is %+v, the transcript has %d", q,
					len(numbers[c.ParticipantSID]))
				continue
			}
			if q.UnexplainedNumbers > 0 || q.Duplicates+q.Reordered+q.Unjudged > 0 ||
				q.BeforeFirst != nil && !q.BeforeFirst.Explained {
				say("something is not explained: %+v", *q)
			}
			for n := q.First; q.Contiguous && n <= q.Last; n++ {
				if !numbers[c.ParticipantSID][n] {
					say("contiguous from %d to %d, and %d is not there", q.First, q.Last, n)
				}
			}
			s, ok := stays[c.ParticipantSID]
			if !ok {
				say("nobody had this connection")
				continue
			}
			if after := s.sureAfter(q.Last); after > 0 && c.Tail != textegress.TailUnproved &&
				lastPart[c.ParticipantSID] == i {
				say("%d messages after number %d are missing, and its tail is called %q", after,
					q.Last, c.Tail)
			}
		}
	}
	return wrong
}

// stay is what a sender sent over one connection; LiveKit's numbers are 1, 2, 3 … of these.
type stay struct {
	sure []bool // whether it is known to have been sent
}

// sureAfter counts what was surely sent after a number.
func (s stay) sureAfter(last uint32) int {
	n := 0
	for i := int(last); i < len(s.sure); i++ {
		if s.sure[i] {
			n++
		}
	}
	return n
}

// staysOf finds, by what was recorded of them, the connections of the senders.
func staysOf(sent []Sent, parts []Part) map[string]stay {
	var lines []textegress.Message
	for _, p := range parts {
		lines = append(lines, p.Lines...)
	}
	out := map[string]stay{}
	for _, s := range sent {
		byConn := map[int]stay{}
		for _, m := range s.Messages {
			x := byConn[m.Conn]
			x.sure = append(x.sure, !s.Unsure[m.N])
			byConn[m.Conn] = x
		}
		d, at := locate(s, lines)
		for n, i := range d.At {
			out[lines[at[i]].ParticipantSID] = byConn[s.Messages[n-1].Conn]
		}
	}
	return out
}

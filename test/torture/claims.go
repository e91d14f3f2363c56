package torture

import (
	"fmt"

	"github.com/syncflow/textegress"
)

// Part is one delivered recording: its manifest and its lines.
type Part struct {
	Completeness textegress.Completeness
	Lines        []textegress.Message
}

// Claims checks the statements about each connection in the manifests of one recorder's parts of a
// session against what was sent, and returns the false ones. The oracle's senders send only packets
// that the recorder receives too. So every gap must be explained, "contiguous" must be true, and a
// tail after which something is missing must not be called complete.
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
				continue // it joined, but nothing it sent was received, so there is no claim
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

// stay holds the messages that a sender sent over one connection, which LiveKit numbers 1, 2, 3 ….
type stay struct {
	sure []bool // whether each is known to have been sent
}

// sureAfter counts the messages known to have been sent after a number.
func (s stay) sureAfter(last uint32) int {
	n := 0
	for i := int(last); i < len(s.sure); i++ {
		if s.sure[i] {
			n++
		}
	}
	return n
}

// staysOf determines the connections of the senders from the recorded messages.
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

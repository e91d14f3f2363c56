package torture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
)

// Sent holds the messages that one sender passed to LiveKit, all over the reliable channel.
type Sent struct {
	Identity string
	Messages []classroom.Message
	// Unsure holds the numbers of messages that may not have reached LiveKit: the sender's
	// connection broke before its buffer had drained and two more seconds had passed.
	Unsure map[int]bool
	// Early is the last number that may have been sent before the recorder first joined the room.
	Early int
	// Burst is the first number of a burst sent just before the room was deleted; 0: no burst.
	Burst int
}

// Verdict accounts for the messages of senders. Each message is counted in exactly one of the first
// five fields.
type Verdict struct {
	Sent     int
	Recorded int
	// Stated counts missing messages that the record states as possibly missed.
	Stated int
	// Unsent counts missing messages that may not have been sent.
	Unsent int
	// Unaccounted counts missing messages that the record does not account for.
	Unaccounted int

	// Wrong describes the errors of the record, one line each.
	Wrong []string
}

func (v *Verdict) add(o Verdict) {
	v.Sent, v.Recorded, v.Stated, v.Unsent = v.Sent+o.Sent, v.Recorded+o.Recorded,
		v.Stated+o.Stated, v.Unsent+o.Unsent
	v.Unaccounted += o.Unaccounted
	v.Wrong = append(v.Wrong, o.Wrong...)
}

func (v *Verdict) wrong(format string, args ...any) {
	v.Wrong = append(v.Wrong, fmt.Sprintf(format, args...))
}

func (v Verdict) String() string {
	return fmt.Sprintf("%d sent, %d recorded, %d stated as possibly missed, %d not known to have "+
		"been sent, %d unaccounted for",
		v.Sent, v.Recorded, v.Stated, v.Unsent, v.Unaccounted)
}

// Judge compares what the senders of one session sent with its record: the lines of all parts by
// one recorder, in order. tailUnproved is the last part's statement about its end.
//
// A sender's missing numbers form runs. A run is excused by an entry in the record between the last
// message before the run and the first one after it: an outage that started and ended there (or did
// not end), or, for the first run, the join. A run at the very end, after a burst, is excused by
// the statement that the tail is unproved. Times are not used.
func Judge(sent []Sent, lines []textegress.Message, tailUnproved bool) Verdict {
	var all Verdict
	outages := outagesOf(lines)
	known := map[string]bool{}
	for _, s := range sent {
		known[s.Identity] = true
		all.add(judge(s, lines, outages, tailUnproved))
	}
	for _, m := range lines {
		if !m.Kind.IsEvent() && !known[m.Identity] {
			all.wrong("line %d is a %s message of somebody who sent none", m.N, m.Kind)
		}
	}
	return all
}

// outage is an interval of positions in the record: start states the outage, end the rejoin.
type outage struct{ start, end int }

func outagesOf(lines []textegress.Message) []outage {
	var out []outage
	open := false
	for i, m := range lines {
		switch {
		case m.Kind == textegress.KindOutageStarted && !open:
			out, open = append(out, outage{i, len(lines)}), true
		case m.Kind == textegress.KindJoined && open:
			out[len(out)-1].end, open = i, false
		}
	}
	return out
}

func judge(s Sent, lines []textegress.Message, outages []outage, tailUnproved bool) Verdict {
	v := Verdict{Sent: len(s.Messages)}
	d, at := locate(s, lines)
	v.Recorded = len(d.At)
	for _, i := range d.Surplus {
		v.wrong("%s: line %d is recorded twice, or was never sent", s.Identity, lines[at[i]].N)
	}
	for _, i := range d.DisorderReliable {
		v.wrong("%s: line %d is out of order", s.Identity, lines[at[i]].N)
	}
	for _, r := range runs(d.MissingReliable) {
		before, after := -1, len(lines)
		if i, ok := d.At[r.first-1]; ok {
			before = at[i]
		}
		if i, ok := d.At[r.last+1]; ok {
			after = at[i]
		}
		v.excuse(s, r, excuses{
			outage: slices.ContainsFunc(outages, func(o outage) bool {
				return before < o.start &&
					o.end <= after
			}),
			tail: r.last == len(s.Messages) && tailUnproved,
		}, before, after)
	}
	return v
}

// locate compares a sender's messages with a record. at maps each position among the sender's
// recorded messages to the position of the line.
func locate(s Sent, lines []textegress.Message) (d classroom.Difference, at []int) {
	var got []classroom.Received
	for i, m := range lines {
		if m.Kind.IsEvent() || m.Identity != s.Identity {
			continue
		}
		got = append(got, classroom.Received{
			Topic: m.Topic, Payload: m.Payload(),
			Reliable: m.Reliable == nil || *m.Reliable,
		})
		at = append(at, i)
	}
	return classroom.Compare(s.Messages, got), at
}

type excuses struct{ outage, tail bool }

// excuse counts each number of a run in the verdict.
func (v *Verdict) excuse(s Sent, r run, e excuses, before, after int) {
	var unaccounted []string
	for n := r.first; n <= r.last; n++ {
		switch {
		case e.outage, r.first == 1 && n <= s.Early, e.tail && s.Burst > 0 && n >= s.Burst:
			v.Stated++
		case s.Unsure[n]:
			v.Unsent++
		default:
			v.Unaccounted++
			unaccounted = append(unaccounted, fmt.Sprint(n))
		}
	}
	if len(unaccounted) > 0 {
		v.wrong("%s: nothing accounts for the numbers %s of %d (between lines %d and %d)",
			s.Identity, strings.Join(unaccounted, " "), len(s.Messages), before+1, after+1)
	}
}

type run struct{ first, last int }

// runs joins ascending numbers to runs without gaps.
func runs(numbers []int) []run {
	var out []run
	for _, n := range numbers {
		if k := len(out) - 1; k >= 0 && out[k].last == n-1 {
			out[k].last = n
			continue
		}
		out = append(out, run{n, n})
	}
	return out
}

// Union accounts for a sender's messages in the records of two recorders of one session: those that
// both missed, and each record's statement about them. A message that both missed must be stated by
// both.
func Union(sent []Sent, a, b []textegress.Message, tailUnproved bool) Verdict {
	var all Verdict
	oa, ob := outagesOf(a), outagesOf(b)
	for _, s := range sent {
		ga, gb := recorded(s, a), recorded(s, b)
		both := s
		both.Messages = nil
		missed := map[int]bool{}
		for _, m := range s.Messages {
			if !ga[m.N] && !gb[m.N] {
				missed[m.N] = true
				both.Messages = append(both.Messages, m)
			}
		}
		v := Verdict{Sent: len(s.Messages), Recorded: len(s.Messages) - len(missed)}
		if len(missed) > 0 {
			// Each record must account for it separately.
			ja, jb := judge(s, a, oa, tailUnproved), judge(s, b, ob, tailUnproved)
			if ja.Unaccounted+jb.Unaccounted > 0 {
				v.Unaccounted = len(missed)
				v.wrong("%s: both recorders miss %d messages and do not both say so", s.Identity,
					len(missed))
			} else {
				v.Stated = len(missed)
			}
		}
		all.add(v)
	}
	return all
}

// recorded returns the numbers of a sender's messages in a record.
func recorded(s Sent, lines []textegress.Message) map[int]bool {
	d, _ := locate(s, lines)
	out := map[int]bool{}
	for n := range d.At {
		out[n] = true
	}
	return out
}

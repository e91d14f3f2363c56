package torture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
)

// Sent is what one sender handed to LiveKit, all of it over the reliable channel.
type Sent struct {
	Identity string
	Messages []classroom.Message
	// Unsure are numbers of which nobody knows whether they reached LiveKit: the sender's
	// connection broke before its buffer had drained and two more seconds had passed.
	Unsure map[int]bool
	// Early: the numbers up to this one may have been sent before the recorder was in the room for
	// the first time.
	Early int
	// Burst: the numbers from this one on were sent just before the room was deleted. 0: none were.
	Burst int
}

// Verdict accounts for the messages of senders. Every message is in exactly one of the first five.
type Verdict struct {
	Sent     int
	Recorded int
	// Stated are missing, and the record says that they may be.
	Stated int
	// Unsent are missing, and it is not known that they were sent.
	Unsent int
	// Unaccounted are missing, and nothing says so.
	Unaccounted int

	// Wrong says in words what is wrong with the record: one line for everything that must not be.
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

// Judge compares what the senders of one session sent with its record: the lines of all its parts,
// one after the other, as one recorder wrote them. tailUnproved is what the last part says about
// its end.
//
// A sender's missing numbers form runs. What excuses a run is in the record between the last
// message before it and the first one after it: an outage that began and ended there (or did not
// end), or, for the first run, the join. A run at the very end after a burst is excused by the
// statement that the tail is unproved. Time plays no part in it.
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

// outage is an interval of positions in the record: it was stated at start, and the room joined
// again at end.
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

// locate compares a sender's messages with a record. at has, for each position among that sender's
// messages in the record, the position of the line.
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

// excuse decides for each number of a run.
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

// runs joins ascending numbers to runs without a hole.
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

// Union is what a sender's messages look like to two recorders of one session together: those that
// both missed, and what each says about it. Together nothing may be missing that one of them does
// not state.
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
			// Both records must account for it, each by itself.
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

// recorded are the numbers of a sender that are in a record.
func recorded(s Sent, lines []textegress.Message) map[int]bool {
	d, _ := locate(s, lines)
	out := map[int]bool{}
	for n := range d.At {
		out[n] = true
	}
	return out
}

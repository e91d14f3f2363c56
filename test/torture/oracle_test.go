package torture

import (
	"fmt"
	"strings"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
)

// record reads a record from a line of words: a number is a message of "a" with this number, j
// joined, ( an outage that began.
func record(words string) []textegress.Message {
	var out []textegress.Message
	for i, w := range strings.Fields(words) {
		m := textegress.Message{N: int64(i + 1)}
		switch w {
		case "j":
			m.Kind = textegress.KindJoined
		case "(":
			m.Kind = textegress.KindOutageStarted
		case "end":
			m.Kind = textegress.KindRecordingEnded
		case "stranger":
			m.Kind, m.Identity = textegress.KindData, "b"
		default:
			m.Kind, m.Identity, m.Text = textegress.KindData, "a", &w
		}
		out = append(out, m)
	}
	return out
}

func sentUpTo(n int) Sent {
	s := Sent{Identity: "a"}
	for i := 1; i <= n; i++ {
		s.Messages = append(s.Messages, classroom.Message{
			N: i, Payload: fmt.Append(nil, i),
			Reliable: true,
		})
	}
	return s
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name, record                          string
		change                                func(*Sent)
		unproved                              bool
		recorded, stated, unsent, unaccounted int
		wrong                                 int
	}{
		{name: "all there", record: "j 1 2 3 4 5 6 end", recorded: 6},
		{
			name: "a hole without an outage", record: "j 1 2 5 6 end", recorded: 4, unaccounted: 2,
			wrong: 1,
		},
		{name: "a hole across an outage", record: "j 1 2 ( j 5 6 end", recorded: 4, stated: 2},
		{
			name: "the outage lies elsewhere", record: "j 1 ( j 2 5 6 end", recorded: 4,
			unaccounted: 2, wrong: 1,
		},
		{
			name: "a message inside the outage's place ends the run", record: "j 1 ( 2 j 5 6 end",
			recorded: 4, unaccounted: 2, wrong: 1,
		},
		{name: "two outages", record: "j 1 ( j 3 ( j 6 end", recorded: 3, stated: 3},
		{
			name: "one of two outages is not stated", record: "j 1 ( j 3 6 end", recorded: 3,
			stated: 1, unaccounted: 2, wrong: 1,
		},
		{name: "an outage without end", record: "j 1 2 ( end", recorded: 2, stated: 4},
		{name: "the end is missing", record: "j 1 2 end", recorded: 2, unaccounted: 4, wrong: 1},
		{
			name: "a tail that is unproved excuses only a burst", record: "j 1 2 end",
			unproved: true,
			recorded: 2, unaccounted: 4, wrong: 1,
		},
		{
			name: "a burst", record: "j 1 2 end", change: func(s *Sent) { s.Burst = 3 },
			unproved: true, recorded: 2, stated: 4,
		},
		{
			name: "a burst does not excuse what came before it", record: "j 1 2 end",
			change: func(s *Sent) { s.Burst = 4 }, unproved: true, recorded: 2, stated: 3,
			unaccounted: 1, wrong: 1,
		},
		{
			name: "a burst of which the record claims all", record: "j 1 2 end",
			change: func(s *Sent) { s.Burst = 3 }, recorded: 2, unaccounted: 4, wrong: 1,
		},
		{
			name: "a hole in a burst", record: "j 1 3 4 5 6 end",
			change: func(s *Sent) { s.Burst = 1 }, unproved: true, recorded: 5, unaccounted: 1,
			wrong: 1,
		},
		{
			name: "before the join", record: "j 3 4 5 6 end", change: func(s *Sent) { s.Early = 2 },
			recorded: 4, stated: 2,
		},
		{
			name: "after the join", record: "j 4 5 6 end", change: func(s *Sent) { s.Early = 2 },
			recorded: 3, stated: 2, unaccounted: 1, wrong: 1,
		},
		{
			name: "not known to have been sent", record: "j 1 2 5 6 end",
			change: func(s *Sent) { s.Unsure = map[int]bool{3: true, 4: true} }, recorded: 4,
			unsent: 2,
		},
		{name: "twice", record: "j 1 2 2 3 4 5 6 end", recorded: 6, wrong: 1},
		{name: "never sent", record: "j 1 2 3 4 5 6 7 end", recorded: 6, wrong: 1},
		{name: "out of order", record: "j 1 3 2 4 5 6 end", recorded: 6, wrong: 1},
		{name: "a stranger", record: "j 1 2 3 stranger 4 5 6 end", recorded: 6, wrong: 1},
		{name: "nothing at all", record: "", unaccounted: 6, wrong: 1},
	} {
		s := sentUpTo(6)
		if c.change != nil {
			c.change(&s)
		}
		v := Judge([]Sent{s}, record(c.record), c.unproved)
		want := Verdict{
			Sent: 6, Recorded: c.recorded, Stated: c.stated, Unsent: c.unsent,
			Unaccounted: c.unaccounted,
		}
		if v.String() != want.String() || len(v.Wrong) != c.wrong {
			t.Errorf("%s: %s: %v; want %s", c.name, v, v.Wrong, want)
		}
		if v.Recorded+v.Stated+v.Unsent+v.Unaccounted != v.Sent {
			t.Errorf("%s: the account does not add up: %s", c.name, v)
		}
	}
}

func TestUnion(t *testing.T) {
	for _, c := range []struct {
		name, a, b          string
		stated, unaccounted int
	}{
		{name: "one has all", a: "j 1 2 3 4 5 6 end", b: "j 1 ( j 6 end"},
		{name: "each has what the other misses", a: "j 1 ( j 4 5 6 end", b: "j 1 2 3 ( j 6 end"},
		{
			name: "both miss some, and both say so", a: "j 1 ( j 4 5 6 end", b: "j 1 2 ( j 5 6 end",
			stated: 1,
		},
		{
			name: "both miss some, and one says so", a: "j 1 ( j 4 5 6 end", b: "j 1 2 5 6 end",
			unaccounted: 1,
		},
	} {
		v := Union([]Sent{sentUpTo(6)}, record(c.a), record(c.b), false)
		if v.Sent != 6 || v.Stated != c.stated || v.Unaccounted != c.unaccounted ||
			v.Recorded != 6-c.stated-c.unaccounted {
			t.Errorf("%s: %s: %v", c.name, v, v.Wrong)
		}
	}
}

func TestClaims(t *testing.T) {
	// Two connections: 1 to 4 and 5 to 6, so the numbers are 1 2 3 4 and 1 2.
	s := sentUpTo(6)
	for i := range s.Messages {
		s.Messages[i].Conn = 1 + i/4
	}
	lines := record("j 1 2 ( j 4 5 end")
	for i := range lines {
		switch m := &lines[i]; {
		case m.Text == nil:
		case *m.Text == "5":
			m.ParticipantSID, m.Sequence = "PA_2", 1
		default:
			m.ParticipantSID, m.Sequence = "PA_1", uint32((*m.Text)[0]-'0')
		}
	}
	statement := func() textegress.Completeness {
		return textegress.Completeness{Connections: []textegress.Connection{
			{ParticipantSID: "PA_1", Sequence: &textegress.Sequence{
				First: 1, Last: 4, Received: 3,
				GapCount: 1, MissingNumbers: 1,
			}, Tail: "left"},
			{ParticipantSID: "PA_2", Sequence: &textegress.Sequence{
				First: 1, Last: 1, Received: 1,
				Contiguous: true,
			}, Tail: "unproved"},
		}}
	}
	for _, c := range []struct {
		name  string
		spoil func(a, b *textegress.Connection)
		wrong int
	}{
		{"true", func(_, _ *textegress.Connection) {}, 0},
		{
			"a gap called contiguous",
			func(a, _ *textegress.Connection) { a.Sequence.Contiguous = true }, 1,
		},
		{
			"a gap that is not explained",
			func(a, _ *textegress.Connection) { a.Sequence.UnexplainedNumbers = 1 }, 1,
		},
		{
			"a beginning that is not explained",
			func(a, _ *textegress.Connection) { a.Sequence.BeforeFirst = &textegress.Gap{} }, 1,
		},
		{"a wrong count", func(a, _ *textegress.Connection) { a.Sequence.Received = 4 }, 1},
		{"nothing received", func(a, _ *textegress.Connection) {
			*a = textegress.Connection{ParticipantSID: "PA_9", Tail: "left"}
		}, 0},
		{"no account", func(a, _ *textegress.Connection) { a.Sequence = nil }, 1},
		{"a tail called proved", func(_, b *textegress.Connection) { b.Tail = "left" }, 1},
		{"nobody's connection", func(a, _ *textegress.Connection) {
			a.ParticipantSID,
				a.Sequence.Received = "PA_3", 0
		}, 1},
	} {
		m := statement()
		c.spoil(&m.Connections[0], &m.Connections[1])
		if wrong := Claims([]Sent{s}, []Part{{m, lines}}); len(wrong) != c.wrong {
			t.Errorf("%s: %q", c.name, wrong)
		}
	}
}

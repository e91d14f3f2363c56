package page

import (
	"cmp"
	"slices"
	"time"

	"github.com/syncflow/textegress/internal/overview"
)

// How many people a card lists before the reader asks for the rest. Those who need attention are
// always listed.
const (
	peopleOfOne  = 60 // the only session
	peopleOfFew  = 12 // of up to three
	peopleOfMany = 5
)

// card is a session as the page shows it.
type card struct {
	overview.Session

	Pill  pill
	At    time.Time
	Read  bool
	Act   bool
	Whole bool // all people are listed
	// Running: it is being recorded.
	Running bool
	Lag     string // how much is not durable
	LagSign string
	Tally   []tally
	Rows    []row
	Hidden  int  // people that are not listed
	Alone   bool // on a page of its own
	Percent int64
}

// tally is how many people are in a state.
type tally struct{ Sign, Text string }

// row is one person.
type row struct {
	ID    string
	Class string // the state
	Sign  string
	Who   string
	Title string // the identity, if Who is another name
	Word  string // the state for those who do not see it
	Says  string // instead of numbers
	Left  time.Time
	// Late is when somebody came who was not there at the beginning.
	Late  time.Time
	N     uint64
	Last  time.Time
	Spark string
	Words string // of the spark line
	// Exclude is the identity to exclude, on the page of a running recording.
	Exclude string
	Egress  string
}

func newCard(s overview.Session, at time.Time, r overview.Rights, limit int) card {
	c := card{
		Session: s, Pill: statePill(s), At: at, Read: r.Read, Act: r.Act, Running: running(s),
		Whole: true,
	}
	c.Lag, c.LagSign = lag(s, at)
	if s.Total > 0 {
		c.Percent = s.Delivered * 100 / s.Total
	}
	people := slices.Clone(s.People)
	slices.SortStableFunc(people, func(a, b overview.Person) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(name(a), name(b)))
	})
	c.Tally = tallies(s)
	var most uint32
	for _, p := range people {
		for _, v := range p.Recent {
			most = max(most, v)
		}
	}
	attention := 0
	for attention < len(people) && rank(people[attention]) < rankPresent {
		attention++
	}
	// A list that hides only a few is not worth a click.
	if shown := attention + limit; len(people) > shown+3 {
		c.Hidden, c.Whole, people = len(people)-shown, false, people[:shown]
	}
	for _, p := range people {
		c.Rows = append(c.Rows, newRow(s, p, most))
	}
	return c
}

func name(p overview.Person) string { return cmp.Or(p.Name, p.Identity) }

// lateAfter is how long after the start of a recording somebody came late.
const lateAfter = 5 * time.Minute

// rankPresent is the rank of people with whom all is well.
const rankPresent = 3

// rank orders people: those who need attention first.
func rank(p overview.Person) int {
	switch p.State {
	case overview.PersonAbsent:
		return 0
	case overview.PersonSilent:
		return 1
	case overview.PersonExpected:
		return 2
	case overview.PersonLeft:
		return 4
	}
	if p.Excluded {
		return 5
	}
	return rankPresent
}

func newRow(s overview.Session, p overview.Person, most uint32) row {
	r := row{
		ID: partID("p", s.EgressID, p.Identity), Class: p.State, Who: name(p), N: p.Messages,
		Last: p.LastMessageAt, Exclude: p.Identity, Egress: s.EgressID,
	}
	if p.Name != "" && p.Name != p.Identity {
		r.Title = p.Identity
	}
	switch p.State {
	case overview.PersonAbsent:
		r.Sign, r.Says, r.N = signBad, "expected, not here", 0
		if !p.LeftAt.IsZero() {
			r.Says, r.Left = "expected, left ", p.LeftAt
		}
		r.Exclude = ""
	case overview.PersonExpected:
		r.Sign, r.Says, r.Exclude = signOff, "expected", ""
	case overview.PersonSilent:
		r.Sign, r.Word = signWarn, "silent"
		if p.Messages == 0 {
			r.Last = p.Since // silent since the arrival
		}
	case overview.PersonLeft:
		r.Sign, r.Word, r.Left, r.Exclude = signOff, "", p.LeftAt, ""
	default:
		r.Sign, r.Word = signOK, "here"
		if !s.Since.IsZero() && p.Since.Sub(s.Since) > lateAfter {
			r.Late = p.Since
		}
	}
	if s.State == overview.StateCutOff && r.Word != "" {
		r.Sign, r.Word = signOff, "here before the recorder was cut off"
	}
	if p.Excluded {
		r.Class, r.Sign, r.Word, r.Says = "excluded", signOff, "", "not recorded any more, by request"
		r.Exclude = ""
	}
	if r.Says == "" {
		r.Spark, r.Words = spark(p.Recent, most)
	}
	return r
}

// tallies are the numbers of people by state.
func tallies(s overview.Session) []tally {
	var out []tally
	add := func(sign, text string, n int) {
		if n > 0 {
			out = append(out, tally{sign, number(n) + " " + text})
		}
	}
	if !running(s) {
		return nil
	}
	add(signBad, "missing", s.Absent)
	add(signWarn, "silent", s.Silent)
	if s.State == overview.StateCutOff {
		add(signOff, "here before", s.Count)
	} else if s.Count > 0 || len(out) > 0 || s.State == overview.StateRecording {
		out = append(out, tally{signOK, number(s.Count) + " here"})
	}
	left, expected := 0, 0
	for _, p := range s.People {
		switch p.State {
		case overview.PersonLeft:
			left++
		case overview.PersonExpected:
			expected++
		}
	}
	add(signOff, "expected", expected)
	add(signOff, "left", left)
	return out
}

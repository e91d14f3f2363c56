package completeness

import (
	"slices"
	"sort"

	"github.com/syncflow/textegress"
)

// sequence is the account of one connection's numbers. Gaps are remembered, in ascending order,
// until late packets fill them; of those beyond the limit only sums are known, and where they lie.
type sequence struct {
	first, last, recent uint32 // lowest, highest, and that of the last packet
	received            int64
	beforeFirst         *textegress.Gap // the numbers below first
	gaps                []textegress.Gap

	unlisted, unlistedUnexplained               int64
	unlistedNumbers, unlistedUnexplainedNumbers uint64
	unlistedSelection                           int64
	low, high                                   uint32 // the unlisted gaps lie within

	duplicates, reordered, ambiguous int64
}

// firstNumber takes the first numbered packet of a connection into account.
func (a *Account) firstNumber(c *connection, n uint32, now position) {
	s := c.seq
	s.first, s.last, s.received = n, n, 1
	if n > 1 {
		g := gapAt(1, n-1, c.from, now)
		s.beforeFirst = &g
	}
}

// gapAt describes missing numbers and the place where they would be.
func gapAt(first, last uint32, after, before position) textegress.Gap {
	g := textegress.Gap{
		First: first, Last: last, AfterIndex: after.index, BeforeIndex: before.index,
		Damage: before.damage > after.damage, BeforeJoin: after.beforeJoin,
	}
	if before.outages > after.outages {
		g.FirstOutage, g.LastOutage = after.outages+1, before.outages
	}
	g.Selection = after.rulesActive || before.rulesEpoch > after.rulesEpoch
	g.Explained = g.FirstOutage > 0 || g.Damage || g.BeforeJoin
	return g
}

func numbers(g textegress.Gap) uint64 { return uint64(g.Last) - uint64(g.First) + 1 }

// nextNumber takes a further number into account. before is the place of the numbered packet before it.
func (a *Account) nextNumber(s *sequence, n uint32, before, now position) {
	switch {
	case n > s.last:
		if n > s.last+1 {
			// of this sender something was received, so the recorder was in the room
			before.beforeJoin = false
			a.addGap(s, len(s.gaps), gapAt(s.last+1, n-1, before, now))
		}
		s.last = n
		s.received++
	case n < s.first:
		a.beforeFirstNumber(s, n)
	default:
		a.lateNumber(s, n)
	}
}

// addGap remembers a gap at position i of the list, or only counts it.
func (a *Account) addGap(s *sequence, i int, g textegress.Gap) {
	if len(s.gaps) < a.limits.GapsPerConnection && a.gapsLeft > 0 {
		a.gapsLeft--
		s.gaps = slices.Insert(s.gaps, i, g)
		return
	}
	if s.unlisted == 0 {
		s.low = g.First
	}
	s.low, s.high = min(s.low, g.First), max(s.high, g.Last)
	s.unlisted++
	s.unlistedNumbers += numbers(g)
	if !g.Explained {
		s.unlistedUnexplained++
		s.unlistedUnexplainedNumbers += numbers(g)
		if g.Selection {
			s.unlistedSelection++
		}
	}
}

// beforeFirstNumber handles a number below the first: the packets came in another order.
func (a *Account) beforeFirstNumber(s *sequence, n uint32) {
	s.received++
	s.reordered++
	if n+1 < s.first {
		g := *s.beforeFirst
		g.First, g.Last = n+1, s.first-1
		a.addGap(s, 0, g)
	}
	s.first = n
	if n == 1 {
		s.beforeFirst = nil
		return
	}
	s.beforeFirst.Last = n - 1
}

// lateNumber handles a number that is not above the last: it fills a gap, or is there already.
func (a *Account) lateNumber(s *sequence, n uint32) {
	i := sort.Search(len(s.gaps), func(i int) bool { return s.gaps[i].Last >= n })
	if i == len(s.gaps) || s.gaps[i].First > n {
		if s.unlisted > 0 && n >= s.low && n <= s.high {
			s.ambiguous++
		} else {
			s.duplicates++
		}
		return
	}
	s.received++
	s.reordered++
	g := s.gaps[i]
	s.gaps = slices.Delete(s.gaps, i, i+1)
	a.gapsLeft++
	if g.First < n {
		lower := g
		lower.Last = n - 1
		a.addGap(s, i, lower)
		i++
	}
	if n < g.Last {
		upper := g
		upper.First = n + 1
		a.addGap(s, min(i, len(s.gaps)), upper)
	}
}

// statement describes the sequence. dropped: something was not recorded on purpose, without which
// no gap can be due to that.
func (s *sequence) statement(dropped bool) *textegress.Sequence {
	if s == nil {
		return nil
	}
	out := &textegress.Sequence{
		First: s.first, Last: s.last, Received: s.received, Gaps: slices.Clone(s.gaps),
		GapCount: s.unlisted + int64(len(s.gaps)), MissingNumbers: s.unlistedNumbers,
		UnexplainedGaps: s.unlistedUnexplained, UnexplainedNumbers: s.unlistedUnexplainedNumbers,
		Duplicates: s.duplicates, Reordered: s.reordered, Unjudged: s.ambiguous,
	}
	if dropped {
		out.SelectionGaps = s.unlistedSelection
	}
	for i := range out.Gaps {
		g := &out.Gaps[i]
		g.Selection = g.Selection && dropped
		out.MissingNumbers += numbers(*g)
		if !g.Explained {
			out.UnexplainedGaps++
			out.UnexplainedNumbers += numbers(*g)
			if g.Selection {
				out.SelectionGaps++
			}
		}
	}
	out.Contiguous = out.GapCount == 0
	if s.beforeFirst != nil {
		head := *s.beforeFirst
		head.Selection = head.Selection && dropped
		out.BeforeFirst = &head
	}
	return out
}

package completeness

import (
	"slices"
	"sort"

	"github.com/syncflow/textegress"
)

// sequence accounts for the sequence numbers of one connection. It keeps gaps in ascending order
// until late packets fill them. Beyond the limit it keeps only sums and the range of the gaps.
type sequence struct {
	first, last, recent uint32 // lowest, highest and most recent number
	received            int64
	beforeFirst         *textegress.Gap // the numbers below first
	gaps                []textegress.Gap

	unlisted, unlistedUnexplained               int64
	unlistedNumbers, unlistedUnexplainedNumbers uint64
	unlistedSelection                           int64
	low, high                                   uint32 // range of the unlisted gaps

	duplicates, reordered, ambiguous int64
}

// firstNumber adds the first numbered packet of a connection.
func (a *Account) firstNumber(c *connection, n uint32, now position) {
	s := c.seq
	s.first, s.last, s.received = n, n, 1
	if n > 1 {
		g := gapAt(1, n-1, c.from, now)
		s.beforeFirst = &g
	}
}

// gapAt returns the gap of the missing numbers first to last between two positions.
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

// nextNumber adds a later number. before is the position of the preceding numbered packet.
func (a *Account) nextNumber(s *sequence, n uint32, before, now position) {
	switch {
	case n > s.last:
		if n > s.last+1 {
			// a packet of this sender was received, so the recorder was in the room
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

// addGap inserts a gap at index i of the list or, beyond the limit, only counts it.
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

// beforeFirstNumber adds a number below the first: the packets arrived out of order.
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

// lateNumber adds a number not above the last: it fills a gap or is a duplicate.
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

// statement returns the sequence in the form of the manifest. If filter rules dropped nothing, it
// attributes no gap to them.
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

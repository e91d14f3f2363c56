package merge

import "sort"

// numbers remembers which numbers of one sender were written, as intervals in ascending order. Of a
// sender whose numbers have many holes the oldest are forgotten: what is at or below floor cannot
// be judged any more.
type numbers struct {
	runs  []run
	floor uint32
}

type run struct{ first, last uint32 }

// maxRuns bounds the intervals of one sender. Both recordings have a sender's numbers in ascending
// order, and the merge goes through them side by side, so that only the newest ones are asked for.
const maxRuns = 512

type verdict int

const (
	isNew verdict = iota
	isWritten
	isUnknown // it may have been written
)

// add notes a number and says whether it was there.
func (s *numbers) add(n uint32) verdict {
	i := sort.Search(len(s.runs), func(i int) bool { return s.runs[i].last >= n })
	if i < len(s.runs) && s.runs[i].first <= n {
		return isWritten
	}
	if n <= s.floor {
		return isUnknown
	}
	joinsBefore := i > 0 && s.runs[i-1].last+1 == n
	joinsAfter := i < len(s.runs) && n+1 == s.runs[i].first
	switch {
	case joinsBefore && joinsAfter:
		s.runs[i-1].last = s.runs[i].last
		s.runs = append(s.runs[:i], s.runs[i+1:]...)
	case joinsBefore:
		s.runs[i-1].last = n
	case joinsAfter:
		s.runs[i].first = n
	default:
		s.runs = append(s.runs, run{})
		copy(s.runs[i+1:], s.runs[i:])
		s.runs[i] = run{n, n}
	}
	if len(s.runs) > maxRuns {
		s.floor = s.runs[0].last
		s.runs = append(s.runs[:0], s.runs[1:]...)
	}
	return isNew
}

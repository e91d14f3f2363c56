package merge

import "sort"

// numbers holds the sequence numbers of one sender that were written, as intervals in ascending
// order. If there are more than maxRuns intervals, the oldest are dropped: numbers at or below
// floor are unknown.
type numbers struct {
	runs  []run
	floor uint32
}

type run struct{ first, last uint32 }

// maxRuns bounds the intervals of one sender. Both recordings hold a sender's numbers in ascending
// order and the merge reads them in parallel, so only the newest intervals matter.
const maxRuns = 512

type verdict int

const (
	isNew verdict = iota
	isWritten
	isUnknown // it may have been written
)

// add adds a number and reports whether it was already written.
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

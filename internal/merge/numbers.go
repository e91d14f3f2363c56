package merge

import "sort"

// numbers holds the numbers of one sender that were written, as intervals in ascending order. If
// the numbers have many holes, the oldest intervals are dropped: nothing is known about numbers at
// or below floor.
type numbers struct {
	runs  []run
	floor uint32
}

type run struct{ first, last uint32 }

// maxRuns bounds the intervals of one sender. Both recordings have a sender's numbers in ascending
// order and the merge reads them side by side, so only the newest matter.
const maxRuns = 512

type verdict int

const (
	isNew verdict = iota
	isWritten
	isUnknown // it may have been written
)

// add adds a number and reports whether it was already there.
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

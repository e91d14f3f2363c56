package filter

import (
	"fmt"

	"github.com/syncflow/textegress/internal/pattern"
)

// set is a set of names and prefixes.
type set struct {
	exact    map[string]bool
	prefixes []string
}

// newSet parses the entries of a list, see [pattern.Parse].
func newSet(entries []string) (set, error) {
	s := set{exact: map[string]bool{}}
	for _, entry := range entries {
		p, err := pattern.Parse(entry)
		if err != nil {
			return set{}, err
		}
		if p.Prefix {
			s.prefixes = append(s.prefixes, p.Name)
		} else {
			s.exact[p.Name] = true
		}
	}
	return s, nil
}

func (s *set) empty() bool { return len(s.exact) == 0 && len(s.prefixes) == 0 }

// has reports whether a name is in the set. It does not allocate: the compiler looks up a converted
// key without a copy.
func (s *set) has(name []byte) bool {
	if s.exact[string(name)] {
		return true
	}
	for _, p := range s.prefixes {
		if len(name) >= len(p) && string(name[:len(p)]) == p {
			return true
		}
	}
	return false
}

// lists holds the allow list and the deny list for one kind of name. Deny wins; an empty allow list
// allows everything.
type lists struct{ allow, deny set }

func newLists(what string, allow, deny []string) (l lists, err error) {
	if l.allow, err = newSet(allow); err != nil {
		return l, fmt.Errorf("%s to allow: %w", what, err)
	}
	if l.deny, err = newSet(deny); err != nil {
		return l, fmt.Errorf("%s to deny: %w", what, err)
	}
	return l, nil
}

func (l *lists) inForce() bool { return !l.allow.empty() || !l.deny.empty() }

func (l *lists) denies(name []byte) bool {
	return l.deny.has(name) || !l.allow.empty() && !l.allow.has(name)
}

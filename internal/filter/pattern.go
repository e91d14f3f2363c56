package filter

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of a pattern. Their texts do not quote the pattern, which may be a participant's name.
var (
	errStar = errors.New(
		`a star stands at the end only; write \* for one that is part of the name`)
	errEscape = errors.New(
		`a backslash stands before a comma, a star, a quote or another backslash`)
	errEmpty = errors.New(`an entry is empty; write "" for the empty name`)
)

// set is a set of names and prefixes.
type set struct {
	exact    map[string]bool
	prefixes []string
}

// newSet parses patterns: a name, a prefix followed by a star, or `""` for the empty name.
func newSet(patterns []string) (set, error) {
	s := set{exact: map[string]bool{}}
	for _, p := range patterns {
		name, prefix, err := parsePattern(p)
		if err != nil {
			return set{}, err
		}
		if prefix {
			s.prefixes = append(s.prefixes, name)
		} else {
			s.exact[name] = true
		}
	}
	return s, nil
}

func parsePattern(p string) (name string, prefix bool, err error) {
	switch p {
	case "":
		return "", false, errEmpty
	case `""`:
		return "", false, nil
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		switch c := p[i]; c {
		case '\\':
			i++
			if i == len(p) || !strings.ContainsRune(`,*"\`, rune(p[i])) {
				return "", false, errEscape
			}
			b.WriteByte(p[i])
		case '*':
			if i != len(p)-1 {
				return "", false, errStar
			}
			return b.String(), true, nil
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), false, nil
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

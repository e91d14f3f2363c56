// Package pattern parses the entries of lists of names, such as TOPICS_ALLOW: a name, the beginning
// of a name followed by a star, or `""` for the empty name.
package pattern

import (
	"errors"
	"strings"
)

// Errors of an entry. Their texts do not quote the entry, which may be a participant's name.
var (
	errStar = errors.New(
		`a star stands at the end only; write \* for one that is part of the name`)
	errEscape = errors.New(
		`a backslash stands before a comma, a star, a quote, an exclamation mark or another ` +
			`backslash`)
	errEmpty = errors.New(`an entry is empty; write "" for the empty name`)
)

// Pattern is one entry.
type Pattern struct {
	Name   string // without escapes
	Prefix bool   // Name is the beginning of the names that match
}

// Parse parses an entry. The error describes the problem without quoting the entry.
func Parse(entry string) (Pattern, error) {
	switch entry {
	case "":
		return Pattern{}, errEmpty
	case `""`:
		return Pattern{}, nil
	}
	var b strings.Builder
	for i := 0; i < len(entry); i++ {
		switch c := entry[i]; c {
		case '\\':
			i++
			if i == len(entry) || !strings.ContainsRune(`,*"!\`, rune(entry[i])) {
				return Pattern{}, errEscape
			}
			b.WriteByte(entry[i])
		case '*':
			if i != len(entry)-1 {
				return Pattern{}, errStar
			}
			return Pattern{Name: b.String(), Prefix: true}, nil
		default:
			b.WriteByte(c)
		}
	}
	return Pattern{Name: b.String()}, nil
}

// Match reports whether the pattern matches a name.
func (p Pattern) Match(name string) bool {
	if p.Prefix {
		return strings.HasPrefix(name, p.Name)
	}
	return name == p.Name
}

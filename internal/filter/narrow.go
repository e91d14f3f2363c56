package filter

import (
	"slices"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/pattern"
)

// everything is the entry that matches every name.
const everything = "*"

// Refusal is an entry that names something that other lists exclude.
type Refusal struct {
	Entry string
	List  string // the list that excludes it: "allow" or "deny"; "" if the entry is invalid
	Err   error  // what is wrong with an invalid entry; the text does not quote it
	// Part is true if the allow list allows some of the names that match the entry.
	Part bool
}

// Check returns the entries with names that the lists allow and deny exclude. An entry that
// overlaps with the deny list is not refused: the names on the deny list are left out.
func Check(allow, deny, entries []string) []Refusal {
	var out []Refusal
	for _, e := range entries {
		asked, err := pattern.Parse(e)
		if err != nil {
			out = append(out, Refusal{Entry: e, Err: err})
			continue
		}
		var covered, overlaps bool
		for _, a := range allow {
			p, err := pattern.Parse(a)
			covered = covered || err == nil && covers(p, asked)
			overlaps = overlaps || err == nil && covers(asked, p)
		}
		denied := slices.ContainsFunc(deny, func(d string) bool {
			p, err := pattern.Parse(d)
			return err == nil && covers(p, asked)
		})
		switch {
		case denied:
			out = append(out, Refusal{Entry: e, List: "deny"})
		case len(allow) > 0 && !covered:
			out = append(out, Refusal{Entry: e, List: "allow", Part: overlaps})
		}
	}
	return out
}

// Narrow returns rules that allow what both a and b allow. If they have no name in common, the
// result allows no name.
func Narrow(a, b textegress.SelectionRules) textegress.SelectionRules {
	out := textegress.SelectionRules{EncryptedKept: a.EncryptedKept || b.EncryptedKept}
	out.TopicsAllow, out.TopicsDeny = narrow(a.TopicsAllow, a.TopicsDeny, b.TopicsAllow,
		b.TopicsDeny)
	out.IdentitiesAllow, out.IdentitiesDeny = narrow(a.IdentitiesAllow, a.IdentitiesDeny,
		b.IdentitiesAllow, b.IdentitiesDeny)
	if slices.Contains(out.TopicsDeny, everything) {
		out.EncryptedKept = false // an encrypted topic matches no allowed topic
	}
	return out
}

// Nothing returns a deny list that excludes every name.
func Nothing() []string { return []string{everything} }

func narrow(allowA, denyA, allowB, denyB []string) (allow, deny []string) {
	deny = slices.Clone(denyA)
	for _, d := range denyB {
		if !slices.Contains(deny, d) {
			deny = append(deny, d)
		}
	}
	switch {
	case len(allowA) == 0:
		return slices.Clone(allowB), deny
	case len(allowB) == 0:
		return slices.Clone(allowA), deny
	}
	allow = common(allowA, allowB)
	if len(allow) == 0 && !slices.Contains(deny, everything) {
		deny = append(deny, everything) // an empty allow list allows everything
	}
	return allow, deny
}

// common returns entries that match the names that entries of both lists match. Two entries overlap
// only if one covers the other, so the narrower one is their intersection.
func common(a, b []string) []string {
	var out []string
	for _, x := range a {
		for _, y := range b {
			p, err := pattern.Parse(x)
			q, err2 := pattern.Parse(y)
			var entry string
			switch {
			case err != nil || err2 != nil:
				continue
			case covers(q, p):
				entry = x
			case covers(p, q):
				entry = y
			default:
				continue
			}
			if !slices.Contains(out, entry) {
				out = append(out, entry)
			}
		}
	}
	return out
}

// covers reports whether p matches every name that q matches.
func covers(p, q pattern.Pattern) bool {
	if p.Prefix {
		return strings.HasPrefix(q.Name, p.Name)
	}
	return !q.Prefix && p.Name == q.Name
}

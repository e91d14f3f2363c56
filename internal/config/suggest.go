package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	edlib "github.com/hbollon/go-edlib"
)

// suggest returns the known setting that is most similar to name, or "". name may have any case.
func suggest(name string) string {
	name = strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	if isKnown(name) {
		return name
	}
	// our prefix before a setting without one
	if s, ok := strings.CutPrefix(name, ownPrefix); ok && isKnown(s) {
		return s
	}
	// The settings of a project or a webhook are candidates if name has their numbers, even with
	// single underscores: PROJECTS_0_KEY.
	candidates := make([]string, 0, len(globalKeys)+len(projectKeys)+2)
	for _, k := range globalKeys {
		candidates = append(candidates, k.name)
	}
	candidates = append(candidates, keyConfigFile, keyConfigBody)
	distance := distance
	if m := withNumbers.FindStringSubmatch(name); m != nil {
		for _, k := range projectKeys {
			candidates = append(candidates, projectPrefix+m[1]+"__"+k.name)
		}
		for _, k := range webhookKeys {
			if m[2] != "" {
				candidates = append(candidates, projectPrefix+m[1]+"__"+webhookPrefix+m[2]+"__"+
					k.name)
			}
		}
		distance = distanceOfWords
	}
	best, bestDistance := "", 1+min(2, len(name)/4)
	for _, c := range candidates {
		if d := distance(name, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

var (
	withNumbers = regexp.MustCompile(`^[A-Z]*_+(0|[1-9][0-9]{0,3})_` +
		`(?:_*WEB_?HOOKS?_+(0|[1-9][0-9]{0,3})_)?`)
	underscores = regexp.MustCompile(`__+`)
)

// distanceOfWords is distance, except that the number of underscores in a row counts as one edit in
// all, because one is easily written for two.
func distanceOfWords(a, b string) int {
	d := distance(underscores.ReplaceAllString(a, "_"), underscores.ReplaceAllString(b, "_"))
	if d == 0 {
		return 1
	}
	return min(d+1, distance(a, b))
}

// isCommon reports whether other programs have settings of similar names, so that a near miss in a
// shared `.env` is not necessarily a spelling mistake.
func isCommon(name string) bool {
	return strings.HasPrefix(name, topLevelPrefix) || strings.HasPrefix(name, "WEBHOOK_") ||
		strings.HasPrefix(name, "POLL_") || strings.HasPrefix(name, "HTTP_") || name == "PAGE_URL"
}

// distance returns the number of edits (insert, delete or replace a character, exchange two
// neighbours) between a and b. The exchange is essential: plain Levenshtein distances, such as
// those of agext/levenshtein and lithammer/fuzzysearch, count it twice and find no setting for
// DTAA_DRI.
func distance(a, b string) int {
	if len(a) > 2*len(b) || len(b) > 2*len(a) {
		return max(len(a), len(b)) // too different; also bounds the work for very long names
	}
	return edlib.OSADamerauLevenshteinDistance(a, b)
}

// quoteNames lists names for a message, sorted, at most ten.
func quoteNames(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	more := ""
	if len(names) > 10 {
		more = fmt.Sprintf(" and %d more", len(names)-10)
		names = names[:10]
	}
	for i, n := range names {
		// a line of a pasted key can look like a name
		if len(n) > 40 {
			names[i] = n[:8] + "…"
		}
	}
	return strings.Join(names, ", ") + more
}
